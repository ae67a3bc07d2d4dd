"""A database as it was: each branch at its newest commit not later than a moment.

Commit times never decrease along a branch that the server writes, so "as of a moment" is well
defined: the newest commit among the head and its first parents whose time is not later. Others may
push commits whose clocks were wrong; then the first such commit counts, going back from the head.

Moments are whole seconds since 1970, UTC, as commits have them.
"""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from datakit_core.client.api import (
    BlobId,
    Change,
    Commit,
    CommitId,
    Database,
    Entry,
    ObjectId,
    Tree,
    TreeId,
)
from datakit_core.client.refusing import Refusing
from datakit_core.errors import UnknownObject

__all__ = ["Chronicle", "Histories", "Moments", "PastDatabase"]

_ID = 20
"""Bytes of a commit's id."""

_MOST = 1_000_000
"""Commits that are remembered, of all branches together: 28 MB."""

_TURN = 64
"""Objects that are read before others get their turn on the loop: about 1 ms."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Where a moment lies in the history of a branch.

    Attributes:
        commit: The branch's head at the moment; none: it had none yet.
        since: When that became the head; none if there was none.
        earlier: When the head before it became it; none: it is the first.
        later: When the next one became it; none: it is the head to this day.
    """

    commit: CommitId | None = None
    since: int | None = None
    earlier: int | None = None
    later: int | None = None


@dataclass(slots=True)
class _Line:
    """What is known of one branch: a run of its first-parent history that ends with its head.

    Attributes:
        times: For each commit, oldest first, from when on it was the head; never decreasing.
        ids: The ids, end to end.
        before: The first parent of the oldest; none: the oldest is the branch's first commit.
        lock: Held by who reads more of the history.
    """

    times: array[int] = field(default_factory=lambda: array("q"))
    ids: bytearray = field(default_factory=bytearray)
    before: CommitId | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __len__(self) -> int:
        return len(self.times)

    def id(self, place: int) -> CommitId:
        return CommitId(ObjectId(self.ids[place * _ID : (place + 1) * _ID].hex()))

    @property
    def newest(self) -> CommitId | None:
        return self.id(len(self) - 1) if self.times else None

    def append(self, commits: Sequence[tuple[CommitId, int]]) -> None:
        """Add newer commits, the newest first."""
        for commit, time in reversed(commits):
            place = len(self.times)
            while place and self.times[place - 1] > time:  # it was never seen after this one
                place -= 1
                self.times[place] = time
            self.times.append(time)
            self.ids += bytes.fromhex(commit)

    def prepend(self, commits: Sequence[tuple[CommitId, int]]) -> None:
        """Add older commits, the newest first."""
        times, ids = array("q"), bytearray()
        least = self.times[0] if self.times else None
        for _, time in commits:
            least = time if least is None else min(least, time)
            times.append(least)
        times.reverse()
        for commit, _ in reversed(commits):
            ids += bytes.fromhex(commit)
        self.times, self.ids = times + self.times, ids + self.ids


class Histories(Protocol):
    """The part of a :class:`~datakit_core.client.api.Database` that tells of branches."""

    async def head(self, branch: str) -> CommitId | None:
        """A branch's head, read anew."""
        ...

    async def commit(self, commit: CommitId) -> Commit:
        """Read a commit; raises ``UnknownObject``."""
        ...


class Chronicle:
    """Finds the heads that branches had at a moment.

    What was read of a history is remembered, so a second look costs a binary search; a branch that
    has moved costs its new commits.
    """

    def __init__(self, database: Histories, most: int = _MOST) -> None:
        """Read from ``database``; remember up to ``most`` commits."""
        self._database = database
        self._most = most
        self._lines: OrderedDict[str, _Line] = OrderedDict()
        self._size = 0

    async def head_at(
        self, branch: str, moment: int, now: CommitId | None = None
    ) -> CommitId | None:
        """The head that ``branch`` had at ``moment``; none: it had none.

        Args:
            branch: Which.
            moment: When.
            now: Its head a moment ago, if that is known; it spares looking.
        """
        line = await self._line(branch, moment, now)
        place = bisect_right(line.times, moment) - 1
        return line.id(place) if place >= 0 else None

    async def around(self, branch: str, moment: int) -> Moments:
        """Which commit was the head at ``moment``, and when it came and went."""
        line = await self._line(branch, moment)
        after = bisect_right(line.times, moment)
        later = line.times[after] if after < len(line) else None
        if not after:
            return Moments(later=later)
        commit, since = line.id(after - 1), line.times[after - 1]
        line = await self._line(branch, since - 1)
        before = bisect_left(line.times, since)
        earlier = line.times[before - 1] if before else None
        return Moments(commit, since, earlier, later)

    async def first(self, branch: str) -> Moments:
        """The oldest commit of a branch that is still there."""
        line = await self._line(branch, -(1 << 62))
        return Moments(line.id(0), line.times[0]) if line.times else Moments()

    async def holds(self, branch: str, commit: CommitId, moment: int) -> bool:
        """Whether ``commit``, which is of ``moment``, is in the history of ``branch``."""
        line = await self._line(branch, moment - 1)
        places = range(bisect_left(line.times, moment), len(line))
        for place in places:
            if line.times[place] > moment:
                break
            if line.id(place) == commit:
                return True
        return False

    async def _line(self, branch: str, moment: int, now: CommitId | None = None) -> _Line:
        """What is known of a branch, which reaches from its head to before ``moment``."""
        line = self._lines.setdefault(branch, _Line())
        self._lines.move_to_end(branch)
        async with line.lock:
            size = len(line)
            if now is None or line.newest not in (None, now):
                now = await self._database.head(branch)
            await self._catch_up(line, now)
            while line.before is not None and not (line.times and line.times[0] <= moment):
                line.prepend(await self._read_back(line, moment))
            if self._lines.get(branch) is line:  # else it was forgotten while this one waited
                self._size += len(line) - size
        self._shrink(branch)
        return line

    async def _catch_up(self, line: _Line, head: CommitId | None) -> None:
        """Add what is new; if the history is another one now, begin anew."""
        newest = line.newest
        if head == newest:
            return
        if newest is None or head is None:
            line.times, line.ids, line.before = array("q"), bytearray(), head
            return
        fresh, before = await self._read(head, newest, None)
        if before is None:  # the old head is in the history of the new one no more
            line.times, line.ids, line.before = array("q"), bytearray(), None
        line.append(fresh)

    async def _read_back(self, line: _Line, moment: int) -> Sequence[tuple[CommitId, int]]:
        assert line.before is not None
        commits, line.before = await self._read(line.before, None, moment)
        return commits

    async def _read(
        self, start: CommitId, stop: CommitId | None, moment: int | None
    ) -> tuple[Sequence[tuple[CommitId, int]], CommitId | None]:
        """First parents from ``start`` on, newest first, and where the history goes on.

        Up to ``stop``, which is not among them, or to the first that is not later than ``moment``.
        A commit that is not there (any more) is where the history begins.
        """
        found: list[tuple[CommitId, int]] = []
        at: CommitId | None = start
        while at is not None and at != stop:
            try:
                commit = await self._database.commit(at)
            except UnknownObject:
                return found, None
            found.append((at, commit.committer.time))
            at = commit.parents[0] if commit.parents else None
            if moment is not None and commit.committer.time <= moment:
                break
            if len(found) % _TURN == 0:
                await asyncio.sleep(0)
        return found, at

    def _shrink(self, keep: str) -> None:
        """Forget the branches that nobody asked about for longest."""
        if self._size <= self._most:
            return
        for branch in list(self._lines):
            if self._size <= self._most:
                return
            line = self._lines[branch]
            if branch != keep and not line.lock.locked():
                self._size -= len(line)
                del self._lines[branch]


class PastDatabase(Refusing):
    """A :class:`~datakit_core.client.api.Database` as of a moment; it cannot be changed.

    Objects are those that are there now: what was removed since is missing in the past, too.
    Whoever reads many of them lets others have their turn.
    """

    why_read_only = "the past cannot be changed"

    def __init__(
        self,
        database: Database,
        chronicle: Chronicle,
        moment: int,
        heads: Mapping[str, CommitId] | None = None,
    ) -> None:
        """See ``database`` as of ``moment``; ``chronicle`` is of the same database.

        ``heads`` are those of a moment ago, if they are known: then they are not read one by one.
        """
        self._heads = heads or {}
        self._database = database
        self._chronicle = chronicle
        self._moment = moment
        self._reads = 0

    async def branches(self) -> Mapping[str, CommitId]:
        """All branches that had a head, and are still there."""
        found: dict[str, CommitId] = {}
        for branch in await self._database.branches():
            if (head := await self.head(branch)) is not None:
                found[branch] = head
            await asyncio.sleep(0)
        return found

    async def head(self, branch: str) -> CommitId | None:
        """The head that a branch had."""
        return await self._chronicle.head_at(branch, self._moment, self._heads.get(branch))

    async def watch_head(self, branch: str) -> AsyncIterator[CommitId | None]:
        """The head that it had; the past does not change."""
        yield await self.head(branch)

    async def commit(self, commit: CommitId) -> Commit:
        """Read a commit."""
        await self._take_turns()
        return await self._database.commit(commit)

    async def tree(self, tree: TreeId) -> Tree:
        """Read one directory."""
        await self._take_turns()
        return await self._database.tree(tree)

    async def blob(self, blob: BlobId) -> bytes:
        """Read a whole blob."""
        await self._take_turns()
        return await self._database.blob(blob)

    async def blob_size(self, blob: BlobId) -> int:
        """A blob's length in bytes."""
        return await self._database.blob_size(blob)

    def stream_blob(
        self, blob: BlobId, offset: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        """A blob, or a part of it, in pieces."""
        return self._database.stream_blob(blob, offset, length)

    async def entry(self, tree: TreeId, path: str) -> Entry | None:
        """What is at ``path`` below ``tree``."""
        return await self._database.entry(tree, path)

    async def read(self, tree: TreeId, path: str) -> bytes:
        """The content of the file at ``path``."""
        return await self._database.read(tree, path)

    def history(self, commit: CommitId) -> AsyncIterator[Commit]:
        """``commit`` and its first parents, newest first."""
        return self._database.history(commit)

    async def diff(self, old: TreeId, new: TreeId) -> Sequence[Change]:
        """The files that differ, sorted by path."""
        return await self._database.diff(old, new)

    async def _take_turns(self) -> None:
        self._reads += 1
        if self._reads % _TURN == 0:
            await asyncio.sleep(0)
