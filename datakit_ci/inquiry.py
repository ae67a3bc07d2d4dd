"""Inquiries: finds the facts for :mod:`datakit_ci.why` in a database, with no engine at hand.

The result before a run is looked for in the history of the targets that wanted it, and then among
the results of the same stage. How far is bounded: who asks wants an answer at once. The cells of a
matrix are one stage, so one with the same parameters goes before any other: that its neighbour has
other ones is why none of them ran.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from datakit_ci.archive import Archive
from datakit_ci.cache import Cache
from datakit_ci.docket import read_rulings
from datakit_ci.explanation import Explanation, JobWhy
from datakit_ci.hindrances import Waiting, why_it_waits
from datakit_ci.ledger import is_before, read_target, states_of
from datakit_ci.state import BuildId, BuildState, JobState, Status, TargetState
from datakit_ci.target import Target
from datakit_ci.why import Run, why_it_ran, why_it_served
from datakit_core.client.api import Database, TreeId
from datakit_core.errors import ConfigError, NoEntry

__all__ = ["Inquiry"]

_FAR = 200
"""States of a target, and results of a stage, among which the one before is looked for."""

_NEAR = 400
"""Newer results of a stage that are passed before it is not looked for any more."""

_MOST_CELLS = 100
"""Results with other parameters that are passed over meanwhile."""

_EVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Before:
    """What was there before a run.

    Attributes:
        state: The nearest earlier result.
        removed: Whether the very same result had been there.
    """

    state: BuildState | None = None
    removed: bool = False


class Inquiry:
    """Explains what is recorded in a database."""

    def __init__(self, database: Database, archive: Archive | None = None) -> None:
        """Look at ``database``; ``archive``, which is of the same, remembers what it has read."""
        self._database = database
        self._cache = Cache(database)
        self._archive = archive or Archive(database)

    async def build(self, build: BuildId, target: TargetState | None = None) -> Explanation | None:
        """Why a recorded build ran; none if it is not recorded.

        Args:
            build: Which.
            target: For whom: if it ran for others, or at another commit, why it did not run again.
        """
        state = await self._cache.read(build)
        if state is None:
            return None
        run = await self._run(state)
        if target is not None and not _is_for(run, target):
            moment = state.started
            return why_it_served(run, f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "an old run")
        before = await self._before(run)
        earlier = None if before.state is None else await self._run(before.state)
        return why_it_ran(run, earlier, removed=before.removed)

    async def job(self, target: Target, job: str) -> JobWhy:
        """Why a job of a target stands where it was last recorded.

        Raises:
            NoEntry: Nothing is recorded of it.
        """
        state = await read_target(self._database, target)
        if state is None:
            raise NoEntry(f"nothing is recorded of {target.path}")
        found = next((each for each in state.jobs if each.name == job), None)
        if found is None:
            known = ", ".join(each.name for each in state.jobs) or "none"
            raise NoEntry(f"{target.path} has no job {job}; its jobs: {known}")
        steps = tuple([step async for step in self._steps(state, found)])
        return JobWhy(target.path, job, found.status, found.description, steps)

    async def _steps(self, state: TargetState, job: JobState) -> AsyncIterator[Explanation]:
        """The job's own build, and if that is not there or did not pass, what it was kept by."""
        for build in reversed(job.builds):
            recorded = await self._cache.read(build)
            is_own = build == job.builds[-1]
            if recorded is not None and job.status.is_final:
                if (is_own and job.status is not Status.BLOCKED) or not _passed(recorded):
                    explained = await self.build(build, state)
                    if explained is not None:
                        yield explained
                    return
            elif recorded is None:
                yield await self._unfinished(build, job)
                return

    async def _unfinished(self, build: BuildId, job: JobState) -> Explanation:
        """What is told of a build that has no result, by whoever recorded the job."""
        rulings = await read_rulings(self._database)
        return why_it_waits(Waiting(build, job.status, job.description, "", {}, (), {}, rulings))

    async def _run(self, state: BuildState) -> Run:
        observations = await self._cache.observations(state.id)
        return Run(state.id, state.started, state.command, state.occasion, observations)

    async def _before(self, run: Run) -> _Before:
        """The nearest result that was there when ``run`` began."""
        removed, other = False, None
        for path, _ in run.occasion.targets if run.occasion else ():
            found = await self._before_on(run, path)
            if found.state is not None and _is_cell_of(run, found.state):
                return found
            removed, other = removed or found.removed, other or found.state
        return _Before(await self._newest(run) or other, removed)

    async def _before_on(self, run: Run, path: str) -> _Before:
        """What a target showed of the stage before; with other parameters only if need be."""
        try:
            target = Target.named(path)
        except ConfigError:
            return _Before()
        looked, removed = 0, False
        others: dict[BuildId, BuildState | None] = {}
        async for state in states_of(self._database, target):
            looked += 1
            for job in state.jobs:
                for build in job.builds:
                    if (build.project, build.stage) != (run.build.project, run.build.stage):
                        continue
                    if build == run.build:
                        passed = job.status is Status.SUCCESS
                        removed = removed or (passed and is_before(state, run.started))
                    elif build not in others:
                        found = others[build] = await self._earlier(build, run)
                        if found is not None and _is_cell_of(run, found):
                            return _Before(found, removed)
            if looked >= _FAR or len(others) >= _MOST_CELLS:
                break
        return _Before(next((each for each in others.values() if each), None), removed)

    async def _earlier(self, build: BuildId, run: Run) -> BuildState | None:
        """A result, if it was made before ``run``."""
        state = await self._cache.read(build)
        return state if state is not None and _is_earlier(state, run) else None

    async def _newest(self, run: Run) -> BuildState | None:
        """The newest earlier result of the same stage, whoever it was for.

        Of a run that was long ago, one of the earlier results.
        """
        looked = 0
        async with aclosing(self._archive.results(run.build.project, run.build.stage)) as results:
            async for dossier in results:
                if _is_earlier(dossier.state, run) and _is_alike(dossier.state.id, run.build):
                    return dossier.state
                looked += 1
                if looked >= _NEAR:
                    return await self._newest_of_some(run)
        return None

    async def _newest_of_some(self, run: Run) -> BuildState | None:
        root = await self._cache.root(run.build.branch)
        directory = run.build.directory.rpartition("/")[0]
        entry = None if root is None else await self._database.entry(root, directory)
        if root is None or entry is None or not entry.is_directory:
            return None
        keys = list(await self._database.tree(TreeId(entry.id)))[:_FAR]
        others = [replace(run.build, key=key) for key in keys if key != run.build.key]
        states = [await self._cache.read_in(root, each) for each in others]
        found = [state for state in states if state is not None and _is_earlier(state, run)]
        return max(found, key=lambda state: state.started or _EVER, default=None)


def _is_alike(build: BuildId, other: BuildId) -> bool:
    """Whether two builds are of the very same stage, and not of the same input."""
    return build.static == other.static and build.key != other.key


def _is_earlier(state: BuildState, run: Run) -> bool:
    return state.started is not None and state.started < (run.started or _EVER)


def _is_cell_of(run: Run, state: BuildState) -> bool:
    """Whether a result has the parameters of a run, as far as that is known."""
    if run.occasion is None or state.occasion is None:
        return True
    one, other = run.occasion.identity, state.occasion.identity
    return one.get("parameters") == other.get("parameters")


def _is_for(run: Run, target: TargetState) -> bool:
    """Whether a build ran for a target as it is now; of old records that is not known."""
    if run.occasion is None or not run.occasion.targets:
        return True
    return (target.target.path, target.head or "") in run.occasion.targets


def _passed(state: BuildState) -> bool:
    return state.status is Status.SUCCESS
