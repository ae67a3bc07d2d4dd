"""Which pipeline judges a target, and what it makes of it: evaluation in two steps.

The service's own pipeline says at once what the jobs of a target are. Where the pipeline is in the
repository, or where the target is a pull request, more has to be known first: the first step is an
evaluation like any other, whose value is a :class:`Verdict`: the graph of the jobs. The second one
evaluates that.

A fork's pull request is judged by the pipeline of the branch that it is for, gets no secrets, and
waits until a person has approved it.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from datakit_ci.blueprint import LONGEST, RESULT, Blueprint
from datakit_ci.canonical import JsonValue, canonical_json, digest
from datakit_ci.conditions import Conditions
from datakit_ci.evaluate import Evaluator, Update
from datakit_ci.fingerprint import installed
from datakit_ci.graph import Graph
from datakit_ci.need import Approved, Build, Facts, JobsIn, Need, PipelineTree, PullRequestOf
from datakit_ci.operation import Head
from datakit_ci.output import Output
from datakit_ci.parcel import pack, trees_in, waits_for
from datakit_ci.project import PIPELINES, Config, Project
from datakit_ci.pullrequest import Forks, PullRequest
from datakit_ci.result import Ok, Pending
from datakit_ci.spec import StageKind, StageSpec
from datakit_ci.state import GraphNode
from datakit_ci.target import Target, TargetKind
from datakit_ci.term import Term, fail, head, head_as, pair, pending, return_, run_stage
from datakit_ci.tree import Tree
from datakit_core.client.api import CommitId, TreeId
from datakit_core.errors import ConfigError

__all__ = ["JOB", "UNAPPROVED", "Trial", "Verdict", "judged"]

UNAPPROVED = "waits for approval by a person"
"""How the reason begins of a fork's pull request that nobody has approved."""

JOB = "pipeline"
"""The job that a target has while, or because, its pipeline does not say what its jobs are."""

_STAGE = "datakit.pipeline"
"""Whose results the graphs are: the stage that imports pipelines."""

_SECONDS = 30.0
_MEMORY = 1_000_000_000
_PROCESSES = 64
_LOG = 1_000_000

_FORMAT = 2
"""Of what the process writes; a new number makes it write again."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be evaluated for a target.

    Attributes:
        graph: Its jobs.
        trusted: Whether its stages get the secrets that they ask for.
    """

    graph: Graph
    trusted: bool = True


def judged(config: Config, target: Target, facts: Facts) -> Evaluator | Trial:
    """What evaluates the jobs of ``target``.

    Raises:
        ConfigError: The pipeline makes no sense of it.
    """
    project = config.project(target.project)
    if project is None or config.knows_jobs_of(target):
        return Evaluator(config.graph(target), facts, target)
    return Trial(_Court(config, project).verdict(target), facts, target)


class Trial:
    """Evaluates which jobs a target has, and then these; looks like an ``Evaluator``."""

    def __init__(self, verdict: Term[Verdict], facts: Facts, target: Target) -> None:
        """Evaluate what ``verdict`` comes to; nothing is looked at before the first update."""
        self._facts = facts
        self._target = target
        self._first = Evaluator(Graph.of({JOB: verdict}), facts, target)
        self._verdict: Verdict | None = None
        self._second: Evaluator | None = None

    @property
    def asked(self) -> Collection[Need[Any]]:
        """Every need that is looked up, answered or not, in the order of the graphs."""
        second = () if self._second is None else self._second.asked
        return dict.fromkeys((*self._first.asked, *second)).keys()

    @property
    def is_complete(self) -> bool:
        """Whether it is known where the jobs stand.

        While the pipeline is looked at it is not known which they are: so what ran for an earlier
        head goes on for that moment.
        """
        if self._second is None:
            result = self._first.outputs()[JOB].result
            return self._first.is_complete and not isinstance(result, Pending)
        return self._first.is_complete and self._second.is_complete

    @property
    def waits_for_builds(self) -> bool:
        """Whether all that has no answer yet are builds, and there is one."""
        if self._second is None:
            return self._first.waits_for_builds
        return self._first.is_complete and self._second.waits_for_builds

    def update(self, changed: Iterable[Need[Any]] = ()) -> Update:
        """Look again at what depends on facts about ``changed``."""
        news = tuple(changed)
        before = self._second
        updates = [self._first.update(news)]
        self._rule()
        if self._second is not None:
            updates.append(self._second.update(news))
        lost = {need for update in updates for need in update.lost}
        if before is not None and before is not self._second:
            lost.update(before.asked)
        gained = dict.fromkeys(need for update in updates for need in update.gained)
        return Update(tuple(gained), tuple(lost.difference(self.asked)))

    def _rule(self) -> None:
        """Have the jobs evaluated that the verdict names; as before, if that is the same."""
        result = self._first.outputs()[JOB].result
        verdict = cast("Verdict", result.value) if isinstance(result, Ok) else None
        if verdict is None:
            self._second = None
        elif verdict != self._verdict or self._second is None:
            self._second = Evaluator(
                verdict.graph, self._facts, self._target, trusted=verdict.trusted
            )
        self._verdict = verdict

    def outputs(self) -> Mapping[str, Output[object]]:
        """What the jobs have come to; while they are not known, one that says why."""
        return (self._second or self._first).outputs()

    def drawn(self) -> tuple[GraphNode, ...]:
        """Every node as people see it, inputs first."""
        return (self._second or self._first).drawn()

    def given(self, build: Build) -> TreeId | None:
        """The tree that the stage of a wanted build is given now; none if it is not wanted."""
        second = None if self._second is None else self._second.given(build)
        return self._first.given(build) if second is None else second


@dataclass(frozen=True, slots=True)
class _Court:
    """Makes the term of a verdict."""

    config: Config
    project: Project

    def verdict(self, target: Target) -> Term[Verdict]:
        """What is to be evaluated for ``target``."""
        if target.kind is not TargetKind.PULL_REQUEST:
            return self._judged(target, by=target)
        pull: Term[PullRequest] = Term(Head(PullRequestOf(target), "pull request"))
        return pull.bind(lambda facts: self._pull_request(target, facts), "pull request")

    def _pull_request(self, target: Target, facts: PullRequest) -> Term[Verdict]:
        policy = self.project.fork_policy
        if policy is Forks.TRUSTED or not facts.is_fork(self.project.id):
            return self._judged(target, by=target)
        if policy is Forks.NEVER:
            return return_(
                Verdict(Graph.of({JOB: pending("pull requests of forks are not tested")}))
            )
        base = Target(self.project.id, TargetKind.BRANCH.value, facts.base)
        if not self.project.pipeline:
            base = target  # the service's own judges all
        elif not facts.base:
            return fail("the pull request does not say for which branch it is")
        verdict = self._judged(target, by=base, trusted=False)
        approved: Term[frozenset[CommitId]] = Term(Head(Approved(target), "approved"))

        def decide(known: tuple[tuple[CommitId, frozenset[CommitId]], Verdict]) -> Verdict:
            (commit, commits), found = known
            once = policy is Forks.APPROVE_ONCE and commits
            return found if once or commit in commits else _waiting(found, facts.owner)

        return pair(pair(head_as(target, ""), approved), verdict).map(decide, "approval")

    def _judged(self, target: Target, by: Target, *, trusted: bool = True) -> Term[Verdict]:
        """``target`` by the pipeline that is at ``by``, or by the service's own."""
        if not self.project.pipeline:
            return _checked(lambda: Verdict(self.config.graph(target), trusted))
        commit = head_as(by, "") if by == target else head(by)
        return commit.bind(lambda at: self._at(target, at, trusted=trusted), self.project.pipeline)

    def _at(self, target: Target, commit: CommitId, *, trusted: bool) -> Term[Verdict]:
        need = PipelineTree(commit, self.project.pipeline)
        tree: Term[Tree] = Term(Head(need, self.project.pipeline))

        def judge(found: Tree) -> Term[Verdict]:
            drawing = _Drawing(self.config, self.project, target, found)
            return drawing.verdict(trusted=trusted)

        return tree.bind(judge, self.project.pipeline)


@dataclass(frozen=True, slots=True)
class _Drawing:
    """Has a pipeline in a tree imported by processes, and makes terms of what they write.

    Attributes:
        config: The service's pipeline.
        project: Whose pipeline it is.
        target: For which target.
        tree: The pipeline's directory.
        way: The functions whose graph this is of, outermost first, with their packed values.
    """

    config: Config
    project: Project
    target: Target
    tree: Tree
    way: tuple[tuple[str, JsonValue], ...] = ()

    def verdict(self, *, trusted: bool) -> Term[Verdict]:
        """The target's jobs."""
        return self.graph.bind(
            lambda found: _checked(lambda: Verdict(self._read(found)[0], trusted))
        )

    @property
    def graph(self) -> Term[Blueprint]:
        """What a process writes."""
        path = self.project.pipeline
        written = run_stage(_stage(path, self.target, self.way), return_(self.tree))
        return written.bind(self._written, path)

    def _written(self, made: Tree) -> Term[Blueprint]:
        origin = f"{self.tree.id}:{self.project.pipeline}"
        return Term(Head(JobsIn(made.id, self.project.id, origin), "jobs"))

    def _read(self, found: Blueprint) -> tuple[Graph, Mapping[str, Term[object]]]:
        """The graph and the jobs; raises ``ConfigError`` for what the project may not do."""
        trees = trees_in([value for _, value in self.way])
        terms = found.terms(self._call, trees)
        return self.config.graph_of(self.project, terms), terms

    def _call(self, node: str, value: object) -> Term[object]:
        """What the function of ``node`` makes of ``value``.

        What is still pending is waited for: a process for each word that is said of it would be
        much ado.
        """
        if (reason := waits_for(value)) is not None:
            return pending(reason)
        try:
            way = (*self.way, (node, pack(value)))
        except ConfigError as error:
            return fail(str(error))
        inner = replace(self, way=way)
        return inner.graph.bind(inner.result)

    def result(self, found: Blueprint) -> Term[object]:
        """What a function has made, of the graph that was written of it."""
        try:
            return self._read(found)[1][RESULT]
        except ConfigError as error:
            return fail(str(error))


def _checked(make: Any) -> Term[Verdict]:
    """The value of ``make``, or the mistake that it finds."""
    try:
        return return_(make())
    except ConfigError as error:
        return fail(str(error))


def _waiting(verdict: Verdict, owner: str) -> Verdict:
    """The same jobs, of which each says that a person is waited for."""
    reason = f"{UNAPPROVED}: a pull request of {owner or 'a fork'}"
    jobs = dict.fromkeys(verdict.graph.jobs, pending(reason))
    return Verdict(Graph.of(jobs), trusted=False)


def _stage(path: str, target: Target, way: tuple[tuple[str, JsonValue], ...]) -> StageSpec:
    """The stage that imports the pipeline ``path`` and writes down its jobs for ``target``.

    Or, if there is a ``way``, what the function at its end returns.
    """
    version = sys.version_info
    code: dict[str, JsonValue] = {
        "path": path,
        "format": _FORMAT,
        "python": f"{sys.implementation.name} {version.major}.{version.minor}",
        "distributions": installed(),
    }
    parameters: dict[str, JsonValue] = {"target": target.short}
    if way:
        parameters["way"] = [[node, value] for node, value in way]
    return StageSpec(
        name=_STAGE,
        kind=StageKind.PIPELINE,
        command=path,
        fingerprint=digest(code),
        parameters=canonical_json(parameters).decode().rstrip("\n"),
        timeout=_SECONDS,
        pool=PIPELINES,
        conditions=Conditions(
            memory=_MEMORY, processes=_PROCESSES, log_limit=_LOG, output_limit=LONGEST
        ),
    )
