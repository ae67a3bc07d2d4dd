"""Forecasts: what a run would come to, from what is recorded, without running anything.

A forecast evaluates a target's jobs as the engine does, but a build that has no result stays as it
is: it is said that it would run, and why. What depends on its output is not known before. Nothing
is written, so a database that is open for reading only will do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from datakit_ci.cache import Cache
from datakit_ci.evaluate import Evaluating, Evaluator
from datakit_ci.findings import Findings
from datakit_ci.moments import Schedule
from datakit_ci.need import (
    Approved,
    BranchHead,
    Build,
    BuildFact,
    Facts,
    Fetched,
    HasEngine,
    JobsIn,
    LastMoment,
    Need,
    PipelineTree,
    PullRequestOf,
    TargetHead,
    Trouble,
)
from datakit_ci.policy import Level
from datakit_ci.project import Config
from datakit_ci.rulings import Hold, Rulings, Run, Use, decide, expiry
from datakit_ci.spec import StageKind
from datakit_ci.state import BuildId, BuildState, GraphNode, JobState, Status
from datakit_ci.target import Target
from datakit_core.client.api import CommitId, Database
from datakit_core.errors import DatakitError

__all__ = ["Draft", "Expected", "Forecast", "Forecaster"]

Draft: TypeAlias = Callable[[BuildId, Build], Awaitable[BuildFact]]
"""Imports a pipeline of a repository."""


@dataclass(frozen=True, slots=True)
class Expected:
    """A build that has no result which would do.

    Attributes:
        build: Which.
        need: What is asked for.
        reason: Why it would run.
        held: Why it would not start by itself; empty if it would.
    """

    build: BuildId
    need: Build
    reason: str
    held: str = ""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is known of a target's jobs before anything runs.

    Attributes:
        target: Which.
        jobs: Where they stand, in the pipeline's order.
        served: The builds whose recorded results are used.
        expected: The builds that would run, in the graph's order.
        later: Stages of which it is not known yet whether they would run.
        unknown: What else is not known: branches of other repositories are not fetched.
    """

    target: Target
    jobs: tuple[JobState, ...]
    served: Mapping[BuildId, BuildState]
    expected: tuple[Expected, ...]
    later: tuple[str, ...]
    unknown: tuple[Need[Any], ...]

    @property
    def is_settled(self) -> bool:
        """Whether a run would do nothing, so that this is already what it would come to."""
        troubled = any(job.status is Status.ERROR for job in self.jobs)
        return not self.expected and not self.unknown and not troubled


@dataclass(slots=True)
class Forecaster:
    """Makes forecasts for targets of one pipeline; what was found for one serves the next.

    Attributes:
        database: Where everything is looked up.
        cache: The results; may be elsewhere.
        heads: Where the targets are.
        rulings: What people have decided.
        threshold: The level from which on a person has to confirm a build.
        now: The time, UTC.
        draft: Imports a pipeline of a repository, if it may be; else what follows is not known.
    """

    database: Database
    cache: Cache
    heads: Mapping[Target, CommitId]
    rulings: Rulings
    threshold: Level | None
    now: datetime
    draft: Draft | None = None
    _facts: Facts = field(default_factory=Facts)
    _served: dict[Build, BuildState] = field(default_factory=dict)
    _expected: dict[Build, Expected] = field(default_factory=dict)
    _unknown: set[Need[Any]] = field(default_factory=set)

    async def forecast(self, config: Config, target: Target) -> Forecast:
        """What is known of the jobs that ``config`` has for ``target``.

        Raises:
            ConfigError: The pipeline makes no sense of it.
        """
        evaluator = self._evaluator(config, target)
        fresh: Sequence[Need[Any]] = evaluator.update().gained
        while fresh := [need for need in fresh if need not in self._unknown]:
            known = [need for need in fresh if need in self._facts or await self._learn(need)]
            fresh = evaluator.update(known).gained if known else ()
        asked = tuple(evaluator.asked)
        builds = [need for need in asked if isinstance(need, Build)]
        served = (self._served[need] for need in builds if need in self._served)
        expected = tuple(self._expected[need] for need in builds if need in self._expected)
        unknown = tuple(need for need in asked if need in self._unknown)
        return Forecast(
            target=target,
            jobs=tuple(output.job(name) for name, output in evaluator.outputs().items()),
            served={state.id: state for state in served},
            expected=expected,
            later=_later(evaluator.drawn()) if expected or unknown else (),
            unknown=unknown,
        )

    def _evaluator(self, config: Config, target: Target) -> Evaluating:
        if config.knows_jobs_of(target):
            return Evaluator(config.graph(target), self._facts, target)
        from datakit_ci.verdict import judged  # slow to import, and seldom needed

        return judged(config, target, self._facts)

    async def _learn(self, need: Need[Any]) -> bool:
        """Find the answer to ``need``; false if that is not known."""
        try:
            if isinstance(need, Build):
                answer: object = await self._build(need)
            else:
                answer = await self._answer(need)
        except DatakitError as error:
            answer = Trouble(str(error))
        except LookupError:
            self._unknown.add(need)
            return False
        self._facts.record(need, answer)
        return True

    async def _answer(self, need: Need[Any]) -> object:
        """Any answer but that of a build; raises ``LookupError`` if it is not in the database."""
        match need:
            case TargetHead(target=target):
                return self.heads.get(target)
            case BranchHead(branch=branch):
                return await self.database.head(branch)
            case LastMoment(schedule=schedule):
                return Schedule(schedule).last(self.now)
            case Fetched() | HasEngine():
                raise LookupError
            case Approved(target=target):
                return self.rulings.heads(target)
            case PullRequestOf() | PipelineTree() | JobsIn():
                from datakit_ci.inquiries import Inquiries  # as above

                return await Inquiries(self.database).look(need)
            case _:
                return await Findings(self.database).find(need)

    async def _build(self, need: Build) -> BuildFact:
        recorded = await self.cache.find(need)
        build = recorded.id if recorded else await self.cache.name(need)
        held = ""
        match decide(need, build, recorded, self.rulings, self.now, self.threshold):
            case Use():
                assert recorded is not None
                self._served[need] = recorded
                return BuildFact.recorded(recorded)
            case Hold(reason=held):
                pass
            case Run():
                pass
        if self.draft is not None and need.spec.kind is StageKind.PIPELINE:
            return await self.draft(build, need)
        if recorded is None:
            reason = await self.cache.why_not(need)
        else:
            reason = _why_stale(need, recorded)
        self._expected[need] = Expected(build, need, reason, held)
        return BuildFact.waiting(held or f"would run: {reason}", build)


def _why_stale(need: Build, recorded: BuildState) -> str:
    if need.since is not None and recorded.started is not None and recorded.started < need.since:
        return f"it is due since {need.since:%Y-%m-%d %H:%M} UTC"
    if expiry(need, recorded) is not None:
        return "its result has expired"
    return "its result is to be made again"


def _later(nodes: Iterable[GraphNode]) -> tuple[str, ...]:
    """The stages without a build, unless something before them has failed."""
    return tuple(
        node.label
        for node in nodes
        if node.kind == "stage" and node.build is None and node.status is Status.WAITING
    )
