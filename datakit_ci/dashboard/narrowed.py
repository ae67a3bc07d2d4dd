"""The state, without the projects that whoever asks may not read.

To them, what is forbidden and what is not there are one and the same: no target, no build, no
log, no change is told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from datakit_ci.annals import Change
from datakit_ci.archive import Dossier
from datakit_ci.crew import Crew
from datakit_ci.dashboard.source import Source, finish
from datakit_ci.explanation import Explanation, JobWhy
from datakit_ci.livelog import Pending
from datakit_ci.logtimes import LogTimes
from datakit_ci.pools import LockState, PoolState
from datakit_ci.project import Project
from datakit_ci.rulings import Ruling
from datakit_ci.state import BuildId, BuildState, TargetState
from datakit_ci.target import Target
from datakit_core.client.api import CommitId
from datakit_core.errors import NoEntry

__all__ = ["Narrowed"]

_T = TypeVar("_T")


class Narrowed:
    """A :class:`Source` that knows some projects only.

    Iterators ask again for everything that they tell, since rights may end while they are open.
    """

    def __init__(self, source: Source, reads: Callable[[str], bool]) -> None:
        """Show what there is in ``source`` of projects for which ``reads`` says yes."""
        self._source = source
        self._reads = reads

    def targets(self) -> Sequence[TargetState]:
        """As :meth:`Source.targets`."""
        states = self._source.targets()
        projects = {state.target.project for state in states}
        reads = self._of(projects)
        if len(reads) == len(projects):
            return states
        return [state for state in states if state.target.project in reads]

    def target(self, target: Target) -> TargetState | None:
        """As :meth:`Source.target`."""
        return self._source.target(target) if self._reads(target.project) else None

    async def build(self, build: BuildId) -> BuildState | None:
        """As :meth:`Source.build`."""
        return await self._source.build(build) if self._reads(build.project) else None

    async def dossier(self, build: BuildId, commit: CommitId | None = None) -> Dossier | None:
        """As :meth:`Source.dossier`."""
        return await self._source.dossier(build, commit) if self._reads(build.project) else None

    def results(self, project: str, stage: str) -> AsyncIterator[Dossier]:
        """As :meth:`Source.results`."""
        return self._while_readable(project, lambda: self._source.results(project, stage))

    async def history(self, target: Target, skip: int, most: int) -> Sequence[Change]:
        """As :meth:`Source.history`."""
        if not self._reads(target.project):
            return ()
        return await self._source.history(target, skip, most)

    async def recorded_at(self, project: str, commit: CommitId) -> Sequence[TargetState]:
        """As :meth:`Source.recorded_at`."""
        return await self._source.recorded_at(project, commit) if self._reads(project) else ()

    async def why_build(self, build: BuildId) -> Explanation | None:
        """As :meth:`Source.why_build`."""
        return await self._source.why_build(build) if self._reads(build.project) else None

    async def why(self, target: Target, job: str) -> JobWhy:
        """As :meth:`Source.why`."""
        if not self._reads(target.project):
            raise NoEntry(f"there is no target {target.path}")
        return await self._source.why(target, job)

    def paused(self) -> Mapping[str, Ruling]:
        """As :meth:`Source.paused`."""
        paused = self._source.paused()
        return {project: ruling for project, ruling in paused.items() if self._reads(project)}

    def flows(self) -> Sequence[TargetState]:
        """As :meth:`Source.flows`; they belong to the service, and not to a project."""
        return [state for state in self._source.flows() if self._reads(state.target.project)]

    def projects(self) -> Sequence[Project]:
        """As :meth:`Source.projects`."""
        return [project for project in self._source.projects() if self._reads(project.id)]

    def pools(self) -> Mapping[str, PoolState]:
        """As :meth:`Source.pools`: all of them, with the builds that may be seen."""
        return {
            name: PoolState(pool.capacity, self._seen(pool.busy), self._seen(pool.queue))
            for name, pool in self._source.pools().items()
        }

    def crew(self) -> Crew:
        """As :meth:`Source.crew`: all of them, with the builds that may be seen."""
        crew = self._source.crew()
        workers = (replace(each, running=self._seen(each.running)) for each in crew.workers)
        return replace(crew, workers=tuple(workers))

    def locks(self) -> Mapping[str, LockState]:
        """As :meth:`Source.locks`: those that a build has, or waits for, that may be seen."""
        found = {}
        for name, lock in self._source.locks().items():
            holder = lock.holder if lock.holder and self._reads(lock.holder.project) else None
            queue = self._seen(lock.queue)
            if holder is not None or queue:
                found[name] = LockState(holder, queue)
        return found

    def _seen(self, builds: Sequence[BuildId]) -> tuple[BuildId, ...]:
        reads = self._of({build.project for build in builds})
        return tuple(build for build in builds if build.project in reads)

    def follow_log(self, build: BuildId, offset: int = 0) -> AsyncIterator[bytes]:
        """As :meth:`Source.follow_log`."""
        return self._while_readable(build.project, lambda: self._source.follow_log(build, offset))

    def watch_log(self, build: BuildId, offset: int = 0) -> AsyncIterator[bytes | Pending]:
        """As :meth:`Source.watch_log`."""
        return self._while_readable(build.project, lambda: self._source.watch_log(build, offset))

    async def log_times(self, build: BuildId) -> LogTimes | None:
        """As :meth:`Source.log_times`."""
        return await self._source.log_times(build) if self._reads(build.project) else None

    async def changes(self) -> AsyncIterator[frozenset[Target]]:
        """As :meth:`Source.changes`; of changes elsewhere not even the moment is told."""
        changes, is_first = self._source.changes(), True
        try:
            async for targets in changes:
                reads = self._of({target.project for target in targets})
                readable = frozenset(target for target in targets if target.project in reads)
                if readable or is_first:
                    yield readable
                is_first = False
        finally:
            await finish(changes)

    def _of(self, projects: set[str]) -> frozenset[str]:
        return frozenset(project for project in projects if self._reads(project))

    async def _while_readable(
        self, project: str, start: Callable[[], AsyncIterator[_T]]
    ) -> AsyncIterator[_T]:
        if not self._reads(project):
            return
        pieces = start()
        try:
            async for piece in pieces:
                if not self._reads(project):
                    return
                yield piece
        finally:
            await finish(pieces)
