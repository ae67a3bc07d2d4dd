"""The client API on a repository that is only read: without its lock, and without a writer.

For programs that want an answer and nothing else, at once, beside whoever serves the repository.
What is made (``import_tree``) is kept in memory; what would change a branch is refused.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from datakit_core.client.api import Change
from datakit_core.client.pieces import PIECE, check_range
from datakit_core.client.refusing import Refusing
from datakit_core.errors import IsDirectory, NoEntry
from datakit_core.store.diff import diff
from datakit_core.store.names import check_branch
from datakit_core.store.objects import (
    BlobId,
    Commit,
    CommitId,
    Entry,
    FileMode,
    NewObject,
    ObjectId,
    ObjectKind,
    Tree,
    TreeId,
    decode_tree,
)
from datakit_core.store.reader import Reader, open_reader
from datakit_core.store.refs import RefFiles
from datakit_core.store.tree import Overlay

__all__ = ["ReadOnlyDatabase", "open_read_only"]


@contextmanager
def open_read_only(path: Path, *more: Path) -> Iterator[ReadOnlyDatabase]:
    """Read the repository at ``path``.

    What its server has not acknowledged yet may be seen already; what a power cut has torn is
    damaged until somebody serves the repository again.

    Args:
        path: A bare repository; its branches are the database's.
        more: Repositories in which objects are looked up too.

    Raises:
        RepositoryError: One of them cannot be opened.
    """
    reader = open_reader(path, *more)
    try:
        yield ReadOnlyDatabase(reader, RefFiles(path))
    finally:
        reader.close()


class ReadOnlyDatabase(Refusing):
    """A :class:`~datakit_core.client.api.Database` whose branches stay as they are.

    No method waits for anything.
    """

    def __init__(self, reader: Reader, refs: RefFiles) -> None:
        """Read objects by ``reader`` and branches from ``refs``, which stay the caller's."""
        self._objects = _Objects(reader)
        self._reader = reader
        self._refs = refs
        self._heads: dict[str, CommitId | None] = {}

    async def branches(self) -> Mapping[str, CommitId]:
        """All branches that have a head."""
        return self._refs.heads()

    async def head(self, branch: str) -> CommitId | None:
        """A branch's head, as it was when it was first asked for."""
        if branch not in self._heads:
            self._heads[branch] = self._refs.head(check_branch(branch))
        return self._heads[branch]

    async def watch_head(self, branch: str) -> AsyncIterator[CommitId | None]:
        """The head now; there is no other one."""
        yield await self.head(branch)

    async def commit(self, commit: CommitId) -> Commit:
        """Read a commit."""
        return self._reader.commit(commit)

    async def tree(self, tree: TreeId) -> Tree:
        """Read one directory."""
        return self._objects.tree(tree)

    async def blob(self, blob: BlobId) -> bytes:
        """Read a whole blob."""
        return self._objects.blob(blob)

    async def blob_size(self, blob: BlobId) -> int:
        """A blob's length in bytes."""
        return self._objects.size(blob)

    async def stream_blob(
        self, blob: BlobId, offset: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        """A blob, or a part of it, in pieces; all of it is in memory meanwhile."""
        check_range(offset, length)
        content = self._objects.blob(blob)
        end = len(content) if length is None else min(offset + length, len(content))
        for start in range(offset, end, PIECE):
            yield content[start : min(start + PIECE, end)]

    async def entry(self, tree: TreeId, path: str) -> Entry | None:
        """What is at ``path`` below ``tree``; the root is its own entry."""
        return self._objects.entry(tree, path)

    async def read(self, tree: TreeId, path: str) -> bytes:
        """The content of the file at ``path``."""
        entry = self._objects.entry(tree, path)
        if entry is None:
            raise NoEntry
        if entry.is_directory:
            raise IsDirectory
        return self._objects.blob(BlobId(entry.id))

    async def history(self, commit: CommitId) -> AsyncIterator[Commit]:
        """``commit`` and its first parents, newest first."""
        at: CommitId | None = commit
        while at is not None:
            found = self._reader.commit(at)
            yield found
            at = found.parents[0] if found.parents else None

    async def diff(self, old: TreeId, new: TreeId) -> Sequence[Change]:
        """The files that differ, sorted by path."""
        return diff(self._objects.tree, old, new)

    async def import_tree(self, files: Mapping[str, Entry | bytes]) -> TreeId:
        """Make a tree, and keep it in memory."""
        overlay = Overlay(self._objects, None)
        for path, content in files.items():
            if isinstance(content, Entry):
                overlay.graft(path, content)
            else:
                overlay.put(path, content)
        tree, objects = overlay.freeze()
        self._objects.add(objects)
        return tree


class _Objects:
    """What was made in memory, and behind it a repository."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._made: dict[ObjectId, NewObject] = {}

    def add(self, objects: Sequence[NewObject]) -> None:
        self._made.update((new.id, new) for new in objects)

    def tree(self, tree: TreeId) -> Tree:
        new = self._made.get(tree)
        return self._reader.tree(tree) if new is None else decode_tree(new.data)

    def whole_tree(self, tree: TreeId) -> Tree:
        return self.tree(tree) if tree in self._made else self._reader.whole_tree(tree)

    def blob(self, blob: BlobId) -> bytes:
        new = self._made.get(blob)
        return self._reader.blob(blob) if new is None else new.data

    def size(self, blob: BlobId) -> int:
        new = self._made.get(blob)
        return self._reader.size(blob) if new is None else len(new.data)

    def kind(self, object_id: ObjectId) -> ObjectKind | None:
        new = self._made.get(object_id)
        return self._reader.kind(object_id) if new is None else new.kind

    def entry(self, tree: TreeId, path: str) -> Entry | None:
        """Below what was made in memory there is only what was read, so this ends."""
        if tree not in self._made or not path:
            return self._reader.entry(tree, path)
        name, _, rest = path.partition("/")
        found = self.tree(tree).get(name)
        if found is None or not rest:
            return found
        return self.entry(TreeId(found.id), rest) if found.mode is FileMode.DIRECTORY else None
