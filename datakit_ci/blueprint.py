"""Blueprints: the graph of a target's jobs as JSON, from the process that has imported a pipeline.

A pipeline from a tree is never imported by the engine. A process of its own calls its ``jobs`` and
writes down what that returns; the engine makes terms of this again. So what crosses over is data,
and nothing of the database but the project's own targets. Whoever wrote the pipeline may have
written the JSON as well, so all of it is checked again by the rules for what an author writes.

Of a function (of ``map``, ``bind``, ``map_list``) only the node's id crosses over. When its value
is known, a process makes the graph anew, finds the node, calls the function with the value, and
writes down the graph of what that returns; see :func:`follow`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

from pydantic import JsonValue as AnyJson
from pydantic import TypeAdapter, ValidationError

from datakit_ci.canonical import JsonValue, canonical_json
from datakit_ci.graph import Graph, Node
from datakit_ci.matrix import Named
from datakit_ci.moments import Schedule
from datakit_ci.need import IsAfter, TargetHead
from datakit_ci.operation import (
    All,
    Bind,
    Catch,
    CiStatus,
    Every,
    Fail,
    Gate,
    Head,
    JobName,
    Join,
    Map,
    Operation,
    RunStage,
    Source,
    State,
    Stuck,
    TreeOfCommit,
    Value,
    Wait,
    WithoutLogs,
)
from datakit_ci.options import check_paths
from datakit_ci.parcel import pack, unpack
from datakit_ci.spec import StageSpec
from datakit_ci.target import Target
from datakit_ci.term import Term, head_as, said_state, said_url, source
from datakit_ci.vetting import vetted
from datakit_core.client.api import CommitId
from datakit_core.errors import ConfigError
from datakit_core.store.objects import parse_id

__all__ = ["LONGEST", "MOST_NODES", "RESULT", "Blueprint", "Call", "decode", "encode", "follow"]

MOST_NODES = 5_000
"""Of the graph of one target. One that a value makes larger is not possible here."""

LONGEST = 4_000_000
"""Bytes of the JSON of one target's graph."""

_VERSION = 2

RESULT = "result"
"""The job of the graph of what a function has returned."""

Call: TypeAlias = Callable[[str, object], Term[object]]
"""Has the function of a node called with a value."""

_PLAIN: Mapping[str, type[Operation]] = {
    "all": All,
    "catch": Catch,
    "gate": Gate,
    "job-id": JobName,
    "state": State,
    "tree": TreeOfCommit,
    "without-logs": WithoutLogs,
}
"""Operations that say nothing more."""

_FUNCTIONS: Mapping[str, Callable[..., object]] = {"state": said_state, "url": said_url}
"""Functions of ours, which nobody has to call elsewhere."""

_MANY = MOST_NODES
_INPUTS: Mapping[str, tuple[int, int]] = {
    "all": (0, _MANY),
    "call": (1, 1),
    "catch": (1, 1),
    "gate": (1, _MANY),
    "join": (1, _MANY),
    "known": (1, 1),
    "named": (1, 1),
    "stage": (1, 2),
    "state": (1, 1),
    "tree": (1, 1),
    "wait": (1, _MANY),
    "without-logs": (1, 1),
}
"""How many inputs an operation has at least and at most; one that is not here has none."""


@dataclass(frozen=True, slots=True)
class _Node:
    """One operation; which of the fields count depends on it."""

    op: str
    inputs: list[int]
    value: AnyJson = None
    id: str = ""
    text: str = ""
    target: str = ""
    own: bool = False
    success: bool = False
    names: tuple[str, ...] = ()
    pending: str = ""
    failed: str = ""
    spec: StageSpec | None = None


@dataclass(frozen=True, slots=True)
class _Document:
    version: int
    nodes: list[_Node]
    jobs: list[tuple[str, int]]


_DOCUMENT = TypeAdapter(_Document)


@dataclass(frozen=True, slots=True)
class Blueprint:
    """The jobs that a process has written down.

    Attributes:
        document: What it wrote, checked.
        project: Whose targets it may name.
        origin: The pipeline that Python stages are imported from.
    """

    document: _Document
    project: str
    origin: str

    def terms(self, call: Call, trees: Collection[str] | None = ()) -> Mapping[str, Term[object]]:
        """The jobs.

        Args:
            call: Has a function of the pipeline called.
            trees: The ids of trees that may be values: those that a function was given;
                none: all.

        Raises:
            ConfigError: They are what no pipeline may say.
        """
        reader = _Reader(self.project, self.origin, call, trees)
        terms: list[Term[object]] = []
        for node in self.document.nodes:
            inputs = tuple(_at(terms, place) for place in node.inputs)
            least, most = _INPUTS.get(node.op, (0, 0))
            if not least <= len(inputs) <= most:
                raise _nonsense(f"{node.op} has {len(inputs)} inputs")
            terms.append(reader.term(node, inputs))
        return {job: _at(terms, place) for job, place in self.document.jobs}


def follow(graph: Graph, node: str, value: object) -> Mapping[str, Term[object]]:
    """What the function of ``node`` makes of ``value``: a graph of one job, :data:`RESULT`.

    Raises:
        ConfigError: There is no such node, or the function does not keep its word.
    """
    operation = next((each.operation for each in graph.nodes if each.id == node), None)
    match operation:
        case Map(function=function):
            return {RESULT: Term(Value(function(value)))}
        case Bind(function=function):
            made = function(value)
            if isinstance(made, Term):
                return {RESULT: made}
            raise ConfigError(f"{operation.kind}'s function made {made!r}, not a term")
        case _:
            raise ConfigError(f"there is no function at {node}: jobs(target) made another graph")


def encode(graph: Graph, project: str) -> bytes:
    """Write down ``graph``, of a target of ``project``.

    Raises:
        ConfigError: Something of it cannot leave the process, or may not.
    """
    if len(graph.nodes) > MOST_NODES:
        raise ConfigError(f"jobs(target) makes {len(graph.nodes)} nodes; {MOST_NODES} are the most")
    places = {node.id: place for place, node in enumerate(graph.nodes)}
    document: JsonValue = {
        "version": _VERSION,
        "nodes": [
            {"inputs": [places[id_] for id_ in node.inputs], **_written(node, project)}
            for node in graph.nodes
        ],
        "jobs": [[job, places[root]] for job, root in graph.jobs.items()],
    }
    data = canonical_json(document)
    if len(data) > LONGEST:
        raise ConfigError(
            f"the graph of jobs(target) has {len(data)} bytes; {LONGEST} are the most"
        )
    return data


def decode(data: bytes, project: str, origin: str) -> Blueprint:
    """The jobs that :func:`encode` has written, or somebody else; checked as a whole.

    Args:
        data: The JSON.
        project: Whose targets it may name.
        origin: The pipeline that Python stages are imported from, see
            :attr:`~datakit_ci.spec.StageSpec.origin`.

    Raises:
        ConfigError: It is something else, or what no pipeline may say.
    """
    if len(data) > LONGEST:
        raise ConfigError(f"the pipeline's process wrote {len(data)} bytes; {LONGEST} are the most")
    try:
        document = _DOCUMENT.validate_json(data, strict=True)
    except ValidationError as error:
        raise _nonsense(f"{error.error_count()} fields are wrong") from error
    if document.version != _VERSION or len(document.nodes) > MOST_NODES:
        raise _nonsense("another version, or too many nodes")
    nodes = [
        node if node.spec is None else replace(node, spec=vetted(node.spec, origin))
        for node in document.nodes
    ]
    blueprint = Blueprint(replace(document, nodes=nodes), project, origin)
    blueprint.terms(lambda node, _: Term(Fail(node)), trees=None)  # raises what is to be raised
    return blueprint


def _at(terms: Sequence[Term[object]], place: int) -> Term[object]:
    if not 0 <= place < len(terms):
        raise _nonsense(f"there is no node {place}")
    return terms[place]


def _nonsense(what: str) -> ConfigError:
    return ConfigError(f"the pipeline's process wrote what is no graph: {what}")


def _written(node: Node, project: str) -> dict[str, JsonValue]:
    """One operation as JSON; raises ``ConfigError`` for what has to stay where it is."""
    operation = node.operation
    match operation:
        case Value(value=value):
            return {"op": "value", "value": pack(value)}
        case Map() | Bind():
            return _call_of(node, operation)
        case Fail(reason=reason):
            return {"op": "fail", "text": reason}
        case Stuck(reason=reason):
            return {"op": "pending", "text": reason}
        case Head(need=TargetHead() | IsAfter()) | Source() | CiStatus():
            return _about_target(operation, project)
        case Every(schedule=schedule):
            return {"op": "every", "text": schedule}
        case RunStage(spec=spec):
            return {"op": "stage", "spec": spec.to_json()}
        case Join(paths=paths):
            return {"op": "join", "names": list(paths)}
        case Wait(names=names, while_pending=pending, on_failure=failed):
            return {"op": "wait", "names": list(names), "pending": pending, "failed": failed}
        case _:
            for name, plain in _PLAIN.items():
                if isinstance(operation, plain):
                    return {"op": name}
            raise _refusal(operation)


def _call_of(node: Node, operation: Map | Bind) -> dict[str, JsonValue]:
    """A function by its place in the graph; one of ours by its name."""
    match operation:
        case Map(function=Named(names=names)):
            return {"op": "named", "names": list(names)}
        case Map(function=function, title=title) if _FUNCTIONS.get(title) is function:
            return {"op": "known", "text": title}
        case _:
            return {"op": "call", "id": node.id, "text": operation.name}


def _about_target(operation: Head | Source | CiStatus, project: str) -> dict[str, JsonValue]:
    match operation:
        case Head(need=IsAfter(newer=newer, older=older), title=title):
            return {"op": "is-after", "names": [newer, older], "text": title}
        case CiStatus(target=target, context=context, success=success):
            said: dict[str, JsonValue] = {"text": context, "success": success}
            return {"op": "ci-status", "target": _own(target, project), **said}
        case Source(target=target, title=title):
            return {"op": "source", "target": _own(target, project), "own": not title}
        case Head(need=TargetHead(target=target), title=title):
            return {"op": "head", "target": _own(target, project), "own": not title}
        case _:
            raise _refusal(operation)


def _refusal(operation: Operation) -> ConfigError:
    return ConfigError(
        f"{operation.kind} {operation.label} is not the project's own, and a pipeline in a tree "
        "can name nothing else: such a pipeline belongs into the service's own: Project(ID, jobs)"
    )


def _own(target: Target, project: str) -> str:
    if target.project != project:
        raise ConfigError(
            f"{target.path} is another project's, which a pipeline in a tree cannot name"
        )
    return target.short


@dataclass(frozen=True, slots=True)
class _Reader:
    """Makes terms of nodes."""

    project: str
    origin: str
    call: Call
    trees: Collection[str] | None

    def term(self, node: _Node, inputs: tuple[Term[object], ...]) -> Term[object]:
        """The term of one node."""
        match node.op:
            case "value":
                return Term(Value(unpack(node.value, self.trees)))
            case "fail" if node.text.strip():
                return Term(Fail(node.text))
            case "pending" if node.text.strip():
                return Term(Stuck(node.text))
            case "head" | "source" | "ci-status":
                return self._about_target(node)
            case "every":
                return Term(Every(Schedule(node.text).text))
            case "call" if node.id:
                return Term(Bind(partial(self.call, node.id), node.text), inputs)
            case "is-after" if len(node.names) == 2:
                newer, older = (CommitId(parse_id(name)) for name in node.names)
                return Term(Head(IsAfter(newer, older), node.text))
            case "tree" if not _is_head(inputs[0]):
                raise ConfigError(
                    "tree_of in a pipeline in a tree takes the head of one of the project's "
                    "targets, such as target.head"
                )
            case op:
                return self._combined(op, node, inputs)

    def _about_target(self, node: _Node) -> Term[object]:
        target = Target.parse(self.project, node.target)
        title = "" if node.own else f"{self.project}:{target.short}"
        match node.op:
            case "head":
                return head_as(target, title)
            case "source":
                return source(target, title)
            case _ if node.text.strip("/ "):
                return Term(CiStatus(target, node.text, node.success))
            case op:
                raise _nonsense(f"{op!r} is not a whole operation")

    def _combined(self, op: str, node: _Node, inputs: tuple[Term[object], ...]) -> Term[object]:
        match op:
            case "stage" if node.spec is not None:
                return Term(RunStage(node.spec), inputs)
            case "join" if len(node.names) == len(inputs) and "" not in node.names[1:]:
                check_paths("join", "paths", [name for name in node.names if name])
                return Term(Join(node.names), inputs)
            case "wait" if len(node.names) == len(inputs):
                return Term(Wait(node.names, node.pending, node.failed), inputs)
            case "named":
                return Term(Map(Named(node.names), "cells"), inputs)
            case "known" if node.text in _FUNCTIONS:
                return Term(Map(_FUNCTIONS[node.text], node.text), inputs)
            case op if op in _PLAIN:
                return Term(_PLAIN[op](), inputs)
            case _:
                raise _nonsense(f"{op!r} is no operation, or not a whole one")


def _is_head(term: Term[object]) -> bool:
    """Whether a term is the head of a target, perhaps behind a gate: no commit of any origin."""
    while isinstance(term.operation, Gate | WithoutLogs):
        term = term.inputs[0]
    return isinstance(term.operation, Head) and isinstance(term.operation.need, TargetHead)
