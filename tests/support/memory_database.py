"""A database in memory: as much of the client's API as the cache of results needs."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from datakit_core.client.api import (
    BlobId,
    Change,
    CommitId,
    Entry,
    FileMode,
    ObjectId,
    Tree,
    TreeId,
)
from datakit_core.errors import NoEntry, NotFastForward
from datakit_core.store import Overlay
from datakit_core.store.diff import diff
from tests.support.trees import MemoryObjects

__all__ = ["MemoryDatabase"]


@dataclass(frozen=True, slots=True)
class _Commit:
    tree: TreeId


class MemoryDatabase:
    """Branches of trees in memory, written by one program.

    Attributes:
        objects: All objects; it notes what is read.
    """

    def __init__(self) -> None:
        self.objects = MemoryObjects()
        self._heads: dict[str, CommitId] = {}
        self._commits: dict[CommitId, _Commit] = {}
        self._numbers = itertools.count(1)

    async def branches(self) -> Mapping[str, CommitId]:
        return dict(self._heads)

    async def head(self, branch: str) -> CommitId | None:
        return self._heads.get(branch)

    async def commit(self, commit: CommitId) -> _Commit:
        return self._commits[commit]

    async def tree(self, tree: TreeId) -> Tree:
        return self.objects.tree(tree)

    async def blob(self, blob: BlobId) -> bytes:
        return self.objects.blob(blob)

    async def stream_blob(
        self, blob: BlobId, offset: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        yield self.objects.blob(blob)[offset:][:length]

    async def blob_size(self, blob: BlobId) -> int:
        return len(self.objects.blob(blob))

    async def diff(self, old: TreeId, new: TreeId) -> Sequence[Change]:
        return diff(self.objects.tree, old, new)

    async def entry(self, tree: TreeId, path: str) -> Entry | None:
        return self.objects.entry(tree, path)

    async def read(self, tree: TreeId, path: str) -> bytes:
        entry = self.objects.entry(tree, path)
        if entry is None:
            raise NoEntry
        return self.objects.blob(BlobId(entry.id))

    async def import_tree(self, files: Mapping[str, Entry | bytes]) -> TreeId:
        overlay = Overlay(self.objects, None)
        for path, content in files.items():
            if isinstance(content, Entry):
                overlay.graft(path, content)
            else:
                overlay.put(path, content)
        tree, objects = overlay.freeze()
        self.objects.add(objects)
        return tree

    @asynccontextmanager
    async def transaction(self, branch: str) -> AsyncIterator[_Transaction]:
        yield _Transaction(self, branch, self._heads.get(branch))

    def move(self, branch: str, base: CommitId | None, overlay: Overlay) -> CommitId:
        """Commit what was edited, if the head is still ``base``."""
        if self._heads.get(branch) != base:
            raise NotFastForward
        tree, objects = overlay.freeze()
        self.objects.add(objects)
        made = CommitId(ObjectId(f"{next(self._numbers):040x}"))
        self._commits[made] = _Commit(tree)
        self._heads[branch] = made
        return made

    def base(self, commit: CommitId | None) -> TreeId | None:
        """The tree of ``commit``."""
        return None if commit is None else self._commits[commit].tree


class _Transaction:
    """Edits of one branch."""

    def __init__(self, database: MemoryDatabase, branch: str, base: CommitId | None) -> None:
        self.branch, self.base = branch, base
        self._database = database
        self._overlay = Overlay(database.objects, database.base(base))

    async def entry(self, path: str) -> FileMode | None:
        return self._overlay.mode(path)

    async def list(self, path: str = "") -> Sequence[str]:
        return list(self._overlay.list(path))

    async def read(self, path: str) -> bytes:
        return self._overlay.read(path)

    async def write(self, path: str, data: bytes, mode: FileMode = FileMode.NORMAL) -> None:
        self._overlay.put(path, data, mode)

    async def write_stream(
        self, path: str, pieces: AsyncIterable[bytes], mode: FileMode = FileMode.NORMAL
    ) -> None:
        await self.write(path, b"".join([piece async for piece in pieces]), mode)

    async def remove(self, path: str) -> None:
        self._overlay.remove(path)

    async def graft(self, path: str, entry: Entry) -> None:
        self._overlay.graft(path, entry)

    async def commit_if(self, head: CommitId | None, message: str) -> CommitId:
        return self._database.move(self.branch, head, self._overlay)
