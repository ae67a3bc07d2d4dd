"""A target's graph as files of its history, so that it can be drawn as it was.

``graph/shape`` says what the nodes are, and in which order the pipeline names its jobs;
``graph/states`` where the nodes stand, in the same order. The shape is apart since it is the same
in all commits of a pipeline, and Git keeps equal files once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from datakit_ci.canonical import JsonValue, canonical_json
from datakit_ci.state import BuildId, GraphNode, Status
from datakit_core.errors import StoreError

__all__ = ["PICTURE", "Picture", "picture_files", "read_picture"]

_SHAPE, _STATES = PICTURE = ("graph/shape", "graph/states")
"""The paths of the files."""

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Picture:
    """A target's graph.

    Attributes:
        nodes: In topological order.
        jobs: The names of the jobs in the pipeline's order.
    """

    nodes: tuple[GraphNode, ...]
    jobs: tuple[str, ...]


def picture_files(graph: Sequence[GraphNode], jobs: Sequence[str]) -> Mapping[str, bytes]:
    """The files of a graph by their paths; none if there is nothing to draw."""
    if not graph:
        return {}
    shape = [
        {
            "id": node.id,
            "label": node.label,
            "kind": node.kind,
            "inputs": list(node.inputs),
            "jobs": list(node.jobs),
        }
        for node in graph
    ]
    return {
        _SHAPE: canonical_json({"version": _VERSION, "jobs": list(jobs), "nodes": shape}),
        _STATES: canonical_json({"version": _VERSION, "nodes": list(map(_state, graph))}),
    }


def _state(node: GraphNode) -> Mapping[str, JsonValue]:
    said = {"reason": node.reason} if node.reason else {}
    build = node.build
    built = (
        {} if build is None else {"build": [build.project, build.stage, build.static, build.key]}
    )
    return {"status": node.status.value, **said, **built}


def read_picture(shape: bytes, states: bytes) -> Picture:
    """What :func:`picture_files` has written.

    Raises:
        StoreError: The files are damaged, or of another version.
    """
    try:
        (nodes, jobs), (standing, _) = _nodes(shape), _nodes(states)
        if len(nodes) != len(standing):
            raise StoreError("damaged graph: its two files are of different graphs")
        drawn = tuple(_node(*pair) for pair in zip(nodes, standing, strict=True))
        return Picture(drawn, tuple(map(str, jobs)))
    except ValueError as error:
        raise StoreError(f"damaged graph: {error}") from error


def _nodes(content: bytes) -> tuple[Sequence[object], Sequence[object]]:
    """The nodes in a file, and the jobs if it has them."""
    match json.loads(content):
        case {"version": 1, "nodes": [*nodes], "jobs": [*jobs]}:
            return nodes, jobs
        case {"version": 1, "nodes": [*nodes]}:
            return nodes, ()
        case _:
            raise StoreError("damaged graph, or of a later version")


def _node(shape: object, state: object) -> GraphNode:
    match shape, state:
        case (
            {
                "id": str(id_),
                "label": str(label),
                "kind": str(kind),
                "inputs": [*inputs],
                "jobs": [*jobs],
            },
            {"status": str(status), **rest},
        ):
            return GraphNode(
                id_,
                label,
                kind,
                Status(status),
                str(rest.get("reason", "")),
                tuple(map(str, inputs)),
                _build(rest.get("build")),
                tuple(map(str, jobs)),
            )
        case _:
            raise StoreError("damaged graph: a field is missing")


def _build(parts: object) -> BuildId | None:
    match parts:
        case [str(project), str(stage), str(static), str(key)]:
            return BuildId(project, stage, static, key)
        case _:
            return None
