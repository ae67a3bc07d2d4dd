"""Evaluation: from a target's terms and what is known, to results and what must be found out.

Pure: the same graph and facts give the same evaluation. An :class:`Evaluator` is kept from one
change of the facts to the next, and looks only at the nodes that depend on what has changed; where
a node comes to the same as before, it stops. Nothing recurses, so a chain of thousands of stages,
or a failure at its start, costs no stack.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from datakit_ci.cells import Cell, Cells
from datakit_ci.combine import apply
from datakit_ci.drawing import builds_behind, drawn
from datakit_ci.graph import Graph
from datakit_ci.need import Build, Facts, Need
from datakit_ci.operation import Bind
from datakit_ci.output import Output
from datakit_ci.perform import Performer, error
from datakit_ci.result import Ok, Result
from datakit_ci.state import GraphNode, JobState
from datakit_ci.target import Target
from datakit_ci.term import Term
from datakit_ci.tree import Tree
from datakit_core.client.api import TreeId

__all__ = ["MAX_DEPTH", "MAX_NODES", "Evaluating", "Evaluation", "Evaluator", "Update", "evaluate"]

MAX_NODES = 100_000
"""A graph that grows past this by ``bind`` is taken for one that would grow for ever."""
MAX_DEPTH = 100
"""How deep ``bind`` may be nested in what another ``bind`` made."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a target's jobs have come to.

    Attributes:
        outputs: By job, in the pipeline's order.
        nodes: The graph with what values have added to it, in topological order.
        asked: Every need that was looked up, answered or not. A build that no evaluation asks for
            any more is not wanted any more.
        needs: Those of them that have no answer yet.
    """

    outputs: Mapping[str, Output[object]]
    nodes: tuple[GraphNode, ...]
    asked: frozenset[Need[Any]]
    needs: frozenset[Need[Any]]

    @property
    def jobs(self) -> tuple[JobState, ...]:
        """The state of each job, in the pipeline's order."""
        return tuple(output.job(name) for name, output in self.outputs.items())

    @property
    def builds(self) -> frozenset[Build]:
        """The builds that were asked for, answered or not."""
        return frozenset(need for need in self.asked if isinstance(need, Build))


def evaluate(jobs: Mapping[str, Term[object]] | Graph, facts: Facts, target: Target) -> Evaluation:
    """Work out ``target``'s jobs as far as ``facts`` go, from nothing.

    Args:
        jobs: Terms by job name; or their graph, which saves making it again.
        facts: What is known; not changed.
        target: Whose jobs they are; its project owns the builds.
    """
    graph = jobs if isinstance(jobs, Graph) else Graph.of(jobs)
    evaluator = Evaluator(graph, facts, target)
    evaluator.update()
    return evaluator.evaluation()


@dataclass(frozen=True, slots=True)
class _Part:
    """A step: what a value has added is done, and its root is the bind's result."""

    bind: str


@dataclass(frozen=True, slots=True)
class Update:
    """What an update has changed of what is looked up.

    Attributes:
        gained: The needs that were not looked up before, in the order of the graph.
        lost: Those that are not looked up any more.
    """

    gained: tuple[Need[Any], ...]
    lost: tuple[Need[Any], ...]


@dataclass(slots=True)
class _Work:
    """What is remembered only during an update.

    Attributes:
        stale: The nodes that have yet to be looked at, or at least at their inputs.
        due: Those that have to be looked at even if their inputs have not changed.
        changed: The nodes whose result is another one than before.
        open: The binds whose part is under way.
        touched: Needs of which somebody has begun or ceased to ask; whether any node asked for
            them before.
    """

    stale: set[str] = field(default_factory=set)
    due: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    open: set[str] = field(default_factory=set)
    touched: dict[Need[Any], bool] = field(default_factory=dict)


_NO_WORK = _Work()
"""Stands there between updates, for thousands of evaluations are kept."""


class Evaluating(Protocol):
    """What keeps the evaluation of a target's jobs, in one step or in several."""

    @property
    def asked(self) -> Iterable[Need[Any]]:
        """Every need that is looked up, answered or not."""
        ...

    @property
    def is_complete(self) -> bool:
        """Whether it is known where all jobs stand."""
        ...

    @property
    def waits_for_builds(self) -> bool:
        """Whether all that has no answer yet are builds, and there is one."""
        ...

    def update(self, changed: Iterable[Need[Any]] = ()) -> Update:
        """Look again at what depends on facts about ``changed``; the first time, at everything."""
        ...

    def outputs(self) -> Mapping[str, Output[object]]:
        """What the jobs have come to, in the pipeline's order."""
        ...

    def drawn(self) -> tuple[GraphNode, ...]:
        """Every node as people see it, inputs first."""
        ...

    def given(self, build: Build) -> TreeId | None:
        """The tree that the stage of a wanted build is given now; none if it is not wanted."""
        ...


class Evaluator:
    """A target's evaluation, kept while facts come and go.

    Nodes are looked at on demand, inputs first, from a stack of steps. A bind whose part is under
    way is *open*: what in that part wants the bind itself goes round in a circle.

    Not usable any more once :meth:`update` has raised an exception.

    Attributes:
        looked_at: How many nodes the last update has looked at.
    """

    def __init__(self, graph: Graph, facts: Facts, target: Target, *, trusted: bool = True) -> None:
        """Evaluate ``graph`` for ``target``; ``facts`` is what others change and this only reads.

        Nothing is looked at before the first :meth:`update`. If the target is not ``trusted``, its
        stages get no secrets.
        """
        self.looked_at = 0
        self._graph = graph
        self._facts = facts
        self._cells = Cells(graph)
        label = lambda id_: self._cells.label(id_)  # noqa: E731
        self._performer = Performer(facts, target, label, trusted=trusted)
        self._missing: set[Need[Any]] = set()
        self._outputs: dict[str, Output[object]] = {}
        self._begun = self._circular = self._other_builds = False
        self._work = _NO_WORK

    @property
    def asked(self) -> Iterable[Need[Any]]:
        """Every need that is looked up, answered or not."""
        return self._cells.asked

    @property
    def is_complete(self) -> bool:
        """Whether every need that is looked up has an answer."""
        return not self._missing

    @property
    def waits_for_builds(self) -> bool:
        """Whether all that has no answer yet are builds, and there is one."""
        return bool(self._missing) and all(isinstance(need, Build) for need in self._missing)

    def update(self, changed: Iterable[Need[Any]] = ()) -> Update:
        """Look again at what depends on facts about ``changed``; the first time, at everything."""
        self.looked_at = 0
        self._work = _Work()
        if self._begun and not self._circular:
            for need in changed:
                self._missing.discard(need)
                for id_ in self._cells.askers(need):
                    self._mark(id_)
            self._settle()
        else:
            self._start_over()
        if self._cells.relabelled:
            self._start_over()
        return self._ended()

    def evaluation(self) -> Evaluation:
        """What everything has come to."""
        return Evaluation(
            self.outputs(), self.drawn(), frozenset(self._cells.asked), frozenset(self._missing)
        )

    def outputs(self) -> Mapping[str, Output[object]]:
        """What the jobs have come to, in the pipeline's order.

        One that has come to the same as before is the same object.
        """
        for job, root in self._graph.jobs.items():
            cell = self._cells[root]
            known = self._outputs.get(job)
            assert cell.result is not None
            if known is None or self._other_builds:
                builds = builds_behind(self._cells, root)
            else:
                builds = known.builds
            if known is None or not (
                known.result is cell.result and (known.builds, known.note) == (builds, cell.note)
            ):
                self._outputs[job] = Output(cell.result, builds, cell.note)
        self._other_builds = False
        return dict(self._outputs)

    def drawn(self) -> tuple[GraphNode, ...]:
        """Every node as people see it, inputs first."""
        return drawn(self._cells, self._graph.jobs)

    def given(self, build: Build) -> TreeId | None:
        """The tree that the stage of a wanted build is given now; none if it is not wanted.

        That of the build itself may be an earlier one, which is gone.
        """
        return next((self._cells[id_].given for id_ in self._cells.askers(build)), None)

    def _start_over(self) -> None:
        """Forget all results; only the needs that they asked for are compared with the new."""
        for need in self._cells.asked:
            self._work.touched.setdefault(need, True)
        self._cells = Cells(self._graph)
        self._begun, self._circular, self._other_builds = True, False, True
        self._missing.clear()
        self._work.stale.update(self._cells.ids)
        self._work.due.update(self._cells.ids)
        self._settle()

    def _ended(self) -> Update:
        touched, is_asked = self._work.touched, self._cells.is_asked
        gained = (need for need, before in touched.items() if is_asked(need) and not before)
        lost = (need for need, before in touched.items() if before and not is_asked(need))
        update = Update(tuple(gained), tuple(lost))
        self._missing.difference_update(update.lost)
        self._work = _NO_WORK
        return update

    def _mark(self, id_: str) -> None:
        """Look at a node again, and then at what depends on it."""
        self._work.due.add(id_)
        marks = [id_]
        while marks:
            mark = marks.pop()
            if mark not in self._work.stale:
                self._work.stale.add(mark)
                marks.extend(self._cells[mark].users)

    def _settle(self) -> None:
        """Look at what is stale; what values have added is looked at when its bind asks."""
        places = ((self._cells[id_].place, id_) for id_ in self._work.stale)
        steps: list[str | _Part] = [
            id_ for place, id_ in sorted(places, reverse=True) if place >= 0
        ]
        while steps:
            step = steps.pop()
            if isinstance(step, _Part):
                self._work.open.discard(step.bind)
                bind = self._cells[step.bind]
                self._finish(bind, self._result(bind.part))
            elif step in self._work.stale:
                self._step(self._cells[step], steps)
        self._work.due.clear()
        self._work.changed.clear()

    def _step(self, cell: Cell, steps: list[str | _Part]) -> None:
        """Finish ``cell``, or put what it needs first on the stack."""
        node = cell.node
        waiting = [id_ for id_ in node.inputs if id_ in self._work.stale]
        if first := [id_ for id_ in waiting if id_ not in self._work.open]:
            steps.append(node.id)
            steps.extend(reversed(first))
        elif waiting:
            self._circle(cell, min(waiting))
        elif isinstance(node.operation, Bind):
            self._bind(cell, node.operation, steps)
        elif self._is_due(cell):
            inputs = [self._result(id_) for id_ in node.inputs]
            self._perform(cell, inputs)
        else:
            self._work.stale.discard(node.id)

    def _is_due(self, cell: Cell) -> bool:
        """Whether the node's own facts, or the results that it uses, are others."""
        if cell.node.id in self._work.due:
            return True
        changed = self._work.changed.intersection(cell.node.inputs)
        return bool(changed) and not self._is_spared(cell, changed)

    def _is_spared(self, cell: Cell, changed: set[str]) -> bool:
        """Whether all that has changed is a stage's input, where the stage does not look."""
        build, given = cell.wanted, cell.given
        if build is None or given is None or changed != {cell.node.inputs[0]}:
            return False
        match self._result(cell.node.inputs[0]):
            case Ok(value=Tree(id=tree)) if self._performer.sees_the_same(build, given, tree):
                cell.given = tree
                return True
            case _:
                return False

    def _perform(self, cell: Cell, inputs: list[Result[object]]) -> None:
        build, given = cell.wanted, cell.given
        former = None if build is None or given is None else (build, given)
        done = self._performer.perform(cell.node, inputs, former)
        cell.given = done.given
        for need in (*cell.asked, *done.asked):
            if need not in self._work.touched:
                self._work.touched[need] = self._cells.is_asked(need)
        self._cells.ask(cell, done.asked)
        self._missing.update(done.missing)
        if (cell.build, cell.note) != (done.build, done.note):
            self._other_builds = self._other_builds or cell.build != done.build
            cell.build, cell.note, cell.drawn = done.build, done.note, None
        self._look(cell, done.result)

    def _look(self, cell: Cell, result: Result[object]) -> None:
        self.looked_at += 1
        self._finish(cell, result)

    def _finish(self, cell: Cell, result: Result[object]) -> None:
        self._work.stale.discard(cell.node.id)
        if not _same(cell.result, result):
            cell.result, cell.drawn = result, None
            self._work.changed.add(cell.node.id)

    def _circle(self, cell: Cell, id_: str) -> None:
        """A circle's error depends on where it was entered, so the next update starts anew."""
        self._circular = True
        self._look(cell, error(cell.node, f"{id_} needs its own result"))

    def _bind(self, cell: Cell, operation: Bind, steps: list[str | _Part]) -> None:
        """Continue with the term that follows from the input's value."""
        if self._is_due(cell):
            removed = self._cut(cell)
            self._rebind(cell, operation, steps)
            self._cells.compare_labels(removed)
        elif cell.part:
            self._enter(cell, steps)
        else:
            self._work.stale.discard(cell.node.id)

    def _cut(self, cell: Cell) -> list[Cell]:
        removed = self._cells.cut(cell)
        for need in (need for each in removed for need in each.asked):
            self._work.touched.setdefault(need, True)
        gone = {each.node.id for each in removed}
        self._other_builds = True
        for marks in (self._work.stale, self._work.due, self._work.changed):
            marks -= gone
        return removed

    def _rebind(self, cell: Cell, operation: Bind, steps: list[str | _Part]) -> None:
        node, cells = cell.node, self._cells
        match apply(operation.function, self._result(node.inputs[0]), node.id):
            case Ok(value=Term()) if cells.depth(node.id) >= MAX_DEPTH or len(cells) >= MAX_NODES:
                self._look(cell, error(node, "the graph grows without end: a bind in a bind?"))
            case Ok(value=Term() as term):
                added = cells.extend(cell, term)
                self._work.stale.update(added)
                self._work.due.update(added)
                self.looked_at += 1
                self._enter(cell, steps)
            case Ok(value=other):
                self._look(cell, error(node, f"bind's function made {other!r}, not a term"))
            case missing:
                self._look(cell, missing)

    def _enter(self, cell: Cell, steps: list[str | _Part]) -> None:
        """Look at the bind's part next, and then at the bind again."""
        if cell.part in self._work.open or cell.part == cell.node.id:
            self._circle(cell, cell.part)
        else:
            self._work.open.add(cell.node.id)
            steps += [_Part(cell.node.id), cell.part]

    def _result(self, id_: str) -> Result[object]:
        result = self._cells[id_].result
        assert result is not None
        return result


def _same(old: Result[object] | None, new: Result[object]) -> bool:
    """Whether nothing that uses the result has to be looked at again.

    Values are a pipeline's own: one that cannot be compared counts as another one.
    """
    if old is new:
        return True
    try:
        if isinstance(old, Ok) and isinstance(new, Ok):
            return type(old.value) is type(new.value) and bool(old.value == new.value)
    except Exception:  # noqa: BLE001 - a value's own comparison, of whatever kind
        return False
    return old == new
