"""Cells: the nodes of a graph with what they have come to, and who has to be told of it.

The memory of a kept evaluation (:mod:`datakit_ci.evaluate`). It knows which node uses which, which
needs each has looked up, and which nodes a value has added below a *bind* (its *part*). It decides
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from datakit_ci.graph import Graph, GraphBuilder, Node
from datakit_ci.need import Build, Need
from datakit_ci.operation import Bind
from datakit_ci.result import Pending, Result
from datakit_ci.state import BuildId, GraphNode
from datakit_ci.term import Term
from datakit_core.client.api import TreeId

__all__ = ["Cell", "Cells"]


@dataclass(slots=True)
class Cell:
    """One node, and what it has come to.

    Attributes:
        node: The node.
        place: Its place in the static graph; -1 for what a value has added.
        result: None before it was first looked at.
        part: For a bind whose value is known: the root of what that has added.
        asked: The needs that were looked up for it.
        given: For a stage that asks for a build: its input. The build may be that for an earlier
            input, where the stage could not tell the one from the other.
        build: Its build, for a stage whose build is known.
        note: What is still going on, although there is a result.
        users: The nodes that use its result.
        drawn: How it was last drawn, if it still looks so.
    """

    node: Node
    place: int = -1
    result: Result[object] | None = None
    part: str = ""
    asked: tuple[Need[Any], ...] = ()
    given: TreeId | None = None
    build: BuildId | None = None
    note: Pending | None = None
    users: list[str] = field(default_factory=list)
    drawn: GraphNode | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """The nodes that its result was made of."""
        return (*self.node.inputs, self.part) if self.part else self.node.inputs

    @property
    def wanted(self) -> Build | None:
        """The build that a stage asks for; none if it asks for none."""
        for need in self.asked:
            if isinstance(need, Build):
                return need
        return None


@dataclass(slots=True)
class _Scope:
    """What a bind has added.

    Attributes:
        builder: Made it; the binds in it make theirs inside of it.
        depth: How many binds it is in.
        ids: Its nodes.
    """

    builder: GraphBuilder
    depth: int
    ids: list[str]


class Cells:
    """All cells of one target's graph.

    Attributes:
        relabelled: Whether a node was replaced by one that has its id and another label. What was
            said of the old one elsewhere is then not true any more.
    """

    def __init__(self, graph: Graph) -> None:
        """Make the cells of the static graph; none has a result."""
        self.relabelled = False
        self._graph = graph
        self._cells = {node.id: Cell(node, place) for place, node in enumerate(graph.nodes)}
        self._scopes: dict[str, _Scope] = {}
        self._home: dict[str, _Scope] = {}
        self._askers: dict[Need[Any], tuple[str, ...]] = {}
        self._order: tuple[str, ...] | None = None
        for node in graph.nodes:
            self._use(node)

    def __contains__(self, id_: str) -> bool:
        return id_ in self._cells

    def __getitem__(self, id_: str) -> Cell:
        return self._cells[id_]

    def __len__(self) -> int:
        return len(self._cells)

    @property
    def ids(self) -> Iterable[str]:
        """The ids of all nodes."""
        return self._cells.keys()

    @property
    def asked(self) -> Iterable[Need[Any]]:
        """Every need that some node has looked up."""
        return self._askers.keys()

    def is_asked(self, need: Need[Any]) -> bool:
        """Whether some node has looked ``need`` up."""
        return need in self._askers

    def askers(self, need: Need[Any]) -> tuple[str, ...]:
        """The nodes that have looked ``need`` up."""
        return self._askers.get(need, ())

    def label(self, id_: str) -> str:
        """What to call a node in a reason."""
        return self._cells[id_].node.operation.label

    def ask(self, cell: Cell, needs: Iterable[Need[Any]]) -> None:
        """``cell`` looks ``needs`` up, and nothing else any more."""
        asked = tuple(dict.fromkeys(needs))
        if asked == cell.asked:
            return
        self._unask(cell)
        cell.asked = asked
        for need in asked:
            self._askers[need] = (*self._askers.get(need, ()), cell.node.id)

    def depth(self, bind: str) -> int:
        """How many binds made the part that ``bind`` is in."""
        home = self._home.get(bind)
        return 0 if home is None else home.depth

    def extend(self, cell: Cell, term: Term[object]) -> list[str]:
        """Put ``term`` below the bind ``cell`` as its part; returns the ids that are new."""
        bind = cell.node
        home = self._home.get(bind.id)
        outer = self._graph.builder if home is None else home.builder
        inner = outer.inner(f"{bind.id}/")
        added: list[Node] = []
        cell.part = inner.add(term, added, job=bind.job)
        cell.drawn = None
        scope = _Scope(inner, self.depth(bind.id) + 1, [node.id for node in added])
        self._scopes[bind.id] = scope
        for node in added:
            self._cells[node.id] = Cell(node)
            if isinstance(node.operation, Bind):
                self._home[node.id] = scope
            self._use(node)
        self._cells[cell.part].users.append(bind.id)
        self._order = None
        return scope.ids

    def cut(self, cell: Cell) -> list[Cell]:
        """Take the bind ``cell``'s part away, and what is below that; returns its cells."""
        removed: list[Cell] = []
        binds = [cell]
        while binds:
            bind = binds.pop()
            if bind.part in self._cells:
                self._cells[bind.part].users.remove(bind.node.id)
                self._order = None
            bind.part, bind.drawn = "", None
            scope = self._scopes.pop(bind.node.id, None)
            if scope is not None:
                below = [self._cells[id_] for id_ in scope.ids]
                removed += below
                binds += [each for each in below if isinstance(each.node.operation, Bind)]
        for each in removed:
            self._remove(each)
        return removed

    def compare_labels(self, removed: Iterable[Cell]) -> None:
        """Note whether nodes that were ``removed`` are there again under other labels."""
        for old in removed:
            new = self._cells.get(old.node.id)
            if new is not None and new.node.operation.label != old.node.operation.label:
                self.relabelled = True

    @property
    def order(self) -> tuple[str, ...]:
        """All ids, each after those that it was made of."""
        if self._order is None:
            self._order = tuple(self._ordered())
        return self._order

    def _use(self, node: Node) -> None:
        for id_ in dict.fromkeys(node.inputs):
            self._cells[id_].users.append(node.id)

    def _unask(self, cell: Cell) -> None:
        for need in cell.asked:
            rest = tuple(asker for asker in self._askers[need] if asker != cell.node.id)
            if rest:
                self._askers[need] = rest
            else:
                del self._askers[need]

    def _remove(self, cell: Cell) -> None:
        node = cell.node
        self._unask(cell)
        del self._cells[node.id]
        self._home.pop(node.id, None)
        for id_ in dict.fromkeys(node.inputs):
            if id_ in self._cells:
                self._cells[id_].users.remove(node.id)

    def _ordered(self) -> Iterator[str]:
        seen: set[str] = set()
        steps = [(node.id, False) for node in reversed(self._graph.nodes)]
        while steps:
            id_, inputs_done = steps.pop()
            if inputs_done:
                yield id_
            elif id_ not in seen:
                seen.add(id_)
                steps.append((id_, True))
                steps.extend((part, False) for part in reversed(self._cells[id_].inputs))
