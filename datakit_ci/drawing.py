"""Drawing: how cells look to people, and which builds are behind one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from datakit_ci.cells import Cell, Cells
from datakit_ci.operation import WithoutLogs
from datakit_ci.result import Failed, Pending
from datakit_ci.state import BuildId, GraphNode, Status

__all__ = ["builds_behind", "drawn"]


def drawn(cells: Cells, jobs: Mapping[str, str]) -> tuple[GraphNode, ...]:
    """Every node, inputs first; one that looks as it did is the same object as before.

    Args:
        cells: What the nodes have come to.
        jobs: The id of the node that each job is.
    """
    named = defaultdict[str, tuple[str, ...]](tuple)
    for job, root in jobs.items():
        named[root] += (job,)
    return tuple(_draw(cells, cells[id_], named) for id_ in cells.order)


def builds_behind(cells: Cells, root: str) -> tuple[BuildId, ...]:
    """The builds that the node ``root`` was made of, each once, inputs first."""
    seen: set[str] = set()
    named: dict[BuildId, None] = {}
    steps = [(root, False)]
    while steps:
        id_, inputs_done = steps.pop()
        cell = cells[id_]
        if inputs_done and cell.build is not None:
            named[cell.build] = None
        elif not inputs_done and id_ not in seen:
            seen.add(id_)
            steps.append((id_, True))
            if not isinstance(cell.node.operation, WithoutLogs):
                steps.extend((part, False) for part in reversed(cell.inputs))
    return tuple(named)


def _draw(cells: Cells, cell: Cell, jobs: Mapping[str, tuple[str, ...]]) -> GraphNode:
    if cell.drawn is None:
        node = cell.node
        status, reason = _standing(cells, cell)
        cell.drawn = GraphNode(
            id=node.id,
            label=node.operation.label,
            kind=node.operation.kind,
            status=status,
            reason=reason,
            inputs=cell.inputs,
            build=cell.build,
            jobs=jobs.get(node.id, ()),
        )
    return cell.drawn


def _standing(cells: Cells, cell: Cell) -> tuple[Status, str]:
    """Where a node stands; what comes from another node is blocked by it or waits for it."""
    match cell.result:
        case Pending() | Failed() as result if result.node != cell.node.id:
            behind = result.behind(cells.label(result.node))
            return behind.status, behind.reason
        case Pending() | Failed() as result:
            return result.status, result.reason
        case _:
            note = cell.note
            return (Status.SUCCESS, "") if note is None else (note.status, note.reason)
