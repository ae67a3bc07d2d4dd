"""Evaluating the targets about which there is news, and showing what they have come to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from datakit_ci.demand import Demand
from datakit_ci.evaluate import Evaluating
from datakit_ci.meta import duration
from datakit_ci.need import BranchHead, Build, Known, LastOutput, Need, NextCommit
from datakit_ci.output import Output
from datakit_ci.project import Config
from datakit_ci.pulse import Pulse
from datakit_ci.roster import Roster, Shown, Watched
from datakit_ci.state import BuildId, BuildState, JobState, Status, TargetState
from datakit_ci.tally import Tally
from datakit_ci.target import Target
from datakit_ci.verdict import judged
from datakit_core.client.api import CommitId, ObjectId, TreeId
from datakit_core.errors import ConfigError

__all__ = ["Evaluations", "Listeners"]

_log = logging.getLogger(__name__)

_SLICE = 0.003
"""Seconds after which others have their turn."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """Who is told what.

    Attributes:
        changed: That a target's state is another one.
        publish: What is known of a target for sure, with the trees that its builds have made.
        settled: That everything is evaluated for now.
    """

    changed: Callable[[Target], None]
    publish: Callable[[TargetState, Mapping[BuildId, TreeId]], None]
    settled: Callable[[], None]


class Evaluations:
    """Brings targets up to date with what is known; :meth:`run` is its task.

    Attributes:
        config: The pipeline by which targets are judged now.
    """

    def __init__(
        self,
        config: Config,
        roster: Roster,
        demand: Demand,
        recorded: Callable[[BuildId], BuildState | None],
        listeners: Listeners,
        tally: Tally,
    ) -> None:
        """Judge what is on ``roster``.

        Args:
            config: The pipeline.
            roster: The targets; their states are changed.
            demand: Told what targets ask for, and asked what is known.
            recorded: A wanted build that is recorded.
            listeners: Told what has come of it.
            tally: Counts evaluations.
        """
        self.config = config
        self._roster = roster
        self._demand = demand
        self._recorded = recorded
        self._listeners = listeners
        self._tally = tally
        self._dirty: dict[Target, set[Need[Any]]] = {}
        self._last_outputs: dict[LastOutput, TreeId] = {}
        self._wake = Pulse()

    @property
    def idle(self) -> bool:
        """Whether nothing is left to evaluate."""
        return not self._dirty

    def knows(self, watched: Watched) -> bool:
        """Whether all that a target wants is asked for, and looked up."""
        if watched.target in self._dirty or not watched.is_current:
            return bool(watched.state.problem)
        return watched.evaluator is not None and watched.evaluator.is_complete

    def mark(self, target: Target, *needs: Need[Any]) -> None:
        """Evaluate ``target`` again, since there is news about ``needs``."""
        self._dirty.setdefault(target, set()).update(needs)
        self._wake.beat()

    def drop(self, watched: Watched) -> None:
        """A target is gone; nothing is wanted for it any more."""
        target = watched.target
        for latch in [each for each in self._last_outputs if each.target == target]:
            del self._last_outputs[latch]
        if watched.evaluator is None:
            self._demand.let_go_of_all(target)
        else:
            self._demand.change(target, (), watched.leaving.union(watched.evaluator.asked))

    def last_output(self, need: LastOutput) -> TreeId | None:
        """What a latched stage has made while this has been at work; none: not known."""
        return self._last_outputs.get(need)

    def given(self, need: Build) -> TreeId | None:
        """The tree that the stage of a wanted build is given now; none if nobody wants it."""
        for target in self._demand.targets(need):
            watched = self._roster.get(target)
            if watched is not None and watched.evaluator is not None:
                return watched.evaluator.given(need)
        return None

    async def run(self) -> None:
        """Evaluate for ever, one target after the other, with a turn for others in between."""
        loop = asyncio.get_running_loop()
        while True:
            change = self._wake.next
            until = loop.time() + _SLICE
            while self._dirty:
                target = next(iter(self._dirty))
                if (watched := self._roster.get(target)) is not None:
                    with self._tally.evaluation():
                        self._evaluate(watched)
                else:
                    del self._dirty[target]
                if loop.time() > until:
                    await asyncio.sleep(0)
                    until = loop.time() + _SLICE
            self._listeners.settled()
            await change.wait()

    def _evaluate(self, watched: Watched) -> None:
        """The boundary of a target: what its pipeline does wrong is its own problem."""
        try:
            evaluator = self._updated(watched, self._dirty.pop(watched.target))
            while watched.target in self._dirty:  # some answers are at hand
                evaluator = self._updated(watched, self._dirty.pop(watched.target))
            if evaluator.waits_for_builds:  # they are looked up, which takes no time
                if not watched.state.jobs:
                    self._show(watched, watched.described())
                return
            outputs, graph = evaluator.outputs(), evaluator.drawn()
        except Exception as error:  # noqa: BLE001 - a target's boundary: the traceback is logged
            if not isinstance(error, ConfigError):
                _log.exception("%s cannot be evaluated", watched.target.path)
            watched.evaluator, watched.is_current = None, False
            watched.leaving.clear()
            self._demand.let_go_of_all(watched.target)
            self._show(watched, replace(watched.described(), problem=str(error)))
            return
        jobs = tuple(self._job(watched, name, output) for name, output in outputs.items())
        if watched.is_flow:
            watched.head = self._source(evaluator)
        self._show(watched, replace(watched.described(), jobs=jobs, graph=graph))
        if evaluator.is_complete:  # else it is not known yet where the jobs stand
            self._listeners.publish(watched.state, self._trees(watched.target, evaluator))

    def _updated(self, watched: Watched, changed: Collection[Need[Any]]) -> Evaluating:
        """Bring the evaluation up to date, and look for what it asks."""
        evaluator, target = watched.evaluator, watched.target
        if evaluator is not None and watched.is_current:
            update = evaluator.update(changed)
            gained, lost = update.gained, update.lost
        else:
            asked = frozenset(() if evaluator is None else evaluator.asked)
            evaluator = judged(self.config, target, self._demand.facts)
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
        self._demand.change(target, gained, gone)
        return evaluator

    def _job(self, watched: Watched, name: str, output: Output[object]) -> JobState:
        """What is shown of a job: the same object, if it is made of the same ones as before."""
        recorded = self._recorded(output.builds[-1]) if output.builds else None
        shown = watched.shown.get(name)
        if shown is not None and shown.output is output and shown.recorded is recorded:
            return shown.job
        job = _timed(output.job(name), recorded)
        watched.shown[name] = Shown(output, recorded, job)
        return job

    def _show(self, watched: Watched, state: TargetState) -> None:
        if replace(state, updated=watched.state.updated) != watched.state:
            watched.state = replace(state, updated=datetime.now(UTC))
            self._listeners.changed(watched.target)

    def _source(self, evaluator: Evaluating) -> CommitId | None:
        """The commit that a flow is at."""
        for need in evaluator.asked:
            if isinstance(need, BranchHead | NextCommit):
                fact: object = self._demand.facts.get(need)
                match fact:
                    case Known(answer=str(commit)):
                        return CommitId(ObjectId(commit))
                    case _:
                        return None
        return None

    def _trees(self, target: Target, evaluator: Evaluating) -> Mapping[BuildId, TreeId]:
        """What the builds have made; of latched stages that is remembered."""
        trees: dict[BuildId, TreeId] = {}
        for need in evaluator.asked:
            fact = self._demand.facts.get(need)
            if not isinstance(need, Build) or not isinstance(fact, Known):
                continue
            build, output = fact.answer.build, fact.answer.output
            if build is not None and output is not None:
                trees[build] = output
                if need.spec.policy.latched:
                    latch = LastOutput(target, build.project, build.stage, build.static)
                    self._last_outputs[latch] = output
        return trees


def _timed(job: JobState, build: BuildState | None) -> JobState:
    """Say how long a job's own build took."""
    if job.status is not Status.SUCCESS or build is None:
        return job
    if build.started is None or build.finished is None:
        return job
    spent = duration(build.started, build.finished)
    return JobState(job.name, job.status, f"passed in {spent}", job.builds)
