"""The scheduler: which wanted builds run now, and why the others wait.

A state machine without clock, threads or processes: the engine tells it what happens, and does
what it says. Each build that is wanted is in one of three states::

    QUEUED ──Start──▶ RUNNING ──Stop──▶ STOPPING
      ▲                  │                 │
      │              Finished          Finished
      └── wanted again ──┴────────▶ (gone)

A build is wanted by any number of owners (targets); equal builds are one build. It runs as long as
somebody wants it. Until :class:`Finished` says that its processes are gone it holds its unit of
the pool, so that a pool is never over-committed.
"""

from __future__ import annotations

import bisect
import enum
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from datakit_ci.state import BuildId

__all__ = [
    "Cancel",
    "Event",
    "Finished",
    "Instruction",
    "PoolChanged",
    "PoolState",
    "Scheduler",
    "Start",
    "Stop",
    "Unwant",
    "UnwantAll",
    "Want",
]

Owner: TypeAlias = Hashable


@dataclass(frozen=True, slots=True)
class Want:
    """``owner`` wants ``build``; wanting it once more changes at most the priority, upwards.

    Attributes:
        build: What to run.
        pool: What it takes one unit of.
        owner: On whose behalf: a target.
        priority: Larger goes first; among equals, first come, first served.
    """

    build: BuildId
    pool: str
    owner: Owner
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Unwant:
    """``owner`` does not want ``build`` any more."""

    build: BuildId
    owner: Owner


@dataclass(frozen=True, slots=True)
class UnwantAll:
    """``owner`` is gone, and wants nothing any more."""

    owner: Owner


@dataclass(frozen=True, slots=True)
class Cancel:
    """A person stops ``build``, whoever wants it; it can be wanted again."""

    build: BuildId


@dataclass(frozen=True, slots=True)
class Finished:
    """The processes of ``build`` are gone.

    Attributes:
        build: Which.
        recorded: Whether there is a result. If not, and it is still wanted although it was being
            stopped, it is queued again.
    """

    build: BuildId
    recorded: bool = True


@dataclass(frozen=True, slots=True)
class PoolChanged:
    """A pool has this many units from now on; what runs above that goes on running."""

    pool: str
    capacity: int


Event: TypeAlias = Want | Unwant | UnwantAll | Cancel | Finished | PoolChanged


@dataclass(frozen=True, slots=True)
class Start:
    """Run this build now."""

    build: BuildId


@dataclass(frozen=True, slots=True)
class Stop:
    """End the processes of this running build, for ``reason``, then say :class:`Finished`."""

    build: BuildId
    reason: str


Instruction: TypeAlias = Start | Stop


class _Phase(enum.Enum):
    QUEUED = "queued"
    RUNNING = "running"
    STOPPING = "stopping"


@dataclass(slots=True)
class _Wanted:
    """A build that somebody wants, or that has not ended yet."""

    build: BuildId
    pool: str
    priority: int
    number: int
    phase: _Phase = _Phase.QUEUED
    owners: set[Owner] = field(default_factory=set)

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands in its pool's queue; no two are equal."""
        return -self.priority, self.number


@dataclass(frozen=True, slots=True)
class PoolState:
    """A pool, for people.

    Attributes:
        capacity: Its units; none if it was never declared.
        busy: What holds one, in the order of starting.
        queue: What waits for one, the next first.
    """

    capacity: int | None
    busy: tuple[BuildId, ...]
    queue: tuple[BuildId, ...]


class _Pool:
    """One pool's units and queue."""

    __slots__ = ("_queue", "busy", "capacity")

    def __init__(self) -> None:
        self.capacity: int | None = None
        self.busy: dict[BuildId, None] = {}
        self._queue: list[tuple[tuple[int, int], BuildId]] = []

    @property
    def queue(self) -> tuple[BuildId, ...]:
        return tuple(build for _, build in self._queue)

    def enqueue(self, wanted: _Wanted) -> None:
        bisect.insort(self._queue, (wanted.place, wanted.build))

    def dequeue(self, wanted: _Wanted) -> None:
        del self._queue[self.position(wanted)]

    def position(self, wanted: _Wanted) -> int:
        return bisect.bisect_left(self._queue, (wanted.place, wanted.build))

    def next(self) -> BuildId | None:
        """Take the first of the queue if a unit is free."""
        if not self._queue or len(self.busy) >= (self.capacity or 0):
            return None
        return self._queue.pop(0)[1]


class Scheduler:
    """Turns events into instructions; deterministic.

    The instructions of one event are to be carried out in order, before or after the next event:
    a build that was told to stop is not started again before it has finished.
    """

    def __init__(self, capacities: Mapping[str, int]) -> None:
        """Start with nothing wanted, and pools of these ``capacities``."""
        self._pools: dict[str, _Pool] = {}
        self._wanted: dict[BuildId, _Wanted] = {}
        self._by_owner: dict[Owner, set[BuildId]] = {}
        self._number = 0
        for pool, capacity in capacities.items():
            self._pool(pool).capacity = capacity

    def handle(self, event: Event) -> list[Instruction]:
        """Take note of ``event`` and say what to do now."""
        return [*self._handle(event), *self._started()]

    def _handle(self, event: Event) -> list[Instruction]:
        match event:
            case Want():
                self._want(event)
            case Unwant(build=build, owner=owner):
                return list(self._unwant(build, owner))
            case UnwantAll(owner=owner):
                builds = sorted(self._by_owner.get(owner, ()))
                return [each for build in builds for each in self._unwant(build, owner)]
            case Cancel(build=build):
                return self._cancel(build)
            case Finished():
                self._finished(event)
            case PoolChanged(pool=pool, capacity=capacity):
                self._pool(pool).capacity = capacity
        return []

    @property
    def idle(self) -> bool:
        """Whether nothing is wanted and nothing runs."""
        return not self._wanted

    def is_wanted(self, build: BuildId) -> bool:
        """Whether somebody wants ``build``."""
        wanted = self._wanted.get(build)
        return wanted is not None and bool(wanted.owners)

    def is_running(self, build: BuildId) -> bool:
        """Whether ``build`` was started and has not finished, also while it is being stopped."""
        wanted = self._wanted.get(build)
        return wanted is not None and wanted.phase is not _Phase.QUEUED

    def reason(self, build: BuildId) -> str:
        """Why ``build`` waits, such as ``waiting for pool cpu (2 of 2 busy), 3rd in line``.

        Empty if it runs, or is not wanted.
        """
        wanted = self._wanted.get(build)
        if wanted is None or wanted.phase is _Phase.RUNNING:
            return ""
        if wanted.phase is _Phase.STOPPING:
            return "waiting for its cancelled run to end"
        pool = self._pools[wanted.pool]
        if pool.capacity is None:
            return f"waiting for pool {wanted.pool}, which is not declared"
        if pool.capacity == 0:
            return f"waiting for pool {wanted.pool}, which has no units"
        ahead = pool.position(wanted)
        line = f", {_ordinal(ahead + 1)} in line" if ahead else ""
        return f"waiting for pool {wanted.pool} ({len(pool.busy)} of {pool.capacity} busy){line}"

    def pools(self) -> Mapping[str, PoolState]:
        """Every pool that was declared or asked for, by name."""
        return {
            name: PoolState(pool.capacity, tuple(pool.busy), pool.queue)
            for name, pool in sorted(self._pools.items())
        }

    def _pool(self, name: str) -> _Pool:
        return self._pools.setdefault(name, _Pool())

    def _want(self, event: Want) -> None:
        wanted = self._wanted.get(event.build)
        if wanted is None:
            self._number += 1
            wanted = _Wanted(event.build, event.pool, event.priority, self._number)
            self._wanted[event.build] = wanted
            self._pool(event.pool).enqueue(wanted)
        elif event.priority > wanted.priority:
            self._raise(wanted, event.priority)
        wanted.owners.add(event.owner)
        self._by_owner.setdefault(event.owner, set()).add(event.build)

    def _raise(self, wanted: _Wanted, priority: int) -> None:
        pool = self._pool(wanted.pool)
        if wanted.phase is _Phase.QUEUED:
            pool.dequeue(wanted)
        wanted.priority = priority
        if wanted.phase is _Phase.QUEUED:
            pool.enqueue(wanted)

    def _unwant(self, build: BuildId, owner: Owner) -> Iterator[Instruction]:
        wanted = self._wanted.get(build)
        if wanted is None or owner not in wanted.owners:
            return
        self._disown(wanted, owner)
        if not wanted.owners:
            yield from self._drop(wanted, "nobody wants it any more")

    def _cancel(self, build: BuildId) -> list[Instruction]:
        wanted = self._wanted.get(build)
        if wanted is None:
            return []
        for owner in list(wanted.owners):
            self._disown(wanted, owner)
        return self._drop(wanted, "cancelled")

    def _drop(self, wanted: _Wanted, reason: str) -> list[Instruction]:
        """Nobody wants it: forget it, or stop it first."""
        match wanted.phase:
            case _Phase.QUEUED:
                self._pool(wanted.pool).dequeue(wanted)
                del self._wanted[wanted.build]
                return []
            case _Phase.RUNNING:
                wanted.phase = _Phase.STOPPING
                return [Stop(wanted.build, reason)]
            case _Phase.STOPPING:
                return []

    def _disown(self, wanted: _Wanted, owner: Owner) -> None:
        wanted.owners.discard(owner)
        builds = self._by_owner[owner]
        builds.discard(wanted.build)
        if not builds:
            del self._by_owner[owner]

    def _finished(self, event: Finished) -> None:
        wanted = self._wanted.get(event.build)
        if wanted is None or wanted.phase is _Phase.QUEUED:
            return
        pool = self._pool(wanted.pool)
        del pool.busy[event.build]
        if wanted.phase is _Phase.STOPPING and wanted.owners and not event.recorded:
            wanted.phase = _Phase.QUEUED
            pool.enqueue(wanted)
            return
        for owner in list(wanted.owners):
            self._disown(wanted, owner)
        del self._wanted[event.build]

    def _started(self) -> Iterator[Instruction]:
        """Fill the free units of every pool."""
        for pool in self._pools.values():
            while (build := pool.next()) is not None:
                pool.busy[build] = None
                self._wanted[build].phase = _Phase.RUNNING
                yield Start(build)


def _ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th..."""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"
