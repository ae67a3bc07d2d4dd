"""Outlines: a target's pipeline as text, before anything has run.

Each node of the graph is drawn once, below the input that comes last; what else it needs is said
beside it. A gate is not drawn: what passes through it is said to come *after* its conditions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.text import Text
from rich.tree import Tree as Drawing

from datakit_ci.graph import Graph, Node
from datakit_ci.operation import Bind, Gate, RunStage, WithoutLogs
from datakit_ci.policy import Level
from datakit_ci.spec import DEFAULT_POOL, DEFAULT_TIMEOUT, StageKind, StageSpec

__all__ = ["outline"]

_COMMAND_WIDTH = 200


@dataclass(slots=True)
class _Needs:
    """What a node is given, and what has to have succeeded before."""

    given: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)


def outline(graph: Graph, title: str) -> Drawing:
    """Draw ``graph`` below ``title``."""
    nodes = {node.id: node for node in graph.nodes}
    order = {node.id: number for number, node in enumerate(graph.nodes)}
    jobs: dict[str, list[str]] = {}
    for job, root in graph.jobs.items():
        jobs.setdefault(_through(nodes, root), []).append(job)
    drawing = Drawing(Text(title, style="bold"))
    drawn: dict[str, Drawing] = {}
    for node in graph.nodes:
        if _is_transparent(node):
            continue
        needs = _needs(nodes, node)
        parent = max((*needs.given, *needs.after), key=order.__getitem__, default=None)
        below = drawing if parent is None else drawn[parent]
        text = _described(nodes, node, needs, parent, jobs.get(node.id, ()))
        drawn[node.id] = below.add(text)
    return drawing


def _is_transparent(node: Node) -> bool:
    return isinstance(node.operation, Gate | WithoutLogs)


def _through(nodes: dict[str, Node], id_: str) -> str:
    """The node whose value this one has: itself, unless it only lets another's through."""
    while _is_transparent(nodes[id_]):
        id_ = nodes[id_].inputs[0]
    return id_


def _needs(nodes: dict[str, Node], node: Node) -> _Needs:
    needs = _Needs()
    for input_ in node.inputs:
        needs.given.append(_through(nodes, input_))
        needs.after.extend(_conditions(nodes, input_))
    needs.after = [id_ for id_ in dict.fromkeys(needs.after) if id_ not in needs.given]
    return needs


def _conditions(nodes: dict[str, Node], id_: str) -> Iterator[str]:
    """What the gates between ``id_`` and its value wait for."""
    while _is_transparent(node := nodes[id_]):
        for condition in node.inputs[1:]:
            yield _through(nodes, condition)
            yield from _conditions(nodes, condition)
        id_ = node.inputs[0]


def _described(
    nodes: dict[str, Node], node: Node, needs: _Needs, parent: str | None, jobs: Sequence[str]
) -> Text:
    label = {id_: nodes[id_].operation.label for id_ in (*needs.given, *needs.after)}
    text = Text(node.operation.label, style="bold" if isinstance(node.operation, RunStage) else "")
    if jobs:
        text.append(f"   {'job' if len(jobs) == 1 else 'jobs'} {', '.join(jobs)}", "cyan not bold")
    facts = []
    if needs.given and needs.given != [parent]:
        facts.append("given " + " and ".join(label[id_] for id_ in needs.given))
    if needs.after:
        facts.append("after " + ", ".join(label[id_] for id_ in needs.after))
    match node.operation:
        case RunStage(spec=spec):
            text.append(f"\n{_command(spec)}", "green not bold")
            facts.extend(_facts(spec))
        case Bind():
            facts.append("continues once its value is known")
        case _:
            pass
    if facts:
        text.append(f"\n{' · '.join(facts)}", "dim not bold")
    return text


def _command(spec: StageSpec) -> str:
    if spec.kind is StageKind.PYTHON:
        return f"python {spec.module}.{spec.command}" if spec.module else f"python {spec.command}"
    first, *more = spec.command.strip().splitlines()
    if len(first) > _COMMAND_WIDTH:
        first = first[: _COMMAND_WIDTH - 1] + "…"
    return f"$ {first}" + (f" … ({len(more)} more)" if more else "")


def _facts(spec: StageSpec) -> Iterator[str]:
    yield (
        "sees everything" if spec.inputs is None else f"sees {', '.join(spec.inputs) or 'nothing'}"
    )
    if spec.outputs:
        yield f"leaves {', '.join(spec.outputs)}"
    if spec.reports:
        yield f"reports {', '.join(spec.reports)}"
    if spec.env:
        yield f"sets {', '.join(name for name, _ in spec.env)}"
    if spec.timeout != DEFAULT_TIMEOUT:
        yield f"at most {_duration(spec.timeout)}"
    if spec.policy.level is not Level.HARMLESS:
        yield spec.policy.level.value.replace("_", " ")
    if spec.pool != DEFAULT_POOL:
        yield f"pool {spec.pool}"


def _duration(seconds: float) -> str:
    for unit, size in (("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"
