"""The past: what an engine showed at a moment, read back from the commits of the database.

Targets are those that ``github-metadata`` named then, of the projects that were tested; where they
stood is what their status branches said, and builds are those that were recorded. What an engine
knew and did not record is not there: why a pipeline could not be read, and where a node of a graph
stood that changed no job's state.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from datakit_ci.annals import Annals, Change, described
from datakit_ci.archive import Archive, Dossier
from datakit_ci.cache import Cache
from datakit_ci.crew import Crew
from datakit_ci.docket import BRANCH as CONTROL
from datakit_ci.docket import read_rulings
from datakit_ci.explanation import Explanation, JobWhy
from datakit_ci.heads import MetadataHeads, read_title
from datakit_ci.hindrances import Waiting, why_it_waits
from datakit_ci.history import INDEX_BRANCH
from datakit_ci.inquiry import Inquiry
from datakit_ci.ledger import read_state, recorded_targets
from datakit_ci.livelog import Pending
from datakit_ci.logtimes import LogTimes
from datakit_ci.metadata import BRANCH
from datakit_ci.picture import PICTURE, read_picture
from datakit_ci.pools import LockState, PoolState
from datakit_ci.project import Project
from datakit_ci.rulings import Ruling, Rulings
from datakit_ci.state import BuildId, BuildState, GraphNode, Status, TargetState
from datakit_ci.target import Target
from datakit_core.client.api import Commit, CommitId, Database
from datakit_core.client.past import Chronicle, Moments, PastDatabase
from datakit_core.errors import NoEntry, StoreError, UnknownObject

__all__ = ["RESULTS", "Past", "PastState"]

_log = logging.getLogger(__name__)

RESULTS = "results/"
"""What the names of branches with results begin with."""

_STATUSES = "status-"

_KEPT = 8
"""Moments whose states are remembered, so that going from page to page costs nothing."""

_MOST_TARGETS = 20_000
"""Targets in all of them together."""

_AT_ONCE = 8
"""Targets that are read at the same time: a database that is far away answers all at once."""

_SETTLED = timedelta(seconds=5)
"""How old a moment has to be so that nothing more is recorded of it."""

_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class _Unfinished:
    """A build that waited or ran at the moment, as its target said."""

    status: Status
    reason: str
    since: datetime


@dataclass(frozen=True, slots=True)
class _Shown:
    """A state, with the commit that says so; none: nothing was recorded of the target yet."""

    commit: CommitId | None
    state: TargetState


class PastState:
    """All there was at a moment; has the methods of an engine for reading.

    Attributes:
        moment: UTC, whole seconds.
        database: Each branch at its head of then. Branches with results that were begun anew since
            (because of old results were dropped) are at their oldest commit.
    """

    def __init__(
        self,
        moment: datetime,
        database: Database,
        targets: Mapping[Target, TargetState],
        archive: Archive,
        rulings: Rulings,
    ) -> None:
        """Show ``targets``, and builds from ``database`` and ``archive``, which are of then."""
        self.moment = moment
        self.database = database
        self._archive, self._annals = archive, Annals(database)
        self._rulings = rulings
        self._targets = targets
        self._cache = Cache(database)
        self._unfinished = dict(_unfinished(targets.values()))

    def targets(self) -> Sequence[TargetState]:
        """Every target that was known, sorted."""
        return tuple(self._targets.values())

    def target(self, target: Target) -> TargetState | None:
        """One target; none if there was none of that name."""
        return self._targets.get(target)

    async def build(self, build: BuildId) -> BuildState | None:
        """A build that waited, ran or was recorded then; none if there was no such."""
        recorded = await self._recorded(build)
        live = self._unfinished.get(build)
        if live is None or _is_since(recorded, live.since):
            return recorded
        command = "" if recorded is None else recorded.command
        given = None if recorded is None else recorded.input
        return BuildState(build, live.status, live.reason, command, given)

    async def dossier(self, build: BuildId, commit: CommitId | None = None) -> Dossier | None:
        """What there was to read of a build; none if there was no such."""
        state = await self.build(build)
        if commit is None and state is not None and not state.status.is_final:
            return self._archive.under_way(state)
        found = await self._archive.find(build, commit)
        return found if found is not None and _is_known(found.state, self.moment) else None

    async def results(self, project: str, stage: str) -> AsyncIterator[Dossier]:
        """The results of a stage that were recorded then, the newest first."""
        async with aclosing(self._archive.results(project, stage)) as results:
            async for dossier in results:
                if _is_known(dossier.state, self.moment):
                    yield dossier

    async def history(self, target: Target, skip: int, most: int) -> Sequence[Change]:
        """What a target had come to, change by change, the newest first."""
        return await self._annals.changes(target, skip, most)

    async def recorded_at(self, project: str, commit: CommitId) -> Sequence[TargetState]:
        """What each target of a project had come to while it was at a source commit."""
        return await self._annals.states_at(project, commit)

    async def why_build(self, build: BuildId) -> Explanation | None:
        """Why a build had run or waited; none if there was no such."""
        found = await self.build(build)
        if found is None:
            return None
        if found.status.is_final:
            return await Inquiry(self.database, self._archive).build(build)
        return why_it_waits(
            Waiting(build, found.status, found.reason, "", {}, (), {}, self._rulings)
        )

    async def why(self, target: Target, job: str) -> JobWhy:
        """Why a job had run, had not, or waited; raises ``NoEntry`` if there was none."""
        return await Inquiry(self.database, self._archive).job(target, job)

    def paused(self) -> Mapping[str, Ruling]:
        """The projects in which nothing new was started."""
        return self._rulings.paused

    def flows(self) -> Sequence[TargetState]:
        """None: how they stood is not recorded."""
        return ()

    def projects(self) -> Sequence[Project]:
        """None: how the pipeline declared them is not recorded."""
        return ()

    def pools(self) -> Mapping[str, PoolState]:
        """None: who had a unit of a pool is not recorded."""
        return {}

    def crew(self) -> Crew:
        """Nobody: who worked is not recorded, but with each build."""
        return Crew()

    def locks(self) -> Mapping[str, LockState]:
        """None: who had a lock is not recorded."""
        return {}

    async def follow_log(self, build: BuildId, offset: int = 0) -> AsyncIterator[bytes]:
        """The log of a build that was recorded; of others there is none."""
        found = await self.build(build)
        if found is not None and found.status.is_final:
            async for piece in self._cache.log(build, offset):
                yield piece

    async def watch_log(self, build: BuildId, offset: int = 0) -> AsyncIterator[bytes | Pending]:
        """As :meth:`follow_log`; nothing is waited for."""
        async for piece in self.follow_log(build, offset):
            yield piece

    async def log_times(self, build: BuildId) -> LogTimes | None:
        """When the log of a build that was recorded was written; none if nobody knows."""
        found = await self.build(build)
        recorded = found is not None and found.status.is_final
        return await self._cache.log_times(build) if recorded else None

    async def changes(self) -> AsyncIterator[frozenset[Target]]:
        """All targets at once, and then nothing: the past does not change."""
        yield frozenset(self._targets)
        await asyncio.Event().wait()

    async def _recorded(self, build: BuildId) -> BuildState | None:
        found = await self._cache.read(build)
        return found if found is not None and _is_known(found, self.moment) else None


class _KeptResults(PastDatabase):
    """As of a moment; but branches with results that were begun anew since are at their oldest."""

    def __init__(
        self,
        database: Database,
        chronicle: Chronicle,
        moment: int,
        heads: Mapping[str, CommitId],
    ) -> None:
        super().__init__(database, chronicle, moment, heads)
        self._lines = chronicle

    async def head(self, branch: str) -> CommitId | None:
        head = await super().head(branch)
        if head is None and branch.startswith(RESULTS):
            return (await self._lines.first(branch)).commit
        return head


class Past:
    """Shows a database as it was at any moment."""

    def __init__(self, database: Database) -> None:
        """Read from ``database``."""
        self.database = database
        self._chronicle = Chronicle(database)
        self._kept: OrderedDict[datetime, tuple[PastState, Mapping[Target, _Shown]]] = OrderedDict()
        self._lock = asyncio.Lock()
        self._archive = Archive(database)
        self._heads = MetadataHeads(PastDatabase(database, self._chronicle, 0))

    async def at(self, moment: datetime) -> PastState | None:
        """What there was at ``moment``; none: nothing was recorded yet.

        The first look at a moment reads the state of every target; the next ones cost nothing.
        One moment is read at a time, with turns for others in between.

        Args:
            moment: UTC; not in the future.
        """
        async with self._lock:
            if moment in self._kept:
                self._kept.move_to_end(moment)
                return self._kept[moment][0]
            heads = await self.database.branches()
            database = _KeptResults(self.database, self._chronicle, int(moment.timestamp()), heads)
            shown = await self._read(database)
            if shown is None:
                return None
            targets = await _corrected(shown.values(), Cache(database), moment)
            archive = self._archive.as_of(database.head)
            rulings = await read_rulings(database)
            state = PastState(moment, database, targets, archive, rulings)
            if moment + _SETTLED < datetime.now(UTC):
                self._keep(moment, state, shown)
            return state

    async def first(self) -> datetime | None:
        """When something was recorded first, of what is still there."""
        found = [await self._chronicle.first(branch) for branch in (BRANCH, INDEX_BRANCH)]
        times = [moments.since for moments in found if moments.since is not None]
        return datetime.fromtimestamp(min(times), UTC) if times else None

    async def around(self, branch: str, moment: datetime) -> Moments:
        """When ``branch`` came to what it was at ``moment``, and when it changed before and after.

        In seconds since 1970.
        """
        return await self._chronicle.around(branch, int(moment.timestamp()))

    async def moment_of(self, commit: CommitId) -> datetime | None:
        """When a commit of a state's branch was made; none: it is not one of those."""
        try:
            time = (await self.database.commit(commit)).committer.time
        except (UnknownObject, NoEntry):
            return None
        for branch in sorted(await self.database.branches(), key=_places):
            is_state = branch in _STATE_BRANCHES or branch.startswith((_STATUSES, RESULTS))
            if is_state and await self._chronicle.holds(branch, commit, time):
                return datetime.fromtimestamp(time, UTC)
            await asyncio.sleep(0)
        return None

    async def _read(self, database: Database) -> Mapping[Target, _Shown] | None:
        """The targets of a moment; none: there were no branches that would name them."""
        metadata = await database.head(BRANCH)
        if metadata is None:
            wanted = dict.fromkeys(await recorded_targets(database))
            return (await self._all(database, wanted)) or None
        heads = await self._heads.read((await database.commit(metadata)).tree)
        found = await self._all(database, heads)
        tested = {target.project for target, shown in found.items() if shown.commit is not None}
        return {target: shown for target, shown in found.items() if target.project in tested}

    async def _all(
        self, database: Database, heads: Mapping[Target, CommitId | None]
    ) -> Mapping[Target, _Shown]:
        """The targets at these heads, sorted; a few are read at a time."""
        found: dict[Target, _Shown] = {}

        metadata = await database.head(BRANCH)

        async def read(target: Target) -> None:
            shown = await self._target(database, target, heads[target])
            title = await read_title(database, metadata, target)
            state = shown.state if title == shown.state.title else replace(shown.state, title=title)
            found[target] = _Shown(shown.commit, state)

        targets = sorted(heads)
        for start in range(0, len(targets), _AT_ONCE):
            async with asyncio.TaskGroup() as group:
                for target in targets[start : start + _AT_ONCE]:
                    group.create_task(read(target))
        return {target: found[target] for target in targets}

    async def _target(self, database: Database, target: Target, head: CommitId | None) -> _Shown:
        """What was recorded of a target at a moment; of another head than ``head`` it says none."""
        at = await database.head(target.status_branch)
        if at is None:
            return _Shown(None, await described(database, TargetState(target, head)))
        shown = self._remembered(target, at)
        if shown is None:
            state = await _recorded_state(database, target, await database.commit(at))
            shown = _Shown(at, await described(database, state))
        if head is not None and shown.state.head != head:
            state = TargetState(target, head, updated=shown.state.updated)
            return _Shown(at, await described(database, state))
        return shown

    def _remembered(self, target: Target, commit: CommitId) -> _Shown | None:
        """What was read for another moment, if the target stood as it does now."""
        for _, targets in self._kept.values():
            shown = targets.get(target)
            if shown is not None and shown.commit == commit and shown.state.jobs:
                return shown
        return None

    def _keep(self, moment: datetime, state: PastState, shown: Mapping[Target, _Shown]) -> None:
        self._kept[moment] = state, shown
        size = sum(len(targets) for _, targets in self._kept.values())
        while len(self._kept) > 1 and (len(self._kept) > _KEPT or size > _MOST_TARGETS):
            _, (_, dropped) = self._kept.popitem(last=False)
            size -= len(dropped)


_STATE_BRANCHES = (BRANCH, CONTROL, INDEX_BRANCH)


def _places(branch: str) -> tuple[bool, bool, str]:
    """For sorting: few and likely branches first."""
    return branch not in _STATE_BRANCHES, not branch.startswith(_STATUSES), branch


async def _recorded_state(database: Database, target: Target, commit: Commit) -> TargetState:
    state = await read_state(database, target, commit)
    try:
        shape, states = [await database.read(commit.tree, path) for path in PICTURE]
        picture = read_picture(shape, states)
    except NoEntry:  # recorded before graphs were
        return state
    except StoreError as error:
        _log.warning("%s: %s", target.status_branch, error)
        return state
    places = {name: place for place, name in enumerate(picture.jobs)}
    jobs = sorted(state.jobs, key=lambda job: places.get(job.name, len(places)))
    return replace(state, jobs=tuple(jobs), graph=picture.nodes)


def _unfinished(states: Iterable[TargetState]) -> Iterator[tuple[BuildId, _Unfinished]]:
    for state in states:
        since = state.updated or state.committed
        if since is None:
            continue
        for job in state.jobs:
            if job.builds and not job.status.is_final:
                yield job.builds[-1], _Unfinished(job.status, job.description, since)
        for node in state.graph:
            if node.build is not None and not node.status.is_final:
                yield node.build, _Unfinished(node.status, node.reason, since)


async def _corrected(
    shown: Iterable[_Shown], cache: Cache, moment: datetime
) -> Mapping[Target, TargetState]:
    """With nodes as their builds' results say, where those were recorded after the graph."""
    found: dict[Target, TargetState] = {}
    for each in shown:
        state = each.state
        if any(node.build is not None and not node.status.is_final for node in state.graph):
            nodes = [await _node(cache, node, state.updated, moment) for node in state.graph]
            state = replace(state, graph=tuple(nodes))
        found[state.target] = state
    return found


async def _node(
    cache: Cache, node: GraphNode, since: datetime | None, moment: datetime
) -> GraphNode:
    if node.build is None or node.status.is_final or since is None:
        return node
    build = await cache.read(node.build)
    if build is None or not (_is_since(build, since) and _is_known(build, moment)):
        return node
    return replace(node, status=build.status, reason=build.reason)


def _is_since(build: BuildState | None, since: datetime) -> bool:
    """Whether a result is of a run that ended after ``since``, and not an older one."""
    return build is not None and build.finished is not None and build.finished >= since


def _is_known(build: BuildState, moment: datetime) -> bool:
    """Whether a result was recorded at ``moment`` already; commits know whole seconds only."""
    return build.finished is None or build.finished < moment + _SECOND
