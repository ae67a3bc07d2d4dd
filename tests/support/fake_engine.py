"""A stand-in for the engine's reading side, scripted by the test that uses it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace

from datakit_ci.annals import Change
from datakit_ci.archive import Dossier
from datakit_ci.control import Command
from datakit_ci.crew import Crew
from datakit_ci.explanation import Explanation, JobWhy
from datakit_ci.livelog import Pending
from datakit_ci.logtimes import LogTimes
from datakit_ci.pools import LockState, PoolState
from datakit_ci.project import Project
from datakit_ci.rulings import Ruling
from datakit_ci.state import BuildId, BuildState, GraphNode, JobState, Status, TargetState
from datakit_ci.target import Target
from datakit_core.client.api import CommitId
from datakit_core.errors import DatakitError, NoEntry
from tests.support.memory_database import MemoryDatabase

__all__ = ["FakeEngine"]


class FakeEngine:
    """Holds states, builds and logs in memory, and tells readers when the test changes them."""

    def __init__(self) -> None:
        self._targets: dict[Target, TargetState] = {}
        self._builds: dict[BuildId, BuildState] = {}
        self._logs: dict[BuildId, bytearray] = {}
        self._changed: dict[Target, int] = {}
        self._clock = itertools.count(1)
        self._news = asyncio.Condition()
        self.whys: dict[BuildId, Explanation] = {}
        """What is said of builds that are asked about."""
        self.histories: dict[Target, Sequence[Change]] = {}
        """What targets have come to, the newest first."""
        self.database = MemoryDatabase()
        """Has the trees that dossiers are about."""
        self.recorded: list[Dossier] = []
        """What was recorded, the newest first; see :meth:`record`."""
        self.job_whys: dict[tuple[Target, str], JobWhy] = {}
        """What is said of jobs that are asked about."""
        self.paused_projects: dict[str, Ruling] = {}
        self.declared: list[Project] = []
        """The projects of the pipeline."""
        self.flowing: list[TargetState] = []
        """The flows of the pipeline."""
        self.workers = Crew()
        self.busy_pools: dict[str, PoolState] = {}
        self.held_locks: dict[str, LockState] = {}
        self.commands: list[Command] = []
        """What people have said, in its order."""
        self.refusal: DatakitError | None = None
        """What to raise instead of doing what they say."""
        self.times: dict[BuildId, LogTimes] = {}
        """When logs were written."""
        self.readers = 0
        """Iterators of changes and logs that are open now."""

    def targets(self) -> Sequence[TargetState]:
        return tuple(self._targets.values())

    def target(self, target: Target) -> TargetState | None:
        return self._targets.get(target)

    async def build(self, build: BuildId) -> BuildState | None:
        return self._builds.get(build)

    async def dossier(self, build: BuildId, commit: CommitId | None = None) -> Dossier | None:
        for each in self.recorded:
            if each.state.id == build and commit in (None, each.commit):
                return each
        state = self._builds.get(build)
        return None if state is None or commit is not None else Dossier(state, self.database)

    async def results(self, project: str, stage: str) -> AsyncIterator[Dossier]:
        for each in self.recorded:
            if (each.state.id.project, each.state.id.stage) == (project, stage):
                yield each

    async def history(self, target: Target, skip: int, most: int) -> Sequence[Change]:
        return self.histories.get(target, ())[skip:][:most]

    async def recorded_at(self, project: str, commit: CommitId) -> Sequence[TargetState]:
        return [
            change.state
            for target, changes in self.histories.items()
            for change in changes
            if target.project == project and change.state.head == commit
        ]

    async def why_build(self, build: BuildId) -> Explanation | None:
        return self.whys.get(build)

    async def why(self, target: Target, job: str) -> JobWhy:
        if (target, job) not in self.job_whys:
            raise NoEntry(f"{target.path} has no job {job}")
        return self.job_whys[target, job]

    def paused(self) -> Mapping[str, Ruling]:
        return self.paused_projects

    def flows(self) -> Sequence[TargetState]:
        return self.flowing

    def projects(self) -> Sequence[Project]:
        return self.declared

    def pools(self) -> Mapping[str, PoolState]:
        return self.busy_pools

    def crew(self) -> Crew:
        return self.workers

    def locks(self) -> Mapping[str, LockState]:
        return self.held_locks

    async def control(self, command: Command) -> str:
        if self.refusal is not None:
            raise self.refusal
        self.commands.append(command)
        return f"{type(command).__name__.lower()} done"

    async def follow_log(self, build: BuildId, offset: int = 0) -> AsyncGenerator[bytes, None]:
        self.readers += 1
        try:
            while build in self._builds:
                data = bytes(self._logs[build][offset:])
                if data:
                    offset += len(data)
                    yield data
                    continue
                if self._builds[build].status.is_final:
                    return
                await self._wait()
        finally:
            self.readers -= 1

    async def watch_log(self, build: BuildId, offset: int = 0) -> AsyncIterator[bytes | Pending]:
        told = ""
        while build in self._builds and self._builds[build].status is Status.WAITING:
            reason = self._builds[build].reason
            if reason != told:
                told = reason
                yield Pending(reason)
            else:
                await self._wait()
        async with aclosing(self.follow_log(build, offset)) as pieces:
            async for piece in pieces:
                yield piece

    async def log_times(self, build: BuildId) -> LogTimes | None:
        return self.times.get(build)

    async def changes(self) -> AsyncIterator[frozenset[Target]]:
        self.readers += 1
        try:
            seen = 0
            yield frozenset(self._targets)
            seen = next(self._clock)
            while True:
                changed = frozenset(t for t, moment in self._changed.items() if moment > seen)
                if changed:
                    seen = next(self._clock)
                    yield changed
                else:
                    await self._wait()
        finally:
            self.readers -= 1

    def add(self, *states: TargetState) -> None:
        """Put targets there before anybody looks."""
        self._targets.update((state.target, state) for state in states)

    def add_build(self, build: BuildState, log: bytes = b"") -> None:
        """Put a build there before anybody looks."""
        self._logs[build.id] = bytearray(log)
        self._builds[build.id] = replace(build, log_size=len(log))

    def record(self, dossier: Dossier) -> None:
        """Put a result there, newer than those before it, without a log."""
        self.recorded.insert(0, dossier)
        self.add_build(dossier.state, bytes(self._logs.get(dossier.state.id, b"")))

    async def set_target(self, state: TargetState) -> None:
        """Change a target, and tell."""
        self._targets[state.target] = state
        await self._tell([state.target])

    async def remove(self, target: Target) -> None:
        """Forget a target, and tell."""
        del self._targets[target]
        await self._tell([target])

    async def write_log(self, build: BuildId, data: bytes) -> None:
        """Write to the log of a build that runs."""
        self._logs[build] += data
        self._builds[build] = replace(self._builds[build], log_size=len(self._logs[build]))
        await self._tell([])

    async def set_build(self, build: BuildState) -> None:
        """Change a build, and the nodes and jobs of the targets that it counts for, and tell."""
        log = self._logs.setdefault(build.id, bytearray())
        self._builds[build.id] = replace(build, log_size=len(log))
        changed = []
        for state in self._targets.values():
            new = _with_build(state, build)
            if new != state:
                changed.append(new)
        self.add(*changed)
        await self._tell(state.target for state in changed)

    async def _tell(self, targets: Iterable[Target]) -> None:
        moment = next(self._clock)
        self._changed.update((target, moment) for target in targets)
        async with self._news:
            self._news.notify_all()

    async def _wait(self) -> None:
        async with self._news:
            await self._news.wait()


def _with_build(state: TargetState, build: BuildState) -> TargetState:
    def node(old: GraphNode) -> GraphNode:
        if old.build != build.id:
            return old
        return replace(old, status=build.status, reason=build.reason)

    def job(old: JobState) -> JobState:
        own = bool(old.builds) and old.builds[-1] == build.id
        return replace(old, status=build.status, description=build.reason) if own else old

    graph, jobs = tuple(map(node, state.graph)), tuple(map(job, state.jobs))
    moment = build.finished or build.started or state.updated
    changed = graph != state.graph or jobs != state.jobs
    return replace(state, graph=graph, jobs=jobs, updated=moment) if changed else state
