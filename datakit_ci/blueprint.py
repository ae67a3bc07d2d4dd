"""Blueprints: the graph of a target's jobs as JSON, from the process that has imported a pipeline.

A pipeline from a tree is never imported by the engine. A process of its own calls its ``jobs`` and
writes down what that returns; the engine makes terms of this again. So what crosses over is data:
no functions, which only that process could call, and nothing of the database but the project's
own targets. Whoever wrote the pipeline may have written the JSON as well, so all of it is checked
again by the rules for what a pipeline's author writes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from pydantic import JsonValue as AnyJson
from pydantic import TypeAdapter, ValidationError

from datakit_ci.canonical import JsonValue, canonical_json
from datakit_ci.conditions import Conditions, Sandbox
from datakit_ci.graph import Graph
from datakit_ci.moments import Schedule
from datakit_ci.need import TargetHead
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
from datakit_ci.options import check_conditions, check_options, check_paths
from datakit_ci.policy import Policy
from datakit_ci.policy_options import check_policy
from datakit_ci.spec import StageKind, StageSpec
from datakit_ci.target import Target
from datakit_ci.term import Term, head_as, source
from datakit_core.errors import ConfigError

__all__ = ["LONGEST", "MOST_NODES", "decode", "encode"]

MOST_NODES = 5_000
"""Of the graph of one target. One that a value makes larger is not possible here."""

LONGEST = 4_000_000
"""Bytes of the JSON of one target's graph."""

_VERSION = 1
_FINGERPRINT = re.compile(r"[0-9a-f]{64}\Z")

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

_MANY = MOST_NODES
_INPUTS: Mapping[str, tuple[int, int]] = {
    "all": (0, _MANY),
    "catch": (1, 1),
    "gate": (1, _MANY),
    "join": (1, _MANY),
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
            {"inputs": [places[id_] for id_ in node.inputs], **_written(node.operation, project)}
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


def decode(data: bytes, project: str, origin: str) -> Mapping[str, Term[object]]:
    """The jobs that :func:`encode` has written, or somebody else.

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
    terms: list[Term[object]] = []
    for node in document.nodes:
        inputs = tuple(_at(terms, place) for place in node.inputs)
        least, most = _INPUTS.get(node.op, (0, 0))
        if not least <= len(inputs) <= most:
            raise _nonsense(f"{node.op} has {len(inputs)} inputs")
        terms.append(_read(node, inputs, project, origin))
    return {job: _at(terms, place) for job, place in document.jobs}


def _at(terms: Sequence[Term[object]], place: int) -> Term[object]:
    if not 0 <= place < len(terms):
        raise _nonsense(f"there is no node {place}")
    return terms[place]


def _nonsense(what: str) -> ConfigError:
    return ConfigError(f"the pipeline's process wrote what is no graph: {what}")


def _written(operation: Operation, project: str) -> dict[str, JsonValue]:
    """One operation as JSON; raises ``ConfigError`` for what has to stay where it is."""
    match operation:
        case Value(value=value):
            return {"op": "value", "value": _plain(value)}
        case Fail(reason=reason):
            return {"op": "fail", "text": reason}
        case Stuck(reason=reason):
            return {"op": "pending", "text": reason}
        case Head(need=TargetHead()) | Source() | CiStatus():
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


def _about_target(operation: Head | Source | CiStatus, project: str) -> dict[str, JsonValue]:
    match operation:
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
    remedy = "such a pipeline belongs into the service's own: Project(ID, jobs)"
    if isinstance(operation, Map | Bind):
        return ConfigError(
            f"{operation.kind} {operation.label} calls a function of the pipeline inside the "
            "engine, which a pipeline in a tree cannot (nor map_list, ci_status, is_after, or "
            f"a matrix as one term): use a Python stage; or {remedy}"
        )
    return ConfigError(
        f"{operation.kind} {operation.label} is not the project's own, and a pipeline in a tree "
        f"can name nothing else: {remedy}"
    )


def _own(target: Target, project: str) -> str:
    if target.project != project:
        raise ConfigError(
            f"{target.path} is another project's, which a pipeline in a tree cannot name"
        )
    return target.short


def _plain(value: object) -> JsonValue:
    """A value that comes back unchanged from JSON; a tuple would not."""
    match value:
        case None | bool() | int() | str():
            return value
        case float() if value - value == 0:
            return value
        case list():
            return [_plain(item) for item in value]
        case dict() if all(isinstance(key, str) for key in value):
            return {key: _plain(item) for key, item in value.items()}
        case _:
            raise ConfigError(
                f"return_({value!r}): a pipeline in a tree can give the engine only what JSON can "
                "say: numbers, texts, lists and dictionaries with text keys"
            )


def _read(node: _Node, inputs: tuple[Term[object], ...], project: str, origin: str) -> Term[object]:
    """The term of one node."""
    match node.op:
        case "value":
            return Term(Value(node.value))
        case "fail" if node.text.strip():
            return Term(Fail(node.text))
        case "pending" if node.text.strip():
            return Term(Stuck(node.text))
        case "head":
            target = Target.parse(project, node.target)
            return head_as(target, "" if node.own else f"{project}:{target.short}")
        case "source":
            target = Target.parse(project, node.target)
            return source(target, "" if node.own else f"{project}:{target.short}")
        case "ci-status" if node.text.strip("/ "):
            target = Target.parse(project, node.target)
            return Term(CiStatus(target, node.text, node.success))
        case "every":
            return Term(Every(Schedule(node.text).text))
        case "stage" if node.spec is not None:
            return Term(RunStage(_checked(node.spec, origin)), inputs)
        case "join" if len(node.names) == len(inputs) and "" not in node.names[1:]:
            rest = [name for name in node.names if name]
            check_paths("join", "paths", rest)
            return Term(Join(node.names), inputs)
        case "wait" if len(node.names) == len(inputs):
            return Term(Wait(node.names, node.pending, node.failed), inputs)
        case op if op in _PLAIN:
            return Term(_PLAIN[op](), inputs)
        case op:
            raise _nonsense(f"{op!r} is no operation, or not a whole one")


def _checked(spec: StageSpec, origin: str) -> StageSpec:
    """``spec`` as ``shell`` or ``@stage`` would have made it, and of this pipeline."""
    is_command = spec.kind is StageKind.SHELL
    if spec.kind is StageKind.PIPELINE or spec.image or spec.tools:
        raise _nonsense(f"stage {spec.name} is of a kind that nobody can write")
    if not _FINGERPRINT.match(spec.fingerprint) or not spec.command.strip():
        raise _nonsense(f"stage {spec.name} has no fingerprint, or no command")
    if not isinstance(spec.arguments, dict):
        raise _nonsense(f"the parameters of stage {spec.name} are no object")
    options = check_options(
        spec.name, spec.inputs, dict(spec.env), spec.timeout, spec.pool, version=None
    )
    return replace(
        spec,
        inputs=options.inputs,
        env=options.env,
        timeout=options.timeout,
        outputs=check_paths(spec.name, "outputs", spec.outputs),
        reports=check_paths(spec.name, "reports", spec.reports),
        conditions=_checked_conditions(spec.name, spec.conditions),
        policy=_checked_policy(spec.name, spec.policy),
        origin="" if is_command else origin,
    )


def _checked_conditions(name: str, given: Conditions) -> Conditions:
    sandbox = {Sandbox.NO: False, Sandbox.YES: True}.get(given.sandbox, "auto")
    return check_conditions(
        name,
        {
            "secrets": dict(given.secrets),
            "sandbox": cast("bool", sandbox),
            "network": given.network,
            "processes": given.processes,
            "locks": given.locks,
            "priority": given.priority,
            "facts": given.facts,
            "log_limit": given.log_limit,
            "output_limit": given.output_limit,
            **({"memory": given.memory} if given.memory else {}),
        },
    )


def _checked_policy(name: str, given: Policy) -> Policy:
    return check_policy(
        name,
        {
            "latched": given.latched,
            "auto_cancel": given.auto_cancel,
            "retry": given.retry,
            "transient": given.transient,
            "level": given.level,
            **({"every": given.every} if given.every else {}),
            **({"valid_for": given.valid_for} if given.valid_for else {}),
        },
    )
