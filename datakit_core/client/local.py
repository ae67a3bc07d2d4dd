"""The client API on a store in the same process.

Everything that a remote client can do, without a connection; and the yardstick for it: one suite
of tests runs over both.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from datakit_core.client.api import Change, Database, Transaction
from datakit_core.client.pieces import PIECE, check_range, even
from datakit_core.errors import ClientError, InvalidArgument, IsDirectory, NoEntry
from datakit_core.store import (
    LARGE_READ,
    BlobId,
    Commit,
    CommitId,
    Entry,
    FileMode,
    Store,
    Tree,
    TreeId,
)
from datakit_core.store import Transaction as StoreTransaction

__all__ = ["LocalDatabase", "open_local"]

_PAUSE = 100
"""Commits of a history that are read before others get their turn on the loop."""


@asynccontextmanager
async def open_local(path: Path, *, create: bool = False) -> AsyncIterator[Database]:
    """Open a database of this machine, without a server.

    Args:
        path: A bare repository.
        create: Make it if the directory is absent or empty.

    Raises:
        RepositoryError: It cannot be opened; for example, because a server has it.
    """
    async with Store.open(path, create=create) as store:
        yield LocalDatabase(store)


class LocalDatabase:
    """A :class:`~datakit_core.client.api.Database` that calls a store."""

    def __init__(self, store: Store) -> None:
        """Use ``store``, which stays the caller's."""
        self._store = store

    async def branches(self) -> Mapping[str, CommitId]:
        """All branches that have a head."""
        return dict(self._store.heads())

    async def head(self, branch: str) -> CommitId | None:
        """A branch's head, read anew."""
        return self._store.head(branch)

    async def watch_head(self, branch: str) -> AsyncIterator[CommitId | None]:
        """The head now, then each newest head; states in between may be skipped."""
        moved = asyncio.Event()
        subscription = self._store.subscribe_head(branch, lambda _: moved.set())
        try:
            shown = self._store.head(branch)
            yield shown
            while True:
                await moved.wait()
                moved.clear()
                head = self._store.head(branch)
                if head != shown:
                    shown = head
                    yield head
        finally:
            subscription.close()

    async def commit(self, commit: CommitId) -> Commit:
        """Read a commit."""
        return self._store.commit(commit)

    async def tree(self, tree: TreeId) -> Tree:
        """Read one directory."""
        return await self._store.load_tree(tree)

    async def blob(self, blob: BlobId) -> bytes:
        """Read a whole blob."""
        return await self._store.read_blob(blob)

    async def blob_size(self, blob: BlobId) -> int:
        """A blob's length in bytes, without reading it."""
        return self._store.size(blob)

    async def stream_blob(
        self, blob: BlobId, offset: int = 0, length: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """A blob, or a part of it, in pieces."""
        check_range(offset, length)
        size = self._store.size(blob)
        end = size if length is None else min(offset + length, size)
        if size > LARGE_READ:
            async with aclosing(self._store.large.pieces(blob, size, range(offset, end))) as pieces:
                async for piece in pieces:
                    yield piece
            return
        content = self._store.blob(blob)
        for start in range(offset, end, PIECE):
            yield content[start : min(start + PIECE, end)]

    async def entry(self, tree: TreeId, path: str) -> Entry | None:
        """What is at ``path`` below ``tree``; the root is its own entry."""
        return self._store.entry(tree, path)

    async def read(self, tree: TreeId, path: str) -> bytes:
        """The content of the file at ``path``."""
        entry = self._store.entry(tree, path)
        if entry is None:
            raise NoEntry
        if entry.is_directory:
            raise IsDirectory
        return await self._store.read_blob(BlobId(entry.id))

    async def history(self, commit: CommitId) -> AsyncIterator[Commit]:
        """``commit`` and its first parents, newest first."""
        at: CommitId | None = commit
        count = 0
        while at is not None:
            found = self._store.commit(at)
            yield found
            at = found.parents[0] if found.parents else None
            count += 1
            if count % _PAUSE == 0:
                await asyncio.sleep(0)

    async def diff(self, old: TreeId, new: TreeId) -> Sequence[Change]:
        """The files that differ, sorted by path."""
        return await self._store.diff_in_slices(old, new)

    @asynccontextmanager
    async def transaction(self, branch: str) -> AsyncIterator[Transaction]:
        """Edit ``branch`` from its present head; closed on leaving unless committed."""
        transaction = LocalTransaction(self._store.transaction(branch))
        try:
            yield transaction
        finally:
            await transaction.close()

    async def create_branch(self, branch: str, commit: CommitId) -> None:
        """Make a branch whose head is ``commit``."""
        await self._store.create_branch(branch, commit)

    async def fast_forward(self, branch: str, commit: CommitId) -> None:
        """Move ``branch`` to a descendant of its head."""
        await self._store.fast_forward(branch, commit)

    async def merge(self, branch: str, commit: CommitId, message: str = "") -> CommitId:
        """Bring ``commit`` into ``branch``."""
        return await self._store.merge(branch, commit, message or f"Merge {commit}")

    async def forget_history(self, branch: str, head: CommitId, message: str) -> CommitId:
        """Make a commit without parents, of the same tree, the head instead of ``head``.

        Raises:
            HeadMoved: The branch has another head.
        """
        commit = await self._store.create_commit(self._store.commit(head).tree, [], message)
        await self._store.update_head(branch, head, commit)
        return commit

    async def remove_branch(self, branch: str) -> None:
        """Delete a branch's ref; absent is no error."""
        await self._store.remove_branch(branch)

    async def rename_branch(self, old: str, new: str) -> None:
        """Give a branch another name, in one step."""
        await self._store.rename_branch(old, new)

    async def import_directory(self, path: Path) -> TreeId:
        """Store a directory of this machine."""
        return await self._store.import_directory(path)

    async def import_tree(self, files: Mapping[str, Entry | bytes]) -> TreeId:
        """Store a tree made of contents (normal files) and existing entries, by path."""
        overlay = self._store.overlay(None)
        for path, content in files.items():
            if isinstance(content, Entry):
                overlay.graft(path, content)
            else:
                overlay.put(path, content)
        tree, objects = await self._store.freeze(overlay)
        await self._store.write_objects(objects)
        return tree

    async def fetch(self, url: str, ref: str) -> CommitId:
        """Bring a commit and its history from another repository."""
        return await self._store.fetch(url, ref)


class LocalTransaction:
    """A :class:`~datakit_core.client.api.Transaction` that calls a store's."""

    def __init__(self, transaction: StoreTransaction) -> None:
        """Edit through ``transaction``."""
        self._transaction = transaction

    @property
    def branch(self) -> str:
        """The branch that a commit goes to."""
        return self._transaction.branch

    @property
    def base(self) -> CommitId | None:
        """The head when the transaction began."""
        return self._transaction.base

    async def entry(self, path: str) -> FileMode | None:
        """What is at ``path`` in the edited tree, or none."""
        return self._open().tree.mode(path)

    async def list(self, path: str = "") -> Sequence[str]:
        """The names in a directory, sorted."""
        return list(self._open().tree.list(path))

    async def read(self, path: str) -> bytes:
        """A file's content, or a link's target."""
        return self._open().tree.read(path)

    async def write(self, path: str, data: bytes, mode: FileMode = FileMode.NORMAL) -> None:
        """Create or replace a file or link."""
        self._open().tree.put(path, data, mode)

    async def write_stream(
        self, path: str, pieces: AsyncIterable[bytes], mode: FileMode = FileMode.NORMAL
    ) -> None:
        """Create or replace a file whose content comes in pieces."""
        if not mode.is_file:
            raise InvalidArgument("only files are written in pieces")
        self._open().tree.put(path, b"", mode)
        offset = 0
        async for piece in even(pieces):
            self._open().tree.write(path, offset, piece)
            offset += len(piece)
            await asyncio.sleep(0)

    async def remove(self, path: str) -> None:
        """Remove a file, or a directory with its content."""
        self._open().tree.remove(path)

    async def graft(self, path: str, entry: Entry) -> None:
        """Put an existing tree or blob at ``path``."""
        self._open().tree.graft(path, entry)

    async def commit(self, message: str) -> CommitId:
        """Commit and merge into the branch by path."""
        transaction = self._open()
        transaction.message = message
        return await transaction.commit()

    async def commit_if(self, head: CommitId | None, message: str) -> CommitId:
        """Commit only if the branch's head is still ``head``."""
        transaction = self._open()
        transaction.message = message
        return await transaction.commit_if(head)

    async def close(self) -> None:
        """Forget the edits."""
        self._transaction.close()

    def _open(self) -> StoreTransaction:
        if self._transaction.closed:
            raise ClientError("the transaction is closed")
        return self._transaction
