"""A transaction at a 9P server."""

from __future__ import annotations

from collections.abc import AsyncIterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress

from datakit_core.client.pieces import even
from datakit_core.errors import (
    AlreadyExists,
    ClientError,
    InvalidArgument,
    IsDirectory,
    MergeConflict,
    NoEntry,
    NotDirectory,
)
from datakit_core.ninep.client import Client, OpenFile
from datakit_core.ninep.messages import Mode, WireStat
from datakit_core.store import CommitId, Entry, FileMode, TreeId, parse_id
from datakit_core.store.names import split_path

__all__ = ["RemoteTransaction"]

_PERMISSIONS = {
    FileMode.NORMAL: 0o644,
    FileMode.EXECUTABLE: 0o755,
    FileMode.LINK: Mode.LINK | 0o777,
}


class RemoteTransaction:
    """A :class:`~datakit_core.client.api.Transaction` that is a directory at a server."""

    def __init__(
        self, client: Client, place: Sequence[str], branch: str, base: CommitId | None
    ) -> None:
        """Work on the transaction at ``place``, which exists."""
        self._client = client
        self._place = tuple(place)
        self._branch, self._base = branch, base
        self._closed = False

    @property
    def branch(self) -> str:
        """The branch that a commit goes to."""
        return self._branch

    @property
    def base(self) -> CommitId | None:
        """The head when the transaction began."""
        return self._base

    async def entry(self, path: str) -> FileMode | None:
        """What is at ``path`` in the edited tree, or none."""
        try:
            return _mode(await self._client.stat(self._file(path)))
        except (NoEntry, NotDirectory):
            return None

    async def list(self, path: str = "") -> Sequence[str]:
        """The names in a directory, sorted."""
        place = self._file(path)
        if _mode(await self._client.stat(place)) is not FileMode.DIRECTORY:
            raise NotDirectory
        return await self._client.names(place)

    async def read(self, path: str) -> bytes:
        """A file's content, or a link's target."""
        place = self._file(path)
        if _mode(await self._client.stat(place)) is FileMode.DIRECTORY:
            raise IsDirectory
        return await self._client.read(place)

    async def write(self, path: str, data: bytes, mode: FileMode = FileMode.NORMAL) -> None:
        """Create or replace a file or link."""
        try:
            await self._create(path, data, mode)
        except NoEntry:
            await self._make_parents(path)
            await self._create(path, data, mode)

    async def write_stream(
        self, path: str, pieces: AsyncIterable[bytes], mode: FileMode = FileMode.NORMAL
    ) -> None:
        """Create or replace a file whose content comes in pieces."""
        if not mode.is_file:
            raise InvalidArgument("only files are written in pieces")
        async with AsyncExitStack() as stack:
            try:
                file = await stack.enter_async_context(self._creating(path, mode))
            except NoEntry:
                await self._make_parents(path)
                file = await stack.enter_async_context(self._creating(path, mode))
            offset = 0
            async for piece in even(pieces):
                self._check_open()
                await file.write(offset, piece)
                offset += len(piece)

    async def remove(self, path: str) -> None:
        """Remove a file, or a directory with its content."""
        await self._client.remove(self._file(path))

    async def graft(self, path: str, entry: Entry) -> None:
        """Put an existing tree or blob at ``path``."""
        self._file(path)
        if path != path.strip():
            raise InvalidArgument(f"a graft's path cannot begin or end with a space: {path!r}")
        await self._control(f"graft {entry} {path}")

    async def merge(self, commit: CommitId) -> None:
        """Merge a commit into the edits; raises ``MergeConflict`` if a path is in conflict."""
        self._check_open()
        await self._client.command([*self._place, "merge"], commit)
        conflicts = await self._client.read([*self._place, "conflicts"])
        if conflicts:
            raise MergeConflict(conflicts.decode(errors="surrogateescape").splitlines())

    async def store_tree(self) -> TreeId:
        """Store the edited tree without a commit."""
        answer = await self._control("tree")
        return TreeId(parse_id(answer.strip().removeprefix("D-")))

    async def commit(self, message: str) -> CommitId:
        """Commit and merge into the branch by path."""
        return await self._commit("commit", message)

    async def commit_if(self, head: CommitId | None, message: str) -> CommitId:
        """Commit only if the branch's head is still ``head``."""
        return await self._commit(f"commit-if {head or 'none'}", message)

    async def close(self) -> None:
        """Forget the edits."""
        if not self._closed:
            self._closed = True
            await self._client.command([*self._place, "ctl"], "close")

    async def _commit(self, command: str, message: str) -> CommitId:
        self._check_open()
        await self._client.write([*self._place, "msg"], message.encode(errors="surrogateescape"))
        head = CommitId(parse_id((await self._control(command)).strip()))
        self._closed = True
        return head

    async def _control(self, command: str) -> str:
        self._check_open()
        return (await self._client.command([*self._place, "ctl"], command)).decode()

    async def _create(self, path: str, data: bytes, mode: FileMode) -> None:
        place, perm = self._file(path), _PERMISSIONS[mode]
        if mode is FileMode.LINK:
            target = data.decode(errors="surrogateescape")
            await self._client.create(place, perm=perm, target=target)
        else:
            await self._client.create(place, data, perm=perm)

    def _creating(self, path: str, mode: FileMode) -> AbstractAsyncContextManager[OpenFile]:
        return self._client.creating(self._file(path), perm=_PERMISSIONS[mode])

    async def _make_parents(self, path: str) -> None:
        parts = split_path(path)
        for length in range(1, len(parts)):
            with suppress(AlreadyExists):
                await self._client.mkdir(self._file("/".join(parts[:length])))

    def _file(self, path: str) -> Sequence[str]:
        self._check_open()
        return [*self._place, "rw", *split_path(path)]

    def _check_open(self) -> None:
        if self._closed:
            raise ClientError("the transaction is closed")


def _mode(stat: WireStat) -> FileMode:
    if stat.mode & Mode.DIRECTORY:
        return FileMode.DIRECTORY
    if stat.mode & Mode.LINK:
        return FileMode.LINK
    return FileMode.EXECUTABLE if stat.mode & Mode.EXECUTABLE else FileMode.NORMAL
