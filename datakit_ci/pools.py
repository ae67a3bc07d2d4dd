"""What builds wait for: pools with a number of units each, and locks that only one may hold.

The lines of :mod:`datakit_ci.schedule`, which decides who moves.
"""

from __future__ import annotations

import bisect
import enum
import heapq
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from datakit_ci.state import BuildId

__all__ = ["Lock", "LockState", "Owner", "Phase", "Pool", "PoolState", "Wanted"]

Owner: TypeAlias = Hashable
Place: TypeAlias = tuple[int, int]
Line: TypeAlias = list[tuple[Place, BuildId]]


class Phase(enum.Enum):
    """Where a build that is wanted stands."""

    QUEUED = "queued"
    RUNNING = "running"
    STOPPING = "stopping"


@dataclass(slots=True)
class Wanted:
    """A build that somebody wants, or that has not ended yet."""

    build: BuildId
    pool: str
    locks: tuple[str, ...]
    priority: int
    number: int
    phase: Phase = Phase.QUEUED
    owners: set[Owner] = field(default_factory=set)

    @property
    def place(self) -> Place:
        """Where it stands in every line of its project's, and of a lock; no two are equal."""
        return -self.priority, self.number


@dataclass(frozen=True, slots=True)
class PoolState:
    """A pool, for people.

    Attributes:
        capacity: Its units; none if it was never declared.
        busy: What holds one, in the order of starting.
        queue: What waits for one, the next first, if nothing else comes.
    """

    capacity: int | None
    busy: tuple[BuildId, ...]
    queue: tuple[BuildId, ...]


@dataclass(frozen=True, slots=True)
class LockState:
    """A lock, for people.

    Attributes:
        holder: The build that has it; none if it is free.
        queue: What waits for it, the next first.
    """

    holder: BuildId | None
    queue: tuple[BuildId, ...]


class Pool:
    """One pool's units, and a line for each project.

    Attributes:
        capacity: Its units; none if it was never declared.
        busy: What holds one, in the order of starting.
    """

    __slots__ = ("_lines", "_served", "_turn", "busy", "capacity")

    def __init__(self) -> None:
        self.capacity: int | None = None
        self.busy: dict[BuildId, None] = {}
        self._lines: dict[str, Line] = {}
        self._served: dict[str, int] = {}  # the turn in which a project was last served
        self._turn = 0

    @property
    def is_free(self) -> bool:
        """Whether it has a unit for somebody."""
        return len(self.busy) < (self.capacity or 0)

    def enqueue(self, wanted: Wanted) -> None:
        """Put a build into the line of its project."""
        line = self._lines.setdefault(wanted.build.project, [])
        bisect.insort(line, (wanted.place, wanted.build))

    def dequeue(self, wanted: Wanted) -> None:
        """Take a build out of its line."""
        line = self._lines[wanted.build.project]
        del line[bisect.bisect_left(line, (wanted.place, wanted.build))]
        if not line:
            del self._lines[wanted.build.project]

    def serve(self, wanted: Wanted) -> None:
        """Give a unit to a build of the queue."""
        self.dequeue(wanted)
        self._turn += 1
        self._served[wanted.build.project] = self._turn
        self.busy[wanted.build] = None

    def queue(self) -> Iterator[BuildId]:
        """What waits, in the order in which it would be served; the pool must not change."""
        turn = self._turn
        heap = [
            (line[0][0][0], self._served.get(project, 0), line[0][0][1], project, 0)
            for project, line in self._lines.items()
        ]
        heapq.heapify(heap)
        while heap:
            _, _, _, project, index = heapq.heappop(heap)
            line = self._lines[project]
            yield line[index][1]
            if index + 1 < len(line):
                turn += 1
                (urgency, number), _ = line[index + 1]
                heapq.heappush(heap, (urgency, turn, number, project, index + 1))


class Lock:
    """One lock.

    Attributes:
        holder: The build that has it.
        line: What waits for it, the first in line first.
    """

    __slots__ = ("holder", "line")

    def __init__(self) -> None:
        self.holder: BuildId | None = None
        self.line: Line = []
