"""Large pipelines, made readable: the cells of a matrix are drawn as one node until asked for.

Nodes of one stage that are equally deep become one. An edge always leads to a deeper node, so what
is put together never leads back to itself. What has failed stays on its own: it is looked for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from datakit_ci.dashboard.graph import depths
from datakit_ci.state import GraphNode, Status

__all__ = ["Grouped", "grouped"]

_LARGE = 40
"""Nodes up to which nothing is put together."""

_FEWEST = 4
"""Nodes that are worth it."""

_BAD = frozenset({Status.FAILURE, Status.ERROR})

_WORST_FIRST = (
    Status.RUNNING,
    Status.WAITING,
    Status.BLOCKED,
    Status.CANCELLED,
    Status.SUCCESS,
)

_WORDS: Mapping[Status, str] = {
    Status.SUCCESS: "passed",
    Status.RUNNING: "running",
    Status.WAITING: "waiting",
    Status.BLOCKED: "blocked",
    Status.CANCELLED: "cancelled",
}


@dataclass(frozen=True, slots=True)
class Grouped:
    """A pipeline to draw.

    Attributes:
        nodes: In topological order; the kind of one that stands for several is ``group``.
        groups: For each such node its stage, by which it can be asked for.
        opened: The stages that would have been put together, but are asked for.
    """

    nodes: tuple[GraphNode, ...]
    groups: Mapping[str, str]
    opened: tuple[str, ...]


def grouped(nodes: Sequence[GraphNode], expanded: Collection[str]) -> Grouped:
    """Put together what is alike in a large pipeline, but for the stages that are ``expanded``."""
    if len(nodes) <= _LARGE:
        return Grouped(tuple(nodes), {}, ())
    found = _alike(nodes)
    opened = sorted({stage for stage, _ in found if stage in expanded})
    closed = {key: members for key, members in found.items() if key[0] not in expanded}
    names = {key: f"group-{number}" for number, key in enumerate(sorted(closed))}
    stands = {node.id: names[key] for key, members in closed.items() for node in members}
    drawn: dict[str, GraphNode] = {}
    first = {members[0].id: (key, members) for key, members in closed.items()}
    for node in sorted(nodes, key=_by_depth(nodes)):
        inputs = tuple(dict.fromkeys(stands.get(source, source) for source in node.inputs))
        if node.id not in stands:
            drawn[node.id] = replace(node, inputs=inputs)
        elif node.id in first:
            key, members = first[node.id]
            drawn[names[key]] = _together(names[key], key[0], members, stands)
    return Grouped(tuple(drawn.values()), {names[key]: key[0] for key in closed}, tuple(opened))


def _by_depth(nodes: Sequence[GraphNode]) -> Callable[[GraphNode], int]:
    deep = depths(nodes)
    return lambda node: deep[node.id]


def _alike(nodes: Sequence[GraphNode]) -> dict[tuple[str, int], list[GraphNode]]:
    """The nodes of each stage at each depth, where there are several that did not fail."""
    found = defaultdict[tuple[str, int], list[GraphNode]](list)
    deep = depths(nodes)
    for node in nodes:
        if node.kind == "stage" and node.status not in _BAD:
            found[node.label.partition("(")[0], deep[node.id]].append(node)
    return {key: members for key, members in found.items() if len(members) >= _FEWEST}


def _together(
    name: str, stage: str, members: Sequence[GraphNode], stands: Mapping[str, str]
) -> GraphNode:
    counts = Counter(node.status for node in members)
    said = [f"{counts[status]} {word}" for status, word in _WORDS.items() if counts[status]]
    inputs = (stands.get(source, source) for node in members for source in node.inputs)
    return GraphNode(
        id=name,
        label=f"{stage} \u00d7 {len(members)}",
        kind="group",
        status=next(status for status in _WORST_FIRST if counts[status]),
        reason=", ".join(said),
        inputs=tuple(dict.fromkeys(inputs)),
        jobs=tuple(job for node in members for job in node.jobs),
    )
