"""The client's API: what a program does with a database, wherever the database is.

Two back ends implement these protocols: :mod:`datakit_core.client.local` works on a store in the
same process, :mod:`datakit_core.client.remote` speaks 9P. Paths are ``/``-separated, without a
leading slash; ``""`` is the root of a tree. Everything raises the errors of
:mod:`datakit_core.errors`; a lost connection raises ``Disconnected``.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from datakit_core.store.diff import Change, ChangeKind
from datakit_core.store.objects import (
    BlobId,
    Commit,
    CommitId,
    Entry,
    FileMode,
    ObjectId,
    Signature,
    Tree,
    TreeId,
)

__all__ = [
    "BlobId",
    "Change",
    "ChangeKind",
    "Commit",
    "CommitId",
    "Database",
    "Entry",
    "FileMode",
    "ObjectId",
    "Signature",
    "Transaction",
    "Tree",
    "TreeId",
]


class Transaction(Protocol):
    """Edits of one branch that nobody else sees until they are committed.

    Not safe for concurrent use. After a commit or :meth:`close` every call raises
    ``ClientError``.
    """

    @property
    def branch(self) -> str:
        """The branch that a commit goes to."""
        ...

    @property
    def base(self) -> CommitId | None:
        """The head when the transaction began: the parent of its commit."""
        ...

    async def entry(self, path: str) -> FileMode | None:
        """What is at ``path`` in the edited tree, or none."""
        ...

    async def list(self, path: str = "") -> Sequence[str]:
        """The names in a directory, sorted."""
        ...

    async def read(self, path: str) -> bytes:
        """A file's content, or a link's target."""
        ...

    async def write(self, path: str, data: bytes, mode: FileMode = FileMode.NORMAL) -> None:
        """Create or replace a file or link; missing directories above it are made."""
        ...

    async def write_stream(
        self, path: str, pieces: AsyncIterable[bytes], mode: FileMode = FileMode.NORMAL
    ) -> None:
        """As :meth:`write`, of a file whose content comes in pieces and is never held as a whole.

        If ``pieces`` fails or this is cancelled, the file has what came before: do not commit it.

        Args:
            path: Where; missing directories above it are made.
            pieces: The content; pieces may have any length. An empty file has none.
            mode: Of a file; links are written by :meth:`write`.

        Raises:
            InvalidArgument: ``mode`` is not that of a file.
            NoSpace: There is no room for it.
        """
        ...

    async def remove(self, path: str) -> None:
        """Remove a file, or a directory with its content; absent raises ``NoEntry``."""
        ...

    async def graft(self, path: str, entry: Entry) -> None:
        """Put an existing tree or blob at ``path``, whatever was there; parents are made."""
        ...

    async def commit(self, message: str) -> CommitId:
        """Commit and merge into the branch by path, as the 9P ``commit`` command does.

        Raises:
            MergeConflict: The head moved and both sides changed a path; the transaction stays.
        """
        ...

    async def commit_if(self, head: CommitId | None, message: str) -> CommitId:
        """Commit only if the branch's head is still ``head`` (none: no head); never merges.

        Raises:
            NotFastForward: The branch has another head; the transaction stays open.
        """
        ...

    async def close(self) -> None:
        """Forget the edits; does nothing after a commit."""
        ...


class Database(Protocol):
    """One session with a database."""

    async def branches(self) -> Mapping[str, CommitId]:
        """All branches that have a head."""
        ...

    async def head(self, branch: str) -> CommitId | None:
        """A branch's head, read anew."""
        ...

    def watch_head(self, branch: str) -> AsyncIterator[CommitId | None]:
        """The head now, then each newest head; states in between may be skipped.

        Close the iterator (``aclose``, or leave the task) to stop watching.
        """
        ...

    async def commit(self, commit: CommitId) -> Commit:
        """Read a commit; raises ``UnknownObject``."""
        ...

    async def tree(self, tree: TreeId) -> Tree:
        """Read one directory."""
        ...

    async def blob(self, blob: BlobId) -> bytes:
        """Read a whole blob."""
        ...

    async def blob_size(self, blob: BlobId) -> int:
        """A blob's length in bytes, without reading it; raises ``UnknownObject``."""
        ...

    def stream_blob(
        self, blob: BlobId, offset: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        """A blob, or a part of it, in pieces of at most 1 MiB; one of them is held at a time.

        Close the iterator (``aclose``) if it is not read to its end.

        Args:
            blob: What to read.
            offset: The first byte; at or beyond the end there is nothing.
            length: Bytes at most; up to the end by default.

        Raises:
            UnknownObject: There is no such blob.
            InvalidArgument: A number is negative.
        """
        ...

    async def entry(self, tree: TreeId, path: str) -> Entry | None:
        """What is at ``path`` below ``tree``; the root is its own entry; none if absent."""
        ...

    async def read(self, tree: TreeId, path: str) -> bytes:
        """The content of the file at ``path``; raises ``NoEntry`` or ``IsDirectory``."""
        ...

    def history(self, commit: CommitId) -> AsyncIterator[Commit]:
        """``commit`` and its first parents, newest first."""
        ...

    async def diff(self, old: TreeId, new: TreeId) -> Sequence[Change]:
        """The files that differ, sorted by path; equal subtrees are never read."""
        ...

    def transaction(self, branch: str) -> AbstractAsyncContextManager[Transaction]:
        """Edit ``branch`` from its present head; closed on leaving unless committed."""
        ...

    async def create_branch(self, branch: str, commit: CommitId) -> None:
        """Make a branch whose head is ``commit``; raises ``AlreadyExists`` if it has a head."""
        ...

    async def fast_forward(self, branch: str, commit: CommitId) -> None:
        """Move ``branch`` to a descendant of its head; raises ``NotFastForward``."""
        ...

    async def merge(self, branch: str, commit: CommitId, message: str = "") -> CommitId:
        """Bring ``commit`` into ``branch``: by moving it, or by a merge of both by path.

        Args:
            branch: Made if it is absent.
            commit: A commit of the database.
            message: The merge's message, if a merge is needed.

        Returns:
            The branch's new head; the old one if it had the commit already.

        Raises:
            MergeConflict: Both sides changed a path; the branch stays as it is.
        """
        ...

    async def remove_branch(self, branch: str) -> None:
        """Delete a branch's ref; absent is no error."""
        ...

    async def rename_branch(self, old: str, new: str) -> None:
        """Give a branch another name, in one step.

        Raises:
            NoEntry: There is no branch ``old``.
            AlreadyExists: There is a branch ``new``.
        """
        ...

    async def import_directory(self, path: Path) -> TreeId:
        """Store a directory of this machine (files, links, executable bits; no empty ones)."""
        ...

    async def import_tree(self, files: Mapping[str, Entry | bytes]) -> TreeId:
        """Store a tree made of contents (normal files) and existing entries, by path."""
        ...

    async def fetch(self, url: str, ref: str) -> CommitId:
        """Bring a commit and its history from another repository.

        Args:
            url: A URL of an allowed scheme, or an absolute path.
            ref: A full ref name such as ``refs/heads/main``.

        Returns:
            The commit; a private ref keeps it, so that Git's gc does not collect it.
        """
        ...
