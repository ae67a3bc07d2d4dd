"""The engine: keeps every target's jobs as they should be.

A loop without decisions of its own. What a target's jobs have come to is worked out by
:mod:`datakit_ci.evaluate` from facts; which builds run is decided by :mod:`datakit_ci.schedule`.
The engine finds the facts that evaluations ask for, evaluates again the targets that asked for a
fact that has changed, and hands what came out to the publisher. Results are committed before any
state speaks of them, so an engine that is killed at any moment finds them again.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from datakit_ci.answers import Answers
from datakit_ci.builds import Builds, Reports
from datakit_ci.cache import Cache
from datakit_ci.changes import Changes
from datakit_ci.clerk import Clerk
from datakit_ci.clock import Clock, SystemClock
from datakit_ci.control import Command
from datakit_ci.docket import Docket
from datakit_ci.evaluate import Evaluator
from datakit_ci.executors.base import Executor
from datakit_ci.heads import HeadsSource, MetadataHeads
from datakit_ci.meta import duration
from datakit_ci.need import (
    BranchHead,
    Build,
    Facts,
    Known,
    LastOutput,
    Need,
    NextCommit,
    StatusOf,
    TargetHead,
)
from datakit_ci.pools import LockState, PoolState
from datakit_ci.project import Config
from datakit_ci.publisher import Published, Publisher
from datakit_ci.pulse import Pulse
from datakit_ci.rulings import Rulings
from datakit_ci.runner import Runner
from datakit_ci.schedule import Scheduler
from datakit_ci.secrets import Keyring
from datakit_ci.spool import Spool
from datakit_ci.state import BuildId, BuildState, JobState, Status, TargetState
from datakit_ci.target import FLOWS, Target, TargetKind
from datakit_core.client.api import Commit, CommitId, Database, ObjectId, TreeId
from datakit_core.errors import ConfigError, DatakitError

__all__ = ["Engine"]

_log = logging.getLogger(__name__)

_RETRY = 1.0
"""Seconds until a part of the engine that failed is started again."""


@dataclass(slots=True)
class _Watched:
    """A target, and what its last evaluation said.

    Attributes:
        evaluator: Its jobs; none before they are first evaluated, and if that has failed.
        is_current: Whether the evaluator is of the present pipeline.
        leaving: Builds that are not asked for at the moment, while it is not known yet which are:
            after a small change they may be the same ones, and must not be stopped in between.
    """

    target: Target
    head: CommitId | None
    commit: Commit | None
    state: TargetState
    evaluator: Evaluator | None = None
    is_current: bool = False
    leaving: set[Need[Any]] = field(default_factory=set)


class Engine:
    """Tests the targets of a pipeline's projects; ``async with`` prepares it, :meth:`run` works.

    The methods for reading may be called at any time, from any number of tasks.
    """

    def __init__(
        self,
        database: Database,
        config: Config,
        executor: Executor,
        spool_dir: Path,
        base_url: str = "",
        *,
        heads: HeadsSource | None = None,
        publish: bool = True,
        canaries: Collection[Target] = (),
        clock: Clock | None = None,
    ) -> None:
        """Put the parts together; nothing happens yet.

        Args:
            database: Where targets, sources and results are.
            config: The pipeline.
            executor: Where builds run.
            spool_dir: A directory for the logs of running builds; this engine's own.
            base_url: The dashboard's address, for links in statuses; empty: there is none.
            heads: Where targets come from; by default the branch ``github-metadata``.
            publish: Whether to write statuses and the history of targets.
            canaries: Test only these targets; none: all. What others point at is still known.
            clock: What the time is; by default the machine's.

        Raises:
            ConfigError: A secret cannot be read, or is too short to be redacted.
        """
        self._database = database
        self._config = config
        self._projects = {project.id for project in config.projects}
        self._canaries = frozenset(canaries)
        self._heads = heads or MetadataHeads(database)
        self._cache = Cache(database)
        self._spool = Spool(spool_dir)
        self._facts = Facts()
        self._group = asyncio.TaskGroup()
        self._clock = clock or SystemClock()
        self._answers = Answers(database, self._group, self._on_fact, self._clock)
        self._runner = Runner(
            self._cache, executor, self._spool, Keyring.load(config.secrets), self._clock
        )
        self._done: set[BuildId] = set()
        self._done_pulse = Pulse()
        self._builds = Builds(
            self._cache,
            self._runner,
            Scheduler(config.capacities(os.cpu_count() or 1)),
            self._spool,
            self._group,
            Reports(self._on_fact, self._on_done),
            self._clock,
        )
        self._builds.threshold = config.threshold
        self._docket = Docket(database, self._builds.rule)
        self._clerk = Clerk(self._docket, self._builds, self._clock, self.target, self._is_shared)
        self._last_outputs: dict[LastOutput, TreeId] = {}
        self._publisher = Publisher(database, base_url, self._at_commit) if publish else None
        self._changes = Changes(lambda: self._watched)
        self._watched: dict[Target, _Watched] = {}
        self._at = defaultdict[CommitId, set[Target]](set)
        self._flows: dict[Target, _Watched] = {}
        self._commits: Mapping[Target, CommitId] = {}
        self._metadata: CommitId | None = None
        self._loaded = False
        self._dependents = defaultdict[Need[Any], set[Target]](set)
        self._dirty: dict[Target, set[Need[Any]]] = {}
        self._wake = Pulse()
        self._settled = Pulse()

    async def __aenter__(self) -> Self:
        """Read what people have decided; mark what a killed engine left in the spool."""
        self._spool.recover()
        await self._docket.load()
        self._set_flows()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing to do: :meth:`run` ends its tasks itself."""

    async def run(self) -> None:
        """Work until cancelled; running builds are then ended, and run again at the next start."""
        async with self._group:
            self._group.create_task(self._keep("the watch of targets", self._follow_heads))
            self._group.create_task(self._keep("the docket", self._docket.follow))
            self._group.create_task(self._keep("clearing the docket", self._clear_done))
            self._group.create_task(self._keep("evaluation", self._evaluate_dirty))
            if (publisher := self._publisher) is not None:
                publish = lambda: publisher.run(self._settled.beat)  # noqa: E731
                self._group.create_task(self._keep("publishing", publish))

    @property
    def config(self) -> Config:
        """The pipeline by which targets are judged now."""
        return self._config

    def shown_builds(self) -> frozenset[BuildId]:
        """The builds that targets show now, whether they run or are recorded."""
        states = [watched.state for watched in self._watched.values()]
        named = {build for state in states for job in state.jobs for build in job.builds}
        drawn = {node.build for state in states for node in state.graph if node.build is not None}
        return frozenset(named | drawn)

    def targets(self) -> Sequence[TargetState]:
        """Every known target, sorted."""
        return [self._watched[target].state for target in sorted(self._watched)]

    def target(self, target: Target) -> TargetState | None:
        """One target or flow; none if it is not known (any more)."""
        watched = self._known(target)
        return None if watched is None else watched.state

    def flows(self) -> Sequence[TargetState]:
        """Every flow, in the pipeline's order; ``head`` is the commit that it is made from."""
        return [watched.state for watched in self._flows.values()]

    def pools(self) -> Mapping[str, PoolState]:
        """What each pool is busy with, and what waits for it, the next first."""
        return self._builds.pools()

    def locks(self) -> Mapping[str, LockState]:
        """What has each lock, and what waits for it, the next first."""
        return self._builds.locks()

    def wanted_by(self, build: BuildId) -> frozenset[Target]:
        """The targets for which a build waits or runs, or which show its result."""
        needs = self._builds.needs(build)
        return frozenset(
            target
            for need in needs
            if need in self._dependents
            for target in self._dependents[need]
        )

    async def build(self, build: BuildId) -> BuildState | None:
        """A build, whether it waits, runs or was recorded long ago; none if there is no such."""
        return await self._builds.state(build)

    def follow_log(self, build: BuildId, offset: int = 0) -> AsyncIterator[bytes]:
        """A build's log from byte ``offset``: what there is, then what comes, to its end."""
        return self._builds.follow_log(build, offset)

    def changes(self) -> AsyncIterator[frozenset[Target]]:
        """All targets at once, then, each time, those that changed since; never ends by itself."""
        return self._changes.listen()

    async def configure(self, config: Config) -> None:
        """Judge all targets by ``config`` from now on; builds that it still wants go on.

        Raises:
            ConfigError: A secret cannot be read or redacted; nothing has changed then.
        """
        self._runner.keyring = await asyncio.to_thread(Keyring.load, config.secrets)
        self._config = config
        self._projects = {project.id for project in config.projects}
        self._builds.threshold = config.threshold
        self._builds.resize(config.capacities(os.cpu_count() or 1))
        for watched in list(self._watched.values()):
            if watched.target.project not in self._projects:
                self._drop(watched)
        for watched in self._watched.values():
            watched.is_current = False
            self._mark(watched.target)
        self._set_flows()
        for target, head in self._commits.items():
            if self._wants(target) and target not in self._watched:
                await self._move(target, head)

    async def control(self, command: Command) -> str:
        """Do what a person says; returns what was done, for people.

        Raises:
            NoEntry: There is no such project, target or job, or nobody wants the build.
            InvalidArgument: There is nothing to do: it is not under way, or waits for nobody.
        """
        projects = self._projects | ({FLOWS} if self._flows else set())
        return await self._clerk.carry_out(command, projects)

    def rulings(self) -> Rulings:
        """What people have decided: what is paused, confirmed, cancelled, to be rebuilt."""
        return self._docket.rulings

    async def idle(self) -> None:
        """Wait until nothing is left to do: all evaluated, nothing runs, everything published."""
        while True:
            change = self._settled.next
            if self._is_idle():
                return
            await change.wait()

    def _is_idle(self) -> bool:
        return (
            self._loaded
            and not self._dirty
            and not self._answers.busy
            and self._builds.idle
            and not self._done
            and (self._publisher is None or self._publisher.idle)
        )

    async def _keep(self, what: str, service: Callable[[], Awaitable[None]]) -> None:
        """The boundary of a part of the engine: when it fails it is started again."""
        while True:
            try:
                return await service()
            except Exception:  # noqa: BLE001 - a service's boundary: the traceback is logged
                _log.exception("%s failed; trying again in %g s", what, _RETRY)
            await asyncio.sleep(_RETRY)

    async def _follow_heads(self) -> None:
        async for heads in self._heads.watch():
            self._metadata = heads.metadata
            moved = heads.moved
            if moved is None:
                moved = frozenset(self._commits.keys() | heads.commits.keys())
            self._commits = heads.commits
            for target in moved:
                await self._follow(target, heads.commits.get(target))
            self._listen(heads.said)
            self._loaded = True
            self._settled.beat()

    async def _follow(self, target: Target, head: CommitId | None) -> None:
        """``target`` may have moved to ``head``; none: it is gone."""
        watched = self._watched.get(target)
        if head is None and watched is not None:
            self._drop(watched)
        elif head is not None and self._wants(target) and (watched is None or watched.head != head):
            await self._move(target, head)
        self._on_fact(TargetHead(target), head)

    def _wants(self, target: Target) -> bool:
        """Whether this engine tests ``target``."""
        canary = not self._canaries or target in self._canaries
        return canary and target.project in self._projects

    def _listen(self, said: Collection[tuple[str, CommitId, str]] | None) -> None:
        """Ask again for what other CIs say, where that may have changed."""
        if said is None:
            needs = [need for need in self._dependents if isinstance(need, StatusOf)]
        else:
            needs = [StatusOf(*status) for status in said]
        for need in needs:
            if need in self._dependents:
                self._answers.again(need)

    async def _move(self, target: Target, head: CommitId) -> None:
        """``target``, which is tested, is new or is at another commit."""
        try:
            commit = await self._database.commit(head)
        except DatakitError:
            commit = None  # the evaluation asks for its tree, and says so
        watched = self._watched.get(target)
        if watched is None:
            self._watched[target] = _Watched(target, head, commit, TargetState(target, head))
        else:
            self._leave(watched)
            watched.head, watched.commit = head, commit
        self._at[head].add(target)
        self._mark(target)

    def _drop(self, watched: _Watched) -> None:
        """A target is gone; what was built only for it is stopped."""
        target = watched.target
        if target.kind is TargetKind.FLOW:
            del self._flows[target]
        else:
            del self._watched[target]
            self._leave(watched)
        for latch in [each for each in self._last_outputs if each.target == target]:
            del self._last_outputs[latch]
        if watched.evaluator is None:
            self._let_go_of_all(target)
        else:
            self._depend(target, (), watched.leaving.union(watched.evaluator.asked))
        if self._publisher is not None:
            self._publisher.drop(target)
        self._changes.tell(target)

    def _on_fact(self, need: Need[Any], answer: object) -> None:
        """Take an answer; evaluate again whatever asked for it."""
        if need in self._dependents and self._facts.record(need, answer):
            for target in self._dependents[need]:
                self._mark(target, need)
        self._settled.beat()

    def _on_done(self, build: BuildId) -> None:
        self._done.add(build)
        self._done_pulse.beat()

    async def _clear_done(self) -> None:
        """Remove decisions that have been carried out."""
        while True:
            change = self._done_pulse.next
            if self._done:
                done = frozenset(self._done)
                await self._docket.clear(done)
                self._done -= done
                self._settled.beat()
            else:
                await change.wait()

    def _is_shared(self, need: Build, target: Target) -> bool:
        return bool(self._dependents.get(need, set()) - {target})

    def _mark(self, target: Target, *needs: Need[Any]) -> None:
        """Evaluate ``target`` again, since there is news about ``needs``."""
        self._dirty.setdefault(target, set()).update(needs)
        self._wake.beat()

    async def _evaluate_dirty(self) -> None:
        while True:
            change = self._wake.next
            while self._dirty:
                target = next(iter(self._dirty))
                changed = self._dirty.pop(target)
                if (watched := self._known(target)) is not None:
                    self._evaluate(watched, changed)
                await asyncio.sleep(0)
            self._settled.beat()
            await change.wait()

    def _evaluate(self, watched: _Watched, changed: Collection[Need[Any]]) -> None:
        """The boundary of a target: what its pipeline does wrong is its own problem."""
        try:
            evaluator = self._updated(watched, changed)
            outputs, graph = evaluator.outputs(), evaluator.drawn()
        except Exception as error:  # noqa: BLE001 - a target's boundary: the traceback is logged
            if not isinstance(error, ConfigError):
                _log.exception("%s cannot be evaluated", watched.target.path)
            watched.evaluator, watched.is_current = None, False
            watched.leaving.clear()
            self._let_go_of_all(watched.target)
            self._show(watched, replace(_described(watched), problem=str(error)))
            return
        jobs = tuple(self._timed(output.job(name)) for name, output in outputs.items())
        if watched.target.kind is TargetKind.FLOW:
            watched.head = self._source(evaluator)
        self._show(watched, replace(_described(watched), jobs=jobs, graph=graph))
        if evaluator.is_complete:  # else it is not known yet where the jobs stand
            self._publish(watched, self._trees(watched.target, evaluator))

    def _updated(self, watched: _Watched, changed: Collection[Need[Any]]) -> Evaluator:
        """Bring the evaluation up to date, and look for what it asks."""
        evaluator, target = watched.evaluator, watched.target
        if evaluator is not None and watched.is_current:
            update = evaluator.update(changed)
            gained, lost = update.gained, update.lost
        else:
            asked = frozenset(() if evaluator is None else evaluator.asked)
            evaluator = Evaluator(self._config.graph(target), self._facts, target)
            update = evaluator.update()
            gained = tuple(need for need in update.gained if need not in asked)
            lost = tuple(asked.difference(evaluator.asked))
            watched.evaluator, watched.is_current = evaluator, True
        watched.leaving.update(lost)
        watched.leaving.difference_update(gained)
        gone = frozenset(
            need for need in watched.leaving if evaluator.is_complete or not isinstance(need, Build)
        )
        watched.leaving -= gone
        self._depend(target, gained, gone)
        return evaluator

    def _depend(
        self, target: Target, gained: Collection[Need[Any]], lost: Collection[Need[Any]]
    ) -> None:
        """Find what ``target`` asks for now, and let go of what it does not ask for any more.

        In this order: a build that it wants as before is not stopped in between.
        """
        for need in gained:
            is_new = need not in self._dependents
            self._dependents[need].add(target)
            if is_new:
                self._find(need)
        for need in lost:
            self._dependents[need].discard(target)
            if not self._dependents[need]:
                self._let_go(need)

    def _let_go_of_all(self, target: Target) -> None:
        """When its evaluation broke off, so that only we know what ``target`` asked for."""
        asked = [need for need, targets in self._dependents.items() if target in targets]
        self._depend(target, (), asked)

    def _find(self, need: Need[Any]) -> None:
        match need:
            case Build():
                self._builds.want(need)
            case TargetHead(target=target):
                self._on_fact(need, self._commits.get(target))
            case LastOutput() if need in self._last_outputs:
                self._on_fact(need, self._last_outputs[need])
            case _:
                self._answers.ask(need)

    def _let_go(self, need: Need[Any]) -> None:
        del self._dependents[need]
        self._facts.forget(need)
        if isinstance(need, Build):
            self._builds.unwant(need)
        else:
            self._answers.drop(need)

    def _timed(self, job: JobState) -> JobState:
        """Say how long a job's own build took."""
        build = self._builds.recorded(job.builds[-1]) if job.builds else None
        if job.status is not Status.SUCCESS or build is None:
            return job
        if build.started is None or build.finished is None:
            return job
        return replace(job, description=f"passed in {duration(build.started, build.finished)}")

    def _show(self, watched: _Watched, state: TargetState) -> None:
        if replace(state, updated=watched.state.updated) != watched.state:
            watched.state = replace(state, updated=datetime.now(UTC))
            self._changes.tell(watched.target)

    def _source(self, evaluator: Evaluator) -> CommitId | None:
        """The commit that a flow is at."""
        for need in evaluator.asked:
            if isinstance(need, BranchHead | NextCommit):
                fact: object = self._facts.get(need)
                match fact:
                    case Known(answer=str(commit)):
                        return CommitId(ObjectId(commit))
                    case _:
                        return None
        return None

    def _publish(self, watched: _Watched, trees: Mapping[BuildId, TreeId]) -> None:
        is_flow = watched.target.kind is TargetKind.FLOW  # its history is the branch that it writes
        if self._publisher is not None and not is_flow:
            self._publisher.mark(Published(watched.state, self._metadata, trees))

    def _trees(self, target: Target, evaluator: Evaluator) -> Mapping[BuildId, TreeId]:
        """What the builds have made; of latched stages that is remembered."""
        trees: dict[BuildId, TreeId] = {}
        for need in evaluator.asked:
            fact = self._facts.get(need)
            if not isinstance(need, Build) or not isinstance(fact, Known):
                continue
            build, output = fact.answer.build, fact.answer.output
            if build is not None and output is not None:
                trees[build] = output
                if need.spec.policy.latched:
                    latch = LastOutput(target, build.project, build.stage, build.static)
                    self._last_outputs[latch] = output
        return trees

    def _at_commit(self, head: CommitId) -> list[TargetState]:
        return [self._watched[target].state for target in self._at.get(head, ())]

    def _known(self, target: Target) -> _Watched | None:
        return self._watched.get(target) or self._flows.get(target)

    def _set_flows(self) -> None:
        """Follow the flows of the pipeline, and no others."""
        wanted = [each.target for each in self._config.flows]
        for watched in [each for each in self._flows.values() if each.target not in wanted]:
            self._drop(watched)
        for target in wanted:
            watched = self._flows.get(target) or _Watched(target, None, None, TargetState(target))
            watched.is_current = False
            self._flows[target] = watched
            self._mark(target)

    def _leave(self, watched: _Watched) -> None:
        """``watched`` is no more at its head."""
        assert watched.head is not None
        there = self._at[watched.head]
        there.discard(watched.target)
        if not there:
            del self._at[watched.head]


def _described(watched: _Watched) -> TargetState:
    """The state of a target whose jobs are not known."""
    commit = watched.commit
    state = TargetState(watched.target, watched.head)
    if commit is None:
        return state
    return replace(
        state,
        subject=commit.message.partition("\n")[0],
        author=commit.author.name,
        committed=datetime.fromtimestamp(commit.committer.time, UTC),
    )
