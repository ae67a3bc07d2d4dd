"""A database at a server that may go away and come back: restarts, broken networks, moves.

What only asks, or may be done twice, is done again once there is a connection; watches go on and
tell what is new since. What may have happened or not when the connection broke raises
``Disconnected``, and the caller looks and decides: a transaction's edits are gone with it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from datakit_core.client.api import Change, Transaction
from datakit_core.client.remote import RemoteDatabase
from datakit_core.errors import Disconnected
from datakit_core.ninep.client import connect as connect_9p
from datakit_core.ninep.silence import PATIENCE
from datakit_core.store import BlobId, Commit, CommitId, Entry, Tree, TreeId

__all__ = ["Backoff", "ReconnectingDatabase", "reconnecting"]

_log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the next attempt; a random half of it is left out.

    Attributes:
        first: Seconds after the first failure; doubled after each further one.
        most: Never more seconds than these.
    """

    first: float = 0.1
    most: float = 10.0

    def delay(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row, at least one."""
        return min(self.most, self.first * 2.0 ** min(failures - 1, 64)) * random.uniform(0.5, 1)


@asynccontextmanager
async def reconnecting(
    address: str, *, backoff: Backoff | None = None, patience: float = PATIENCE
) -> AsyncIterator[ReconnectingDatabase]:
    """Connect to a database, and connect again whenever the connection is lost.

    While there is no server, calls wait; ``asyncio.timeout`` bounds that.

    Args:
        address: As for :func:`datakit_core.client.connect`.
        backoff: How long to wait between attempts; not longer than ``patience`` if not given.
        patience: Seconds of silence after which a server counts as lost.

    Raises:
        ConfigError: The address makes no sense.
        Disconnected: Nobody serves there now; only the first connection is not waited for.
    """
    database = ReconnectingDatabase(address, backoff or Backoff(most=min(10.0, patience)), patience)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


class ReconnectingDatabase:
    """A :class:`~datakit_core.client.api.Database`; made by :func:`reconnecting`."""

    def __init__(self, address: str, backoff: Backoff, patience: float = PATIENCE) -> None:
        """Nothing is connected yet; see :meth:`open`."""
        self._address, self._backoff, self._patience = address, backoff, patience
        self._connection = AsyncExitStack()
        self._connecting = asyncio.Lock()
        self._last: RemoteDatabase | None = None
        self._alive = False
        self._failures = 0
        self._away: datetime | None = None

    @property
    def away(self) -> datetime | None:
        """Since when there is no server (UTC); none while there is one."""
        return self._away

    async def open(self) -> None:
        """Connect, or raise."""
        client = await self._connection.enter_async_context(
            connect_9p(self._address, patience=self._patience)
        )
        self._last = RemoteDatabase(client, of=self._last)
        self._alive, self._away = True, None

    async def connected(self) -> None:
        """Wait while there is no server, and look for one."""
        await self._connected()

    async def close(self) -> None:
        """Disconnect."""
        self._alive = False
        await self._connection.aclose()

    async def branches(self) -> Mapping[str, CommitId]:
        """All branches that have a head."""
        return await self._again(lambda database: database.branches())

    async def head(self, branch: str) -> CommitId | None:
        """A branch's head, read anew."""
        return await self._again(lambda database: database.head(branch))

    async def watch_head(self, branch: str) -> AsyncGenerator[CommitId | None, None]:
        """The head now, then each newest head; after an interruption only if it is another one."""
        shown: CommitId | str | None = ""  # nothing so far; none is a branch without a head
        while True:
            database = await self._connected()
            try:
                async with aclosing(database.watch_head(branch)) as heads:
                    async for head in heads:
                        self._failures = 0
                        if head != shown:
                            shown = head
                            yield head
            except Disconnected as error:
                self._lost(database, error)

    async def commit(self, commit: CommitId) -> Commit:
        """Read a commit."""
        return await self._again(lambda database: database.commit(commit))

    async def tree(self, tree: TreeId) -> Tree:
        """Read one directory."""
        return await self._again(lambda database: database.tree(tree))

    async def raw_tree(self, tree: TreeId) -> bytes:
        """A tree object's content as Git has it, also what of it is not served."""
        return await self._again(lambda database: database.raw_tree(tree))

    async def blob(self, blob: BlobId) -> bytes:
        """Read a whole blob."""
        return await self._again(lambda database: database.blob(blob))

    async def blob_size(self, blob: BlobId) -> int:
        """A blob's length in bytes, without reading it."""
        return await self._again(lambda database: database.blob_size(blob))

    async def stream_blob(
        self, blob: BlobId, offset: int = 0, length: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """A blob, or a part of it; after an interruption from where it was."""
        while True:
            database = await self._connected()
            try:
                async with aclosing(database.stream_blob(blob, offset, length)) as pieces:
                    async for piece in pieces:
                        self._failures = 0
                        offset += len(piece)
                        length = None if length is None else length - len(piece)
                        yield piece
            except Disconnected as error:
                self._lost(database, error)
            else:
                return

    async def entry(self, tree: TreeId, path: str) -> Entry | None:
        """What is at ``path`` below ``tree``."""
        return await self._again(lambda database: database.entry(tree, path))

    async def read(self, tree: TreeId, path: str) -> bytes:
        """The content of the file at ``path``."""
        return await self._again(lambda database: database.read(tree, path))

    async def history(self, commit: CommitId) -> AsyncGenerator[Commit, None]:
        """``commit`` and its first parents, newest first."""
        at: CommitId | None = commit
        while at is not None:
            found = await self.commit(at)
            yield found
            at = found.parents[0] if found.parents else None

    async def diff(self, old: TreeId, new: TreeId) -> Sequence[Change]:
        """The files that differ, sorted by path."""
        return await self._again(lambda database: database.diff(old, new))

    @asynccontextmanager
    async def transaction(self, branch: str) -> AsyncIterator[Transaction]:
        """Edit ``branch``; the edits, and perhaps the commit, are lost with the connection."""
        async with self._once() as database, database.transaction(branch) as transaction:
            yield transaction

    async def create_branch(self, branch: str, commit: CommitId) -> None:
        """Make a branch whose head is ``commit``; not done again, since it may have been done."""
        async with self._once() as database:
            await database.create_branch(branch, commit)

    async def fast_forward(self, branch: str, commit: CommitId) -> None:
        """Move ``branch`` to a descendant of its head."""
        await self._again(lambda database: database.fast_forward(branch, commit))

    async def merge(self, branch: str, commit: CommitId, message: str = "") -> CommitId:
        """Bring ``commit`` into ``branch``."""
        return await self._again(lambda database: database.merge(branch, commit, message))

    async def remove_branch(self, branch: str) -> None:
        """Delete a branch's ref; not done again, since somebody may have made it anew."""
        async with self._once() as database:
            await database.remove_branch(branch)

    async def rename_branch(self, old: str, new: str) -> None:
        """Give a branch another name; not done again, since it may have been done."""
        async with self._once() as database:
            await database.rename_branch(old, new)

    async def import_directory(self, path: Path) -> TreeId:
        """Store a directory of this machine."""
        return await self._again(lambda database: database.import_directory(path))

    async def import_tree(self, files: Mapping[str, Entry | bytes]) -> TreeId:
        """Store a tree made of contents and existing entries, by path."""
        return await self._again(lambda database: database.import_tree(files))

    async def fetch(self, url: str, ref: str) -> CommitId:
        """Bring a commit and its history from another repository."""
        return await self._again(lambda database: database.fetch(url, ref))

    async def _again(self, ask: Callable[[RemoteDatabase], Awaitable[T]]) -> T:
        """Ask until there is an answer."""
        while True:
            database = await self._connected()
            try:
                answer = await ask(database)
            except Disconnected as error:
                self._lost(database, error)
            else:
                self._failures = 0
                return answer

    @asynccontextmanager
    async def _once(self) -> AsyncIterator[RemoteDatabase]:
        """A connection for what must not be repeated."""
        database = await self._connected()
        try:
            yield database
        except Disconnected as error:
            self._lost(database, error)
            raise

    async def _connected(self) -> RemoteDatabase:
        async with self._connecting:
            while not self._alive:
                await self._connection.aclose()
                await asyncio.sleep(self._backoff.delay(self._failures))
                try:
                    await self.open()
                except Disconnected as error:
                    self._failures += 1
                    _log.debug("%s: attempt %d: %s", self._address, self._failures, error)
                else:
                    _log.info("connected to %s again", self._address)
        assert self._last is not None, "open has returned"
        return self._last

    def _lost(self, database: RemoteDatabase, error: Disconnected) -> None:
        """``database`` is of no use any more; whoever comes next connects."""
        if self._alive and database is self._last:
            self._alive = False
            self._away = self._away or datetime.now(UTC)
            self._failures += 1
            _log.warning("lost %s: %s", self._address, error)
