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
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from datakit_ci.annals import Annals
from datakit_ci.answers import Answers
from datakit_ci.archive import Archive
from datakit_ci.builds import Builds, Reports
from datakit_ci.cache import Cache
from datakit_ci.changes import Changes
from datakit_ci.clerk import Clerk
from datakit_ci.clock import Clock, SystemClock
from datakit_ci.control import Command, Pause, Resume
from datakit_ci.crew import Crew
from datakit_ci.demand import Demand
from datakit_ci.docket import Docket
from datakit_ci.edits import Edits
from datakit_ci.evaluations import Evaluations, Listeners
from datakit_ci.executors.base import Executor
from datakit_ci.explainer import Explainer
from datakit_ci.fingerprint import installed
from datakit_ci.heads import HeadsSource, MetadataHeads
from datakit_ci.inbox import Inbox
from datakit_ci.inquiries import Inquiries
from datakit_ci.lending import Lender
from datakit_ci.need import (
    Approved,
    Build,
    LastOutput,
    Need,
    PullRequestOf,
    TargetHead,
    TreeOf,
)
from datakit_ci.project import Config
from datakit_ci.publisher import Published, Publisher
from datakit_ci.pulse import Pulse
from datakit_ci.readings import Readings
from datakit_ci.roster import Roster, Watched
from datakit_ci.rulings import Rulings
from datakit_ci.runner import Runner
from datakit_ci.schedule import Scheduler
from datakit_ci.search import Search
from datakit_ci.secrets import Keyring
from datakit_ci.spec import DEFAULT_POOL
from datakit_ci.spool import Spool
from datakit_ci.stage import fingerprint_stages
from datakit_ci.state import BuildId, TargetState
from datakit_ci.tally import Tally
from datakit_ci.target import FLOWS, Target, TargetKind
from datakit_ci.whereabouts import Told, Whereabouts
from datakit_core.client.api import CommitId, Database, TreeId

__all__ = ["Engine"]

_log = logging.getLogger(__name__)

_RETRY = 1.0
"""Seconds until a part of the engine that failed is started again."""


class Engine(Readings):
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
        tally: Tally | None = None,
        trouble: Callable[[], str] = str,
        lender: Lender | None = None,
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
            tally: Where to count what is done; by default a new one, which nobody reads.
            trouble: What is wrong with the database, for explanations; empty: nothing.
            lender: Has results of another database; none: only our own are used.

        Raises:
            ConfigError: A secret cannot be read, or is too short to be redacted.
        """
        self._database = database
        self._config = config
        self._processors = os.cpu_count() or 1
        self._crew = Crew()
        self._tally = tally or Tally()
        self._cache = Cache(database, lender)
        self._spool = Spool(spool_dir)
        self._group = asyncio.TaskGroup()
        self._clock = clock or SystemClock()
        self._roster = Roster()
        news: Callable[[Target, Need[Any]], None] = lambda *news: self._evaluations.mark(*news)  # noqa: E731
        edits = Edits()
        self._demand = Demand(self._find, self._let_go, news, self._at_hand, edits)
        look = Inquiries(database).look
        self._answers = Answers(database, self._group, self._on_fact, self._clock, look)
        self._runner = Runner(
            self._cache,
            executor,
            self._spool,
            Keyring.load(config.secrets),
            self._clock,
            self._tally,
        )
        self._settled = Pulse()
        self._done: set[BuildId] = set()
        self._done_pulse = Pulse()
        given: Callable[[Build], TreeId | None] = lambda need: self._evaluations.given(need)  # noqa: E731
        self._builds = Builds(
            self._cache,
            Search(database, self._cache, self._tally),
            self._runner,
            Scheduler(config.capacities(self._processors)),
            self._spool,
            self._group,
            Reports(self._on_fact, self._on_done, self._settled.beat, self._asked_by, given),
            self._clock,
        )
        self._builds.threshold = config.threshold
        self._docket = Docket(database, self._rule)
        asks: Callable[[Target, Need[Any]], bool] = lambda target, need: (  # noqa: E731
            target in self._demand.targets(need)
        )
        self._clerk = Clerk(
            self._docket, self._builds, self._clock, self.target, self._is_shared, asks
        )
        self._inbox = Inbox(database, self._docket, self._clerk, self._commanded, self._until_known)
        self._archive, self._annals = Archive(database), Annals(database)
        self._explainer = Explainer(
            database, self._builds, self._docket, self.target, trouble, self._archive
        )
        self._publisher = (
            Publisher(database, base_url, self._roster.at, self._tally) if publish else None
        )
        self._changes = Changes(lambda: self._roster)
        self._evaluations = Evaluations(
            config,
            self._roster,
            self._demand,
            self._builds.recorded,
            Listeners(self._changes.tell, self._publish, self._settled.beat),
            self._tally,
        )
        mark, tell = self._evaluations.mark, self._changes.tell
        told = Told(mark, self._forget, tell, self._on_head, self._listen)
        source = heads or MetadataHeads(database)
        self._whereabouts = Whereabouts(database, source, self._roster, canaries, told, edits)
        self._whereabouts.projects = _projects_of(config)

    async def __aenter__(self) -> Self:
        """Read what people have decided; mark what a killed engine left in the spool."""
        self._spool.recover()
        # Evaluations ask for both, and must not wait for a disk.
        await asyncio.to_thread(installed)
        await asyncio.to_thread(fingerprint_stages)
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
        follow = lambda: self._whereabouts.follow(self._settled.beat)  # noqa: E731
        async with self._group:
            self._group.create_task(self._keep("the watch of targets", follow))
            self._group.create_task(self._keep("the docket", self._docket.follow))
            self._group.create_task(self._keep("the inbox", self._inbox.follow))
            self._group.create_task(self._keep("clearing the docket", self._clear_done))
            self._group.create_task(self._keep("evaluation", self._evaluations.run))
            if (publisher := self._publisher) is not None:
                publish = lambda: publisher.run(self._settled.beat)  # noqa: E731
                self._group.create_task(self._keep("publishing", publish))

    def missing_secrets(self) -> frozenset[str]:
        """The names of secrets that are declared and were not there when that was last read."""
        return frozenset(self._runner.keyring.missing)

    def crew(self) -> Crew:
        """Who works, where builds run elsewhere."""
        return self._crew

    def employ(self, crew: Crew) -> None:
        """Let ``crew`` run builds from now on; it says how large pool ``cpu`` is.

        If the pipeline says that, it counts for all of them together.
        """
        self._crew = crew
        number = max(1, crew.units.get(DEFAULT_POOL, 0))  # for what runs beside us all the same
        if number != self._processors:
            self._processors = number
            self._builds.resize(self._config.capacities(number))

    async def configure(self, config: Config) -> None:
        """Judge all targets by ``config`` from now on; builds that it still wants go on.

        Raises:
            ConfigError: A secret cannot be read or redacted; nothing has changed then.
        """
        self._runner.keyring = await asyncio.to_thread(Keyring.load, config.secrets)
        self._config = config
        self._whereabouts.projects = _projects_of(config)
        self._builds.threshold = config.threshold
        self._builds.resize(config.capacities(self._processors))
        self._evaluations.config = config
        self._roster.expire()
        self._whereabouts.leave_others()
        for target in self._roster:
            self._evaluations.mark(target)
        self._set_flows()
        await self._whereabouts.join_new()

    async def control(self, command: Command) -> str:
        """Do what a person says; returns what was done, for people.

        Raises:
            NoEntry: There is no such project, target or job, or nobody wants the build.
            InvalidArgument: There is nothing to do: it is not under way, or waits for nobody.
        """
        return await self._clerk.carry_out(command, self._commanded())

    def _commanded(self) -> Collection[str]:
        """The projects that commands may be about."""
        return {*self._whereabouts.projects, *({FLOWS} if self._roster.has_flows else ())}

    async def _until_known(self, command: Command) -> None:
        """Wait until it is known which builds the target of a command wants."""
        what = None if isinstance(command, Pause | Resume) else command.what
        while True:
            change = self._settled.next
            if self._is_known(what):
                return
            await change.wait()

    def _is_known(self, what: Target | BuildId | None) -> bool:
        if isinstance(what, BuildId):
            return self._builds.standing(what) is not None or self._is_idle()
        watched = None if what is None else self._roster.get(what)
        return self._whereabouts.is_loaded if watched is None else self._evaluations.knows(watched)

    async def idle(self) -> None:
        """Wait until nothing is left to do: all evaluated, nothing runs, everything published."""
        while True:
            change = self._settled.next
            if self._is_idle():
                return
            await change.wait()

    def _is_idle(self) -> bool:
        return (
            self._whereabouts.is_loaded
            and self._evaluations.idle
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

    def _on_head(self, target: Target, head: CommitId | None) -> None:
        """Where a target is, and what is said of it, may be another."""
        self._on_fact(TargetHead(target), head)
        if (asked := PullRequestOf(target)) in self._demand:
            self._answers.again(asked)

    def _listen(self, said: Collection[tuple[str, CommitId]] | None) -> None:
        """Ask again for what other CIs say, where that may have changed."""
        for need in list(self._demand.statuses):
            if said is None or (need.project, need.commit) in said:
                self._answers.again(need)

    def _forget(self, watched: Watched) -> None:
        self._evaluations.drop(watched)
        if self._publisher is not None:
            self._publisher.drop(watched.target)
        self._changes.tell(watched.target)

    def _on_fact(self, need: Need[Any], answer: object) -> None:
        """Take an answer; evaluate again whatever asked for it."""
        self._demand.record(need, answer)
        self._settled.beat()

    def _asked_by(self, build: BuildId) -> tuple[tuple[str, str], ...]:
        """The targets that want a build, and where they are."""
        found = [self._roster.get(target) for target in sorted(self.wanted_by(build))]
        return tuple((each.target.path, each.head or "") for each in found if each is not None)

    def _rule(self, rulings: Rulings) -> None:
        """Do from now on what people have decided."""
        self._builds.rule(rulings)
        for need in [need for need in self._demand if isinstance(need, Approved)]:
            self._on_fact(need, rulings.heads(need.target))

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
        return bool(self._demand.targets(need) - {target})

    def _at_hand(self, need: Need[Any]) -> object:
        """The answer to ``need`` if nothing has to be looked up; else none."""
        match need:
            case TargetHead(target=target):
                return self._whereabouts.head(target)
            case TreeOf(commit=commit):
                head = self._roster.commit(commit)
                return None if head is None else head.tree
            case Approved(target=target):
                return self._docket.rulings.heads(target)
            case LastOutput():
                return self._evaluations.last_output(need)
            case _:
                return None

    def _find(self, need: Need[Any]) -> None:
        """Have ``need`` looked up by whoever can, unless that was not necessary."""
        if isinstance(need, Build):
            self._builds.want(need)
        elif (answer := self._at_hand(need)) is not None or isinstance(need, TargetHead):
            self._on_fact(need, answer)
        else:
            self._answers.ask(need)

    def _let_go(self, need: Need[Any]) -> None:
        """Nobody asks for ``need`` any more."""
        if isinstance(need, Build):
            self._builds.unwant(need)
        else:
            self._answers.drop(need)

    def _publish(self, state: TargetState, trees: Mapping[BuildId, TreeId]) -> None:
        is_flow = state.target.kind is TargetKind.FLOW  # its history is the branch that it writes
        if self._publisher is not None and not is_flow:
            self._publisher.mark(Published(state, self._whereabouts.metadata, trees))

    def _set_flows(self) -> None:
        """Follow the flows of the pipeline, and no others."""
        wanted = [each.target for each in self._config.flows]
        for watched in self._roster.set_flows(wanted).values():
            self._forget(watched)
        for target in wanted:
            self._evaluations.mark(target)


def _projects_of(config: Config) -> Collection[str]:
    return frozenset(project.id for project in config.projects)
