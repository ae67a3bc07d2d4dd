"""The scheduler: which wanted builds run now, and why the others wait.

A state machine without clock, threads or processes: the engine tells it what happens, and does
what it says. Each build that is wanted is in one of three states::

    QUEUED ──Start──▶ RUNNING ──Stop──▶ STOPPING
      ▲                  │                 │
      │              Finished          Finished
      └── wanted again ──┴────────▶ (gone)

A build is wanted by any number of owners (targets); equal builds are one build. It runs as long as
somebody wants it. Until :class:`Finished` says that its processes are gone it holds its unit of
the pool, and its locks, so that neither is ever over-committed.

**Fair.** Of what waits for a pool, the highest priority goes first; within that, projects take
turns, the one that was served longest ago first; within a project, first come, first served. What
waits for a lock goes by priority, then first come, first served, across all pools.

**Without deadlock.** A build takes its unit and all its locks at the same moment, and only if it is
the first in the line of each of its locks. All these lines have the same order, so whoever is first
of all is first in each of its own.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from datakit_ci.pools import Lock, LockState, Owner, Phase, Pool, PoolState, Wanted
from datakit_ci.state import BuildId

__all__ = [
    "Cancel",
    "Event",
    "Finished",
    "Instruction",
    "LockState",
    "PoolChanged",
    "PoolState",
    "Scheduler",
    "Start",
    "Stop",
    "Unwant",
    "UnwantAll",
    "Want",
]


@dataclass(frozen=True, slots=True)
class Want:
    """``owner`` wants ``build``; wanting it once more changes at most the priority, upwards.

    Attributes:
        build: What to run.
        pool: What it takes one unit of.
        owner: On whose behalf: a target.
        priority: Larger goes first.
        locks: What only one build at a time may hold each.
    """

    build: BuildId
    pool: str
    owner: Owner
    priority: int = 0
    locks: tuple[str, ...] = ()


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


class Scheduler:
    """Turns events into instructions; deterministic.

    The instructions of one event are to be carried out in order, before or after the next event:
    a build that was told to stop is not started again before it has finished.
    """

    def __init__(self, capacities: Mapping[str, int]) -> None:
        """Start with nothing wanted, and pools of these ``capacities``."""
        self._pools: dict[str, Pool] = {}
        self._locks: dict[str, Lock] = {}
        self._wanted: dict[BuildId, Wanted] = {}
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
        return wanted is not None and wanted.phase is not Phase.QUEUED

    def reason(self, build: BuildId, *, place: bool = True) -> str:
        """Why ``build`` waits, such as ``waiting for pool cpu (2 of 2 busy), 3rd in line``.

        Empty if it runs, or is not wanted. Finding its ``place`` in the line goes through all that
        are ahead: not to be done for each of many.
        """
        wanted = self._wanted.get(build)
        if wanted is None or wanted.phase is Phase.RUNNING:
            return ""
        if wanted.phase is Phase.STOPPING:
            return "waiting for its cancelled run to end"
        reasons = [*self._lock_reasons(wanted), *self._pool_reasons(wanted, place=place)]
        return f"waiting for {' and '.join(reasons)}"

    def _lock_reasons(self, wanted: Wanted) -> Iterator[str]:
        for name in wanted.locks:
            lock = self._locks[name]
            ahead = [build for build in self._contenders(lock) if build != wanted.build]
            if lock.holder is not None:
                yield f"lock {name}, which {_title(lock.holder)} has"
            elif ahead and not self._is_first(wanted, lock):
                yield f"lock {name}, for which {_title(ahead[0])} comes first"

    def _pool_reasons(self, wanted: Wanted, *, place: bool) -> Iterator[str]:
        pool = self._pools[wanted.pool]
        if pool.capacity is None:
            yield f"pool {wanted.pool}, which is not declared"
        elif pool.capacity == 0:
            yield f"pool {wanted.pool}, which has no units"
        elif not pool.is_free:
            queue = enumerate(pool.queue()) if place else ()
            ahead = next((n for n, build in queue if build == wanted.build), 0)
            line = f", {_ordinal(ahead + 1)} in line" if ahead else ""
            yield f"pool {wanted.pool} ({len(pool.busy)} of {pool.capacity} busy){line}"

    def pools(self) -> Mapping[str, PoolState]:
        """Every pool that was declared or asked for, by name."""
        return {
            name: PoolState(pool.capacity, tuple(pool.busy), tuple(pool.queue()))
            for name, pool in sorted(self._pools.items())
        }

    def locks(self) -> Mapping[str, LockState]:
        """Every lock that is held or waited for, by name."""
        return {
            name: LockState(lock.holder, tuple(build for _, build in lock.line))
            for name, lock in sorted(self._locks.items())
            if lock.holder is not None or lock.line
        }

    def _pool(self, name: str) -> Pool:
        return self._pools.setdefault(name, Pool())

    def _want(self, event: Want) -> None:
        wanted = self._wanted.get(event.build)
        if wanted is None:
            self._number += 1
            locks = tuple(sorted(set(event.locks)))
            wanted = Wanted(event.build, event.pool, locks, event.priority, self._number)
            self._wanted[event.build] = wanted
            self._enqueue(wanted)
        elif event.priority > wanted.priority:
            self._raise(wanted, event.priority)
        wanted.owners.add(event.owner)
        self._by_owner.setdefault(event.owner, set()).add(event.build)

    def _raise(self, wanted: Wanted, priority: int) -> None:
        if wanted.phase is Phase.QUEUED:
            self._dequeue(wanted)
        wanted.priority = priority
        if wanted.phase is Phase.QUEUED:
            self._enqueue(wanted)

    def _enqueue(self, wanted: Wanted) -> None:
        self._pool(wanted.pool).enqueue(wanted)
        for name in wanted.locks:
            lock = self._locks.setdefault(name, Lock())
            bisect.insort(lock.line, (wanted.place, wanted.build))

    def _dequeue(self, wanted: Wanted) -> None:
        self._pool(wanted.pool).dequeue(wanted)
        self._leave(wanted)

    def _leave(self, wanted: Wanted) -> None:
        """Take it out of the lines of its locks."""
        for name in wanted.locks:
            self._locks[name].line.remove((wanted.place, wanted.build))

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

    def _drop(self, wanted: Wanted, reason: str) -> list[Instruction]:
        """Nobody wants it: forget it, or stop it first."""
        match wanted.phase:
            case Phase.QUEUED:
                self._dequeue(wanted)
                del self._wanted[wanted.build]
                return []
            case Phase.RUNNING:
                wanted.phase = Phase.STOPPING
                return [Stop(wanted.build, reason)]
            case Phase.STOPPING:
                return []

    def _disown(self, wanted: Wanted, owner: Owner) -> None:
        wanted.owners.discard(owner)
        builds = self._by_owner[owner]
        builds.discard(wanted.build)
        if not builds:
            del self._by_owner[owner]

    def _finished(self, event: Finished) -> None:
        wanted = self._wanted.get(event.build)
        if wanted is None or wanted.phase is Phase.QUEUED:
            return
        del self._pool(wanted.pool).busy[event.build]
        for name in wanted.locks:
            self._locks[name].holder = None
        if wanted.phase is Phase.STOPPING and wanted.owners and not event.recorded:
            wanted.phase = Phase.QUEUED
            self._enqueue(wanted)
            return
        for owner in list(wanted.owners):
            self._disown(wanted, owner)
        del self._wanted[event.build]

    def _started(self) -> Iterator[Instruction]:
        """Fill the free units of every pool.

        Once over all pools is enough: what starts only takes, so it makes way for nobody.
        """
        for pool in self._pools.values():
            for wanted in self._startable(pool):
                pool.serve(wanted)
                self._leave(wanted)
                for name in wanted.locks:
                    self._locks[name].holder = wanted.build
                wanted.phase = Phase.RUNNING
                yield Start(wanted.build)

    def _startable(self, pool: Pool) -> list[Wanted]:
        """What is to get the free units of ``pool``."""
        found: list[Wanted] = []
        free = (pool.capacity or 0) - len(pool.busy)
        if free <= 0:
            return found
        for build in pool.queue():
            wanted = self._wanted[build]
            if all(self._is_first(wanted, self._locks[name]) for name in wanted.locks):
                found.append(wanted)
                if len(found) == free:
                    break
        return found

    def _is_first(self, wanted: Wanted, lock: Lock) -> bool:
        return lock.holder is None and next(self._contenders(lock)) == wanted.build

    def _contenders(self, lock: Lock) -> Iterator[BuildId]:
        """What waits for ``lock`` and could ever run: a pool without units holds up nobody else."""
        for _, build in lock.line:
            if self._pools[self._wanted[build].pool].capacity:
                yield build


def _title(build: BuildId) -> str:
    return f"{build.stage} of {build.project}"


def _ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th..."""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"
