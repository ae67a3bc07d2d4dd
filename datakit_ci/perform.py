"""Performing one operation: what a node comes to, given its inputs' results and the facts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from datakit_ci.combine import apply, combine
from datakit_ci.graph import Node
from datakit_ci.metadata import CommitStatus
from datakit_ci.need import (
    Build,
    BuildFact,
    Facts,
    Joined,
    Known,
    LastMoment,
    LastOutput,
    Need,
    PublishedTree,
    StatusOf,
    TargetHead,
    TreeOf,
    Trouble,
)
from datakit_ci.operation import (
    CiStatus,
    Every,
    Fail,
    Head,
    JobName,
    Join,
    Map,
    PublishTree,
    RunStage,
    Source,
    Stuck,
    TreeOfCommit,
    Value,
)
from datakit_ci.result import Failed, Ok, Pending, Result, worst
from datakit_ci.spec import StageSpec
from datakit_ci.state import BuildId, Status
from datakit_ci.target import Target
from datakit_ci.tree import Tree
from datakit_core.client.api import CommitId, TreeId

__all__ = ["Performed", "Performer", "error"]

A = TypeVar("A")


def error(node: Node, reason: str) -> Failed:
    """The failure of a pipeline that does not make sense at ``node``."""
    return Failed(reason, node.id, Status.ERROR)


@dataclass(frozen=True, slots=True)
class Performed:
    """What came of performing an operation.

    Attributes:
        result: What the node has come to.
        asked: The needs that were looked up.
        missing: Those that have no answer yet.
        given: For a stage that asks for a build: its input.
        build: The node's build, if it is a stage whose build is known.
        note: What is still going on, although there is a result.
    """

    result: Result[object]
    asked: tuple[Need[Any], ...] = ()
    missing: tuple[Need[Any], ...] = ()
    given: TreeId | None = None
    build: BuildId | None = None
    note: Pending | None = None


class Performer:
    """Performs operations, one at a time, and notes what each asks."""

    def __init__(
        self,
        facts: Facts,
        target: Target,
        label: Callable[[str], str],
        *,
        trusted: bool = True,
    ) -> None:
        """Look needs up in ``facts``; ``label`` says what to call a node in a reason.

        The stages of a target that is not ``trusted`` get no secrets, whatever they ask for.
        """
        self._trusted = trusted
        self._facts = facts
        self._target = target
        self._label = label
        self._asked: list[Need[Any]] = []
        self._missing: list[Need[Any]] = []
        self._former: tuple[Build, TreeId] | None = None
        self._given: TreeId | None = None
        self._build: BuildId | None = None
        self._note: Pending | None = None

    def perform(
        self,
        node: Node,
        inputs: Sequence[Result[object]],
        former: tuple[Build, TreeId] | None = None,
    ) -> Performed:
        """What comes of ``node`` (any but a bind) for its inputs' results.

        A stage that asks for a build already, ``former``, for an input that it cannot tell from
        this one, goes on to ask for that one.
        """
        self._asked, self._missing, self._build, self._note = [], [], None, None
        self._former, self._given = former, None
        result = self._perform(node, inputs)
        asked, missing = tuple(self._asked), tuple(self._missing)
        return Performed(result, asked, missing, self._given, self._build, self._note)

    def sees_the_same(self, build: Build, given: TreeId, tree: TreeId) -> bool:
        """Whether it is known that ``build``, which was right for ``given``, is so for ``tree``.

        It is where all that the stage has declared to look at is the same in both; or if it has
        declared nothing, but is recorded, all that it did look at. (What a stage sees that has
        declared its inputs is another tree: what is in it depends on them.)
        """
        if given == tree:
            return True
        edit = self._facts.edits.between(given, tree)
        if edit is None:
            return False
        if build.spec.inputs is not None:
            return edit.leaves(build.spec.inputs)
        match self._facts.get(build):
            case Known(answer=BuildFact(asked=tuple(asked))):
                return edit.spares(asked)
            case _:
                return False

    def _perform(self, node: Node, inputs: Sequence[Result[object]]) -> Result[object]:
        match node.operation:
            case Value() | Fail() | Stuck() | JobName() as known:
                return _known(node, known)
            case Head(need=need, absent=absent):
                return self._ask(node, need, absent)
            case Source(target=target):
                return self._tree(node, self._head(node, target))
            case CiStatus() as asked:
                said = self._status(node, asked.target, asked.context)
                return _success(node, asked.context, said) if asked.success else said
            case Every(schedule=schedule):
                return self._ask(node, LastMoment(schedule))
            case TreeOfCommit():
                return self._tree(node, inputs[0])
            case RunStage(spec=spec):
                return self._stage(node, spec, inputs)
            case Join(paths=paths):
                return self._join(node, paths, inputs)
            case PublishTree() as operation:
                return self._publish(node, operation, inputs)
            case Map(function=function):
                return apply(function, inputs[0], node.id)
            case operation:
                return combine(operation, inputs)

    def _ask(self, node: Node, need: Need[A], absent: str = "") -> Result[A]:
        self._asked.append(need)
        match self._facts.get(need):
            case Known(answer=None) if absent:
                return Failed(absent, node.id)
            case Known(answer=answer):
                return Ok(answer)
            case Trouble(reason=reason):
                return error(node, reason)
            case _:
                self._missing.append(need)
                return Pending("not looked up yet", node.id)

    def _head(self, node: Node, target: Target) -> Result[CommitId | None]:
        return self._ask(
            node, TargetHead(target), f"there is no {target.short} in {target.project}"
        )

    def _status(self, node: Node, target: Target, context: str) -> Result[object]:
        match self._head(node, target):
            case Ok(value=str(commit)):
                return self._ask(node, StatusOf(target.project, commit, context))
            case missing:
                return missing

    def _tree(self, node: Node, commit: Result[Any]) -> Result[object]:
        match commit:
            case Ok(value=str(value)):
                return _as_tree(self._ask(node, TreeOf(CommitId(value))))  # type: ignore[arg-type]
            case Ok(value=other):
                return error(node, f"tree_of was given {other!r}, not a commit")
            case missing:
                return missing

    def _join(
        self, node: Node, paths: tuple[str, ...], inputs: Sequence[Result[object]]
    ) -> Result[object]:
        if (missing := worst(inputs)) is not None:
            return missing
        parts: list[tuple[str, TreeId]] = []
        for path, given in zip(paths, inputs, strict=True):
            if not (isinstance(given, Ok) and isinstance(given.value, Tree)):
                return error(node, f"join was given something that is not a tree for {path!r}")
            parts.append((path, given.value.id))
        return _as_tree(self._ask(node, Joined(tuple(parts))))

    def _publish(
        self, node: Node, operation: PublishTree, inputs: Sequence[Result[object]]
    ) -> Result[object]:
        if (missing := worst(inputs)) is not None:
            return missing.behind(self._label(missing.node))
        match [each.value for each in inputs if isinstance(each, Ok)]:
            case [Tree(id=tree), str() | datetime() as value]:
                moment = isinstance(value, datetime)
                source = f"{value:%Y-%m-%dT%H:%M:%SZ}" if moment else str(value)
                need = PublishedTree(
                    branch=operation.branch,
                    tree=tree,
                    source=source,
                    origin=operation.origin,
                    is_commit=not moment,
                    every_commit=operation.every_commit,
                )
                return self._ask(node, need)
            case [other, *_]:
                return error(node, f"publish was given {other!r}, not a tree")
            case _:
                return error(node, "publish was given nothing")

    def _stage(
        self, node: Node, spec: StageSpec, inputs: Sequence[Result[object]]
    ) -> Result[object]:
        if (missing := worst(inputs)) is not None:
            return missing.behind(self._label(missing.node))
        values = [each.value for each in inputs if isinstance(each, Ok)]
        told = self._told(node, spec)
        if not isinstance(told, Ok):
            return told
        match values:
            case [Tree(id=tree)]:
                need = Build(self._target.project, told.value, tree)
            case [Tree(id=tree), datetime() as since]:
                need = Build(self._target.project, told.value, tree, since)
            case [other, *_]:
                return error(node, f"stage {spec.name} was given {other!r}, not a tree")
            case _:
                return error(node, f"stage {spec.name} was given nothing")
        built = self._ask(node, self._as_before(need))
        return self._built(node, spec, built.value) if isinstance(built, Ok) else built

    def _as_before(self, need: Build) -> Build:
        """``need``, or the former one if that comes to the same."""
        self._given = need.input
        if self._former is None:
            return need
        build, given = self._former
        is_same_stage = replace(build, input=need.input) == need
        return build if is_same_stage and self.sees_the_same(build, given, need.input) else need

    def _told(self, node: Node, spec: StageSpec) -> Result[StageSpec]:
        """``spec`` with the facts of the target that it asks for, which are part of its key.

        Secrets are part of the key too: what was made without those that a stage names can never
        be served where it gets them.
        """
        if not self._trusted:
            given = replace(spec.conditions, secrets=(), untrusted=True)
            spec = replace(spec, conditions=given)
        if not spec.conditions.facts:
            return Ok(spec)
        known = {"target": self._target.short}
        if "commit" in spec.conditions.facts:
            match self._head(node, self._target):
                case Ok(value=commit):
                    known["commit"] = str(commit)
                case missing:
                    return missing
        told = tuple((fact, known[fact]) for fact in spec.conditions.facts)
        return Ok(replace(spec, conditions=replace(spec.conditions, told=told)))

    def _built(self, node: Node, spec: StageSpec, fact: BuildFact) -> Result[object]:
        self._build = fact.build
        if fact.output is not None:
            return Ok(Tree(fact.output))
        reason = fact.reason or fact.status.value
        if fact.status.is_final:
            return Failed(reason, node.id, fact.status)
        waiting = Pending(reason, node.id, fact.status is Status.RUNNING)
        if spec.policy.latched and (old := self._latched(node, spec, fact)) is not None:
            self._note = Pending(f"{reason}; its last output is used", node.id, waiting.running)
            return Ok(Tree(old))
        return waiting

    def _latched(self, node: Node, spec: StageSpec, fact: BuildFact) -> TreeId | None:
        """What the stage made the last time, for this input or another."""
        if fact.previous is not None:
            return fact.previous
        project = self._target.project
        need = LastOutput(self._target, project, spec.name, spec.static_digest(project))
        found = self._ask(node, need)
        return found.value if isinstance(found, Ok) else None


def _success(node: Node, context: str, said: Result[object]) -> Result[object]:
    """The address of another CI's success, of which ``said`` is the newest report."""
    match said:
        case Ok(value=None | CommitStatus(state="pending")):
            return Pending(f"waits for {context}", node.id)
        case Ok(value=CommitStatus(state="success", target_url=url)):
            return Ok(url) if url else Failed(f"{context} passed without an address", node.id)
        case Ok(value=CommitStatus(state=state, description=description)):
            more = f": {description}" if description else ""
            return Failed(f"{context} reported {state}{more}", node.id)
        case missing:
            return missing


def _known(node: Node, operation: Value | Fail | Stuck | JobName) -> Result[object]:
    match operation:
        case Value(value=value):
            return Ok(value)
        case Fail(reason=reason):
            return Failed(reason, node.id)
        case Stuck(reason=reason):
            return Pending(reason, node.id, said=True)
        case JobName(job=job):
            return Ok(job) if job else error(node, "jobs share this bind: job_id is unknown")


def _as_tree(found: Result[TreeId]) -> Result[object]:
    return Ok(Tree(found.value)) if isinstance(found, Ok) else found
