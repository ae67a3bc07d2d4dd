"""Readings: all that an engine shows, to pages, commands and whoever else looks.

Nothing here changes anything, and what takes no waiting is no coroutine.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

from datakit_ci.annals import Annals, Change
from datakit_ci.archive import Archive, Dossier
from datakit_ci.builds import Builds
from datakit_ci.changes import Changes
from datakit_ci.demand import Demand
from datakit_ci.docket import Docket
from datakit_ci.explainer import Explainer
from datakit_ci.explanation import Explanation, JobWhy
from datakit_ci.livelog import Pending
from datakit_ci.logtimes import LogTimes
from datakit_ci.pools import LockState, PoolState
from datakit_ci.project import Config, Project
from datakit_ci.roster import Roster
from datakit_ci.rulings import Ruling, Rulings
from datakit_ci.state import BuildId, BuildState, TargetState
from datakit_ci.target import Target
from datakit_core.client.api import CommitId

__all__ = ["Readings"]


class Readings:
    """The reading half of an engine, which brings the parts that know the answers.

    The methods may be called at any time, from any number of tasks.
    """

    _config: Config
    _roster: Roster
    _demand: Demand
    _builds: Builds
    _docket: Docket
    _archive: Archive
    _annals: Annals
    _explainer: Explainer
    _changes: Changes

    @property
    def config(self) -> Config:
        """The pipeline by which targets are judged now."""
        return self._config

    def shown_builds(self) -> frozenset[BuildId]:
        """The builds that targets show now, whether they run or are recorded."""
        return self._roster.builds()

    def targets(self) -> Sequence[TargetState]:
        """Every known target, sorted."""
        return self._roster.targets()

    def target(self, target: Target) -> TargetState | None:
        """One target or flow; none if it is not known (any more)."""
        watched = self._roster.get(target)
        return None if watched is None else watched.state

    def flows(self) -> Sequence[TargetState]:
        """Every flow, in the pipeline's order; ``head`` is the commit that it is made from."""
        return self._roster.flows()

    def projects(self) -> Sequence[Project]:
        """The projects as the pipeline declares them now, in its order."""
        return self._config.projects

    def pools(self) -> Mapping[str, PoolState]:
        """What each pool is busy with, and what waits for it, the next first."""
        return self._builds.pools()

    def locks(self) -> Mapping[str, LockState]:
        """What has each lock, and what waits for it, the next first."""
        return self._builds.locks()

    def wanted_by(self, build: BuildId) -> frozenset[Target]:
        """The targets for which a build waits or runs, or which show its result."""
        needs = self._builds.needs(build)
        return frozenset(target for need in needs for target in self._demand.targets(need))

    async def build(self, build: BuildId) -> BuildState | None:
        """A build, whether it waits, runs or was recorded long ago; none if there is no such."""
        return await self._builds.state(build)

    async def dossier(self, build: BuildId, commit: CommitId | None = None) -> Dossier | None:
        """What there is to read of a build; none if there is no such.

        Args:
            build: Which.
            commit: The result that this commit has recorded; none: the newest.
        """
        is_live = commit is None and self._builds.live(build) is not None
        live = await self.build(build) if is_live else None
        if live is None or live.status.is_final:
            found = await self._archive.find(build, commit)
            if found is not None or live is None:
                return found
        return self._archive.under_way(live)

    def results(self, project: str, stage: str) -> AsyncIterator[Dossier]:
        """The recorded results of a stage, the newest first."""
        return self._archive.results(project, stage)

    async def history(self, target: Target, skip: int, most: int) -> Sequence[Change]:
        """What a target came to, change by change, the newest first."""
        return await self._annals.changes(target, skip, most)

    async def recorded_at(self, project: str, commit: CommitId) -> Sequence[TargetState]:
        """What each target of a project came to while it was at a source commit."""
        return await self._annals.states_at(project, commit)

    async def why(self, target: Target, job: str) -> JobWhy:
        """Why a job ran, did not run, or waits; raises ``NoEntry`` if there is none."""
        return await self._explainer.job(target, job)

    async def why_build(self, build: BuildId) -> Explanation | None:
        """Why a build ran or waits, for whomever; none if it is not known."""
        return await self._explainer.build(build)

    def follow_log(self, build: BuildId, offset: int = 0) -> AsyncIterator[bytes]:
        """A build's log from byte ``offset``: what there is, then what comes, to its end."""
        return self._builds.logs.follow(build, offset)

    def watch_log(self, build: BuildId, offset: int = 0) -> AsyncIterator[bytes | Pending]:
        """As :meth:`follow_log`; and, until the build has started, why it waits."""
        return self._builds.logs.watch(build, offset)

    async def log_times(self, build: BuildId) -> LogTimes | None:
        """When a build's log was written; none if nobody knows."""
        return await self._builds.logs.times(build)

    def changes(self) -> AsyncIterator[frozenset[Target]]:
        """All targets at once, then, each time, those that changed since; never ends by itself."""
        return self._changes.listen()

    def paused(self) -> Mapping[str, Ruling]:
        """The projects in which nothing new is started, and who has decided so."""
        return self._docket.rulings.paused

    def rulings(self) -> Rulings:
        """What people have decided: what is paused, confirmed, cancelled, to be rebuilt."""
        return self._docket.rulings
