"""Advice: what is probably a mistake in a pipeline, although nothing forbids it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from datakit_ci.conditions import Sandbox
from datakit_ci.graph import Graph, Node
from datakit_ci.operation import Gate, RunStage, Source, WithoutLogs
from datakit_ci.sandbox import sandbox_problem
from datakit_ci.spec import StageSpec

__all__ = ["missing_inputs", "missing_sandbox"]


def missing_inputs(graph: Graph, root: Path) -> Iterator[str]:
    """The inputs of stages that are not there in the working tree ``root``.

    Such a path may come later, or be there in another branch; more often it is misspelled, and
    the stage would never run again for what it means.
    """
    nodes = {node.id: node for node in graph.nodes}
    for node in graph.nodes:
        if isinstance(node.operation, RunStage) and _is_given_source(nodes, node):
            for path in node.operation.spec.inputs or ():
                if not (root / path).exists() and not (root / path).is_symlink():
                    yield f"stage {node.operation.spec.name}: there is no {path} in {root}"


def missing_sandbox(specs: list[StageSpec]) -> Iterator[str]:
    """Why stages that must have a sandbox could not run on this machine."""
    names = [spec.name for spec in specs if spec.conditions.sandbox is Sandbox.YES]
    if names and (problem := sandbox_problem()):
        yield f"{', '.join(dict.fromkeys(names))}: cannot be run in a sandbox here: {problem}"


def _is_given_source(nodes: dict[str, Node], node: Node) -> bool:
    given = nodes[node.inputs[0]]
    while isinstance(given.operation, Gate | WithoutLogs):
        given = nodes[given.inputs[0]]
    return isinstance(given.operation, Source)
