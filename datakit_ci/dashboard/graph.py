"""Where to draw the nodes of a pipeline: a layered layout, left to right, in plain numbers.

The usual four steps (Sugiyama, Tagawa and Toda, 1981), each small: a node's column is the
longest path to it; edges that cross columns get a place of their own in each, so that they do
not run below other nodes; a few sweeps order every column by its neighbours; then rows are
pulled straight. What leads to a failure comes first in every column, so that the failing path
is the top of the picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from datakit_ci.dashboard.wording import cell_label
from datakit_ci.state import GraphNode, Status

__all__ = ["Drawing", "Edge", "Glyph", "Placed", "depths", "glyph", "layout"]

_HEIGHT, _LOW, _ROW_GAP, _COLUMN_GAP, _MARGIN = 40, 28, 14, 72, 12
"""Height of a node, and of one that only connects others; gaps; room around it all."""

_MAIN_KINDS = frozenset({"group", "head", "source", "stage"})
"""What people look for; everything else (gates, joins...) is how these hang together."""

_LANE = 12
"""Height of the lane that an edge gets where it passes a column."""

_CHARACTER, _PADDING, _NARROWEST, _LONGEST = 7.6, 52, 96, 26
"""Width per character, room for icon and padding, narrowest node, longest label (characters)."""

_SIGHT = 320
"""How far below the top a column begins at most: a phone shows as much of a tall picture."""

_MAX_LANES = 3000
"""With more lanes than this, long edges are drawn straight: nobody could follow them anyway."""

_SWEEPS = 6

_BAD = frozenset({Status.FAILURE, Status.ERROR})


@dataclass(frozen=True, slots=True)
class Placed:
    """A node with its place; ``x`` and ``y`` are its top left corner, in pixels."""

    node: GraphNode
    label: str
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Edge:
    """A line from one node to another, as the data of an SVG path.

    Attributes:
        path: ``M`` and ``C`` commands.
        state: What has come of it: ``done``, ``running``, ``bad``, ``ahead`` or ``idle``.
    """

    path: str
    state: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture of a pipeline, ``width`` by ``height`` pixels."""

    width: int
    height: int
    nodes: tuple[Placed, ...]
    edges: tuple[Edge, ...]


@dataclass(frozen=True, slots=True)
class Glyph:
    """The same picture, as dots on a line of text: ``dots`` are x, y and state."""

    width: int
    height: int
    dots: tuple[tuple[float, float, Status], ...]
    lines: tuple[tuple[float, float, float, float], ...]


@dataclass(slots=True)
class _Cell:
    """A node, or the lane of an edge (then without node), within a column."""

    column: int
    rank: int
    node: GraphNode | None = None
    before: list[_Cell] = field(default_factory=list)
    after: list[_Cell] = field(default_factory=list)
    y: float = 0.0

    @property
    def height(self) -> int:
        if self.node is None:
            return _LANE
        return _HEIGHT if self.node.kind in _MAIN_KINDS else _LOW

    @property
    def middle(self) -> float:
        return self.y + self.height / 2


def layout(nodes: Sequence[GraphNode]) -> Drawing:
    """Place ``nodes``, which are in topological order; unknown inputs are ignored."""
    if not nodes:
        return Drawing(0, 0, (), ())
    columns, cells = _arrange(nodes)
    for column in columns:
        _stack(column)
    _straighten(columns)
    _raise(columns)
    lefts, widths = _horizontal(columns)
    placed = tuple(
        Placed(
            node,
            _clip(cell_label(node.label)),
            lefts[cell.column],
            round(cell.y) + _MARGIN,
            widths[cell.column],
            cell.height,
        )
        for node, cell in ((node, cells[node.id]) for node in nodes)
    )
    edges = tuple(_edges(nodes, cells, lefts, widths))
    lowest = max(round(cell.y) + cell.height for column in columns for cell in column)  # lanes, too
    return Drawing(lefts[-1] + widths[-1] + _MARGIN, lowest + 2 * _MARGIN, placed, edges)


def glyph(nodes: Sequence[GraphNode], most: int = 40) -> Glyph | None:
    """The shape of a pipeline, small; none if it has no shape or more than ``most`` nodes."""
    if not 1 < len(nodes) <= most:
        return None
    columns, cells = _arrange(nodes)
    places: dict[str, tuple[float, float]] = {}
    tallest = max(sum(1 for cell in column if cell.node) for column in columns)
    for index, column in enumerate(columns):
        here = [cell.node for cell in column if cell.node]
        offset = (tallest - len(here)) / 2
        for row, node in enumerate(here):
            places[node.id] = (7.0 + 18 * index, 7.0 + 11 * (row + offset))
    lines = tuple(
        (*places[source], *places[node.id])
        for node in nodes for source in node.inputs if source in cells
    )  # fmt: skip
    dots = tuple((*places[node.id], node.status) for node in nodes)
    return Glyph(18 * len(columns) - 4, 11 * tallest + 3, dots, lines)


def _arrange(nodes: Sequence[GraphNode]) -> tuple[list[list[_Cell]], dict[str, _Cell]]:
    """Columns of cells in their final order, and each node's cell."""
    depth = depths(nodes)
    ranks = _ranks(nodes)
    cells = {node.id: _Cell(depth[node.id], ranks[node.id], node) for node in nodes}
    columns: list[list[_Cell]] = [[] for _ in range(max(depth.values()) + 1)]
    for cell in cells.values():
        columns[cell.column].append(cell)
    _connect(nodes, cells, columns)
    _order(columns)
    return columns, cells


def depths(nodes: Sequence[GraphNode]) -> dict[str, int]:
    """How many nodes the longest way to each node has before it; inputs come first."""
    depth: dict[str, int] = {}
    for node in nodes:
        depth[node.id] = 1 + max((depth[i] for i in node.inputs if i in depth), default=-1)
    return depth


def _ranks(nodes: Sequence[GraphNode]) -> dict[str, int]:
    """0 for what failed or leads to a failure, 1 for what a failure blocks, 2 for the rest."""
    ranks = {node.id: 0 if node.status in _BAD else 2 for node in nodes}
    for node in reversed(nodes):
        if ranks[node.id] == 0:
            ranks.update((source, 0) for source in node.inputs if source in ranks)
    for node in nodes:
        if node.status is Status.BLOCKED:
            ranks[node.id] = min(ranks[node.id], 1)
    return ranks


def _connect(
    nodes: Sequence[GraphNode], cells: Mapping[str, _Cell], columns: list[list[_Cell]]
) -> None:
    lanes = 0
    for node in nodes:
        end = cells[node.id]
        for source in dict.fromkeys(node.inputs):
            if source not in cells:
                continue
            previous = cells[source]
            span = end.column - previous.column - 1
            lanes += span
            for column in range(previous.column + 1, end.column) if lanes <= _MAX_LANES else ():
                lane = _Cell(column, max(previous.rank, end.rank))
                columns[column].append(lane)
                _link(previous, lane)
                previous = lane
            _link(previous, end)


def _link(one: _Cell, other: _Cell) -> None:
    one.after.append(other)
    other.before.append(one)


def _order(columns: list[list[_Cell]]) -> None:
    """Sort each column by where its neighbours are, from left and from right in turns."""
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        for column in columns if forward else reversed(columns):
            place = {
                id(cell): _mean(
                    [other.y for other in (cell.before if forward else cell.after)], cell.y
                )
                for cell in column
            }
            column.sort(key=lambda cell, place=place: (cell.rank, place[id(cell)]))  # type: ignore[misc]
            for row, cell in enumerate(column):
                cell.y = row / len(column)


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _stack(column: list[_Cell]) -> None:
    y = 0.0
    for cell in column:
        cell.y = y
        y += cell.height + _ROW_GAP


def _straighten(columns: list[list[_Cell]]) -> None:
    """Pull cells towards their neighbours' middle, without changing the order or overlapping."""
    for sweep in range(_SWEEPS):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            wanted = [
                _mean([other.middle for other in cell.before + cell.after], cell.middle)
                - cell.height / 2
                for cell in column
            ]
            _settle(column, wanted)
    top = min(cell.y for column in columns for cell in column)
    for column in columns:
        for cell in column:
            cell.y -= top


def _raise(columns: list[list[_Cell]]) -> None:
    """Have each column begin in sight.

    What is in the middle of a picture that is taller than a window would leave nothing but blank
    space to begin with: the one source of dozens of stages, say.
    """
    for column in columns:
        excess = min(cell.y for cell in column) - _SIGHT
        if excess > 0:
            for cell in column:
                cell.y -= excess


def _settle(column: list[_Cell], wanted: list[float]) -> None:
    """Move cells as near as possible to where they want to be.

    Neighbours that would overlap form a block, which moves as one to the mean of its wishes.
    """
    blocks: list[tuple[list[_Cell], float, float]] = []  # cells, start, height
    for cell, wish in zip(column, wanted, strict=True):
        members, start, height = [cell], wish, cell.height + float(_ROW_GAP)
        while blocks and blocks[-1][1] + blocks[-1][2] > start:
            above, their_start, their_height = blocks.pop()
            weight = len(above) / (len(above) + len(members))
            start = their_start * weight + (start - their_height) * (1 - weight)
            members, height = above + members, their_height + height
        blocks.append((members, start, height))
    for members, start, _ in blocks:
        y = start
        for cell in members:
            cell.y = y
            y += cell.height + _ROW_GAP


def _horizontal(columns: Sequence[Sequence[_Cell]]) -> tuple[list[int], list[int]]:
    """The left edge and the width of each column."""
    lefts, widths, x = [], [], _MARGIN
    for column in columns:
        longest = max(
            (len(_clip(cell_label(cell.node.label))) for cell in column if cell.node), default=0
        )
        widths.append(max(_NARROWEST, round(longest * _CHARACTER) + _PADDING))
        lefts.append(x)
        x += widths[-1] + _COLUMN_GAP
    return lefts, widths


def _clip(label: str) -> str:
    return label if len(label) <= _LONGEST else label[: _LONGEST - 1] + "…"


def _edges(
    nodes: Sequence[GraphNode],
    cells: Mapping[str, _Cell],
    lefts: Sequence[int],
    widths: Sequence[int],
) -> list[Edge]:
    """A path for every edge, the failing ones last, so that they are drawn over the others."""
    routes = _routes(nodes, cells)
    edges = []
    for source, target, lanes in routes:
        first, last = cells[source.id], cells[target.id]
        x, y = lefts[first.column] + widths[first.column], round(first.middle) + _MARGIN
        path = [f"M{x} {y}"]
        for cell in [*lanes, last]:
            left, middle = lefts[cell.column], round(cell.middle) + _MARGIN
            bend = min(28, (left - x) // 2)
            path.append(f"C{x + bend} {y} {left - bend} {middle} {left} {middle}")
            x, y = left + widths[cell.column], middle
            if cell is not last:
                path.append(f"H{x}")
        edges.append(Edge("".join(path), _edge_state(source, target)))
    return sorted(
        edges, key=lambda edge: ("idle", "ahead", "done", "running", "bad").index(edge.state)
    )


def _routes(
    nodes: Sequence[GraphNode], cells: Mapping[str, _Cell]
) -> list[tuple[GraphNode, GraphNode, list[_Cell]]]:
    found = []
    for node in nodes:
        for cell in cells[node.id].before:
            lanes: list[_Cell] = []
            step = cell
            while step.node is None:
                lanes.insert(0, step)
                step = step.before[0]
            found.append((step.node, node, lanes))
    return found


def _edge_state(source: GraphNode, target: GraphNode) -> str:
    if source.status in _BAD or source.status is Status.BLOCKED or target.status in _BAD:
        return "bad"
    if target.status is Status.RUNNING:
        return "running"
    if source.status is not Status.SUCCESS:
        return "idle"
    return "done" if target.status.is_final else "ahead"
