"""Plays: whole days of a CI of values only, stepped by number and told in golden files.

The engine's pure parts are put together here as the engine does, without it: targets are evaluated,
results are found by their observations, rulings are asked what is to be done, the scheduler says
what starts, and every run is explained. What stages look at and make, and the time, the test says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from datakit_ci.evaluate import Evaluator
from datakit_ci.executors.adapters import finish
from datakit_ci.graph import Graph
from datakit_ci.need import Build, BuildFact, Facts, LastMoment, TargetHead, TreeOf
from datakit_ci.occasion import Occasion
from datakit_ci.policy import Level
from datakit_ci.project import Jobs, TargetTerms
from datakit_ci.question import Question, QuestionKind
from datakit_ci.retention import Retention, superfluous
from datakit_ci.rulings import Hold, Ruling, Rulings, Run, Use, decide, occasion_of
from datakit_ci.schedule import (
    Cancel,
    Finished,
    Instruction,
    Scheduler,
    Start,
    Stop,
    Unwant,
    UnwantAll,
    Want,
)
from datakit_ci.state import BuildId, BuildState, Status
from datakit_ci.target import Target
from datakit_ci.trace import Asker, Observation, Tracer, declared, trace_key
from datakit_ci.why import Run as Ran
from datakit_ci.why import why_it_ran
from datakit_core.client.api import CommitId, ObjectId, TreeId
from tests.support.memory_database import MemoryDatabase
from tests.support.story import golden

__all__ = ["Files", "Play", "Seen", "Stage"]

Files: TypeAlias = Mapping[str, str]
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


class Seen:
    """What a stage of a play is given; it notes what is looked at, as a traced function's tree."""

    def __init__(self, files: Files, tracer: Tracer) -> None:
        self._files = files
        self._tracer = tracer

    def read(self, path: str) -> str:
        """A file's content; empty if there is none."""
        self._tracer.observe(Question(QuestionKind.FILE, path))
        return self._files.get(path, "")

    def exists(self, path: str) -> bool:
        """Whether a file is there."""
        self._tracer.observe(Question(QuestionKind.KIND, path))
        return path in self._files

    def glob(self, ending: str) -> Sequence[str]:
        """The files with this ending in the top directory."""
        self._tracer.observe(Question(QuestionKind.GLOB, f"*{ending}"))
        return sorted(path for path in self._files if path.endswith(ending) and "/" not in path)


Stage: TypeAlias = Callable[[Seen], Files | str]
"""What a stage makes: files; or a text, for which it fails."""


def _nothing(seen: Seen) -> Files:
    return {}


@dataclass(slots=True)
class _Recorded:
    state: BuildState
    observations: Sequence[Observation]
    occasion: Occasion


@dataclass(slots=True)
class Play:
    """Targets of projects that all have the same jobs.

    Attributes:
        jobs: Makes them.
        stages: What runs, by name; one that is not here fails nothing and makes nothing.
        pools: Their capacities.
        rulings: What people have decided.
        now: The time.
    """

    jobs: Jobs
    stages: Mapping[str, Stage] = field(default_factory=dict)
    pools: Mapping[str, int] = field(default_factory=lambda: {"cpu": 2})
    rulings: Rulings = field(default_factory=Rulings)
    now: datetime = NOON
    _facts: Facts = field(default_factory=Facts)
    _database: MemoryDatabase = field(default_factory=MemoryDatabase)
    _files: dict[TreeId, Files] = field(default_factory=dict)
    _evaluators: dict[Target, Evaluator] = field(default_factory=dict)
    _scheduler: Scheduler = field(init=False)
    _results: dict[BuildId, _Recorded] = field(default_factory=dict)
    _needs: dict[BuildId, Build] = field(default_factory=dict)
    _events: list[str] = field(default_factory=list)
    _text: list[str] = field(default_factory=list)
    _commits: int = 0

    def __post_init__(self) -> None:
        self._scheduler = Scheduler(self.pools)

    def head(self, target: Target, files: Files) -> None:
        """``target`` is at a new commit with these files."""
        self._commits += 1
        commit = CommitId(ObjectId(f"c{self._commits:039x}"))
        self._facts.record(TreeOf(commit), self._tree(files))
        self._facts.record(TargetHead(target), commit)
        if target not in self._evaluators:
            graph = Graph.of(self.jobs(TargetTerms(target)))
            self._evaluators[target] = Evaluator(graph, self._facts, target)
        self.settle()

    def delete(self, target: Target) -> None:
        """``target`` is gone."""
        del self._evaluators[target]
        self._obey(self._scheduler.handle(UnwantAll(target.path)))
        self.settle()

    def later(self, **lengths: float) -> None:
        """Time passes."""
        self.now += timedelta(**lengths)
        self.settle()

    def moment(self, schedule: str) -> None:
        """A moment of a schedule has come."""
        self._facts.record(LastMoment(schedule), self.now)
        self.settle()

    def know(self, need: Any, answer: Any) -> None:
        """A fact about something else."""
        self._facts.record(need, answer)
        self.settle()

    def tree(self, files: Files) -> TreeId:
        """The tree with these files."""
        return self._tree(files)

    def rule(self, kind: str, stage: str, user: str = "jo") -> None:
        """A person rules about the newest build of ``stage`` that is wanted."""
        build = self._newest(stage)
        recorded = self._results.get(build)
        replaces = recorded.state.started if recorded else None
        old: Mapping[BuildId, Ruling] = getattr(self.rulings, kind)
        ruling = Ruling(user, self.now, replaces)
        changed: dict[str, Any] = {kind: {**old, build: ruling}}
        self.rulings = replace(self.rulings, **changed)
        if kind == "cancelled":
            self._obey(self._scheduler.handle(Cancel(build)))
        self.settle()

    def pause(self, project: str, user: str = "jo") -> None:
        """A person pauses a project."""
        self.rulings = replace(self.rulings, paused={project: Ruling(user, self.now)})
        self.settle()

    def resume(self) -> None:
        """All projects go on."""
        self.rulings = replace(self.rulings, paused={})
        self.settle()

    def prune(self, rule: Retention) -> None:
        """Apply a rule of retention to all results."""
        finished = {build: self._ended(each) for build, each in self._results.items()}
        for build in sorted(superfluous(finished, rule, self._shown(), self.now)):
            self._events.append(
                f"dropped: {build.stage} of {self._ended(self._results[build]):%d %B}"
            )
            del self._results[build]

    def ends(self, stage: str) -> None:
        """The one build of ``stage`` that runs comes to its result."""
        (build,) = [each for each in self._running() if each.stage == stage]
        need = self._needs[build]
        tracer = Tracer()
        make = self.stages.get(stage, _nothing)
        made = make(Seen(self._files[need.input], tracer))
        asked = tracer.questions or declared(need.spec).questions
        observations = finish(self._asker(need).observe(asked))
        recorded = self._results.get(build)
        state = BuildState(
            build,
            Status.FAILURE if isinstance(made, str) else Status.SUCCESS,
            made if isinstance(made, str) else "",
            command=need.spec.command,
            started=self.now,
            finished=self.now + timedelta(minutes=1),
            output=None if isinstance(made, str) else self._tree(made),
        )
        known = None if recorded is None else recorded.state
        occasion = occasion_of(build, [need], known, self.rulings, self.now)
        before = self._before(build)
        self._results.pop(build, None)
        self._results[build] = _Recorded(state, observations, occasion)
        ran = Ran(build, self.now, need.spec.command, occasion, observations)
        reasons = "; ".join(reason.text for reason in why_it_ran(ran, before).reasons)
        self._events.append(f"{stage} ran: {reasons}")
        self._obey(self._scheduler.handle(Finished(build)))
        self.settle()

    def stopped(self, stage: str) -> None:
        """The processes of a build that was stopped are gone."""
        (build,) = [each for each in self._running() if each.stage == stage]
        self._obey(self._scheduler.handle(Finished(build, recorded=False)))
        self.settle()

    def settle(self) -> None:
        """Evaluate until nothing new is asked."""
        known = -1
        while known != (known := len(self._facts)) or self._look():
            pass

    def tell(self, title: str) -> None:
        """Write down what has happened, and where everything stands, as the next step."""
        lines = [f"{len(self._text) + 1}. {self.now:%H:%M} {title}"]
        lines += [f"   - {event}" for event in self._events]
        self._events.clear()
        for target, evaluator in self._evaluators.items():
            lines.append(f"   {target.path}")
            for node in evaluator.evaluation().nodes:
                origin = f" <- {', '.join(node.inputs)}" if node.inputs else ""
                reason = f" ({node.reason})" if node.reason else ""
                lines.append(f"     {node.id}{origin}: {node.status.value}{reason}")
        self._text.append("\n".join(lines))

    def compare(self, name: str) -> None:
        """Compare all that was told with the golden file ``name``."""
        golden(name, "\n\n".join(self._text) + "\n")

    def _look(self) -> bool:
        """Evaluate all targets, and answer what they ask of builds; whether that is news."""
        news = False
        for target, evaluator in self._evaluators.items():
            evaluator.update(tuple(evaluator.asked))
            wanted = [need for need in evaluator.asked if isinstance(need, Build)]
            named = {self._named(need): need for need in wanted}
            for build in [build for build in self._needs if build not in named]:
                self._obey(self._scheduler.handle(Unwant(build, target.path)))
            for build, need in named.items():
                self._needs[build] = need
                news |= self._facts.record(need, self._fact(build, need, target))
        return news

    def _fact(self, build: BuildId, need: Build, target: Target) -> BuildFact:
        recorded = self._results.get(build)
        state = recorded.state if recorded else None
        match decide(need, build, state, self.rulings, self.now, Level.DANGEROUS):
            case Use():
                assert state is not None
                return BuildFact.recorded(state)
            case Hold(status=status, reason=reason):
                return BuildFact(status, reason, build=build)
            case Run():
                conditions, pool = need.spec.conditions, need.spec.pool
                want = Want(build, pool, target.path, conditions.priority, conditions.locks)
                self._obey(self._scheduler.handle(want))
        reason = self._scheduler.reason(build)
        return BuildFact.waiting(reason, build) if reason else BuildFact.running(build)

    def _obey(self, instructions: Sequence[Instruction]) -> None:
        for each in instructions:
            match each:
                case Start(build=build):
                    self._events.append(f"start {build.stage} of {build.project}")
                case Stop(build=build, reason=reason):
                    self._events.append(f"stop {build.stage} of {build.project}: {reason}")

    def _named(self, need: Build) -> BuildId:
        """The build that answers ``need``: one whose observations hold, else a new one."""
        static = need.spec.static_digest(need.project)
        asker = self._asker(need)
        for build, recorded in self._results.items():
            if (build.project, build.stage, build.static) == (need.project, need.spec.name, static):
                asked = [each.question for each in recorded.observations]
                if finish(asker.observe(asked)) == recorded.observations:
                    return build
        key = trace_key(finish(asker.observe(declared(need.spec).questions)))
        return BuildId(need.project, need.spec.name, static, key)

    def _before(self, build: BuildId) -> Ran | None:
        """The newest result of the stage before this."""
        for other in reversed(self._results):
            if (other.project, other.stage) == (build.project, build.stage):
                found = self._results[other]
                return Ran(
                    other,
                    found.state.started,
                    found.state.command,
                    found.occasion,
                    found.observations,
                )
        return None

    def _asker(self, need: Build) -> Asker:
        return Asker(self._database, need.input)

    def _tree(self, files: Files) -> TreeId:
        contents = {path: text.encode() for path, text in files.items()}
        tree = finish(self._database.import_tree(contents))
        self._files[tree] = files
        return tree

    def _running(self) -> Sequence[BuildId]:
        return [build for state in self._scheduler.pools().values() for build in state.busy]

    def _newest(self, stage: str) -> BuildId:
        return [build for build in self._needs if build.stage == stage][-1]

    def _shown(self) -> frozenset[BuildId]:
        """The builds that targets show now."""
        jobs = (job for each in self._evaluators.values() for job in each.evaluation().jobs)
        return frozenset(build for job in jobs for build in job.builds)

    @staticmethod
    def _ended(recorded: _Recorded) -> datetime:
        assert recorded.state.finished is not None
        return recorded.state.finished
