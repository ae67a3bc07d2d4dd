"""Evaluation: from a target's terms and what is known, to results and what must be found out.

Pure: the same graph and facts give the same evaluation. Each node is looked at once; nothing
recurses, so a chain of thousands of stages, or a failure at its start, costs no stack.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from datakit_ci.combine import apply
from datakit_ci.graph import Graph, GraphBuilder, Node
from datakit_ci.need import Build, Facts, Need
from datakit_ci.operation import Bind, WithoutLogs
from datakit_ci.output import Output
from datakit_ci.perform import Performer, error
from datakit_ci.result import Failed, Ok, Pending, Result
from datakit_ci.state import BuildId, GraphNode, JobState, Status
from datakit_ci.target import Target
from datakit_ci.term import Term

__all__ = ["MAX_DEPTH", "MAX_NODES", "Evaluation", "evaluate"]

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
    """Work out ``target``'s jobs as far as ``facts`` go.

    Args:
        jobs: Terms by job name; or their graph, which saves making it again.
        facts: What is known; not changed.
        target: Whose jobs they are; its project owns the builds.
    """
    graph = jobs if isinstance(jobs, Graph) else Graph.of(jobs)
    evaluator = _Evaluator(graph, facts, target)
    evaluator.run()
    return Evaluation(
        outputs={job: evaluator.output(root) for job, root in graph.jobs.items()},
        nodes=tuple(evaluator.drawn()),
        asked=frozenset(evaluator.performer.asked),
        needs=frozenset(evaluator.performer.missing),
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """A step: the part that a value has added is done, and its root is the bind's result."""

    bind: Node
    root: str


class _Evaluator:
    """One evaluation under way.

    Nodes are evaluated on demand, inputs first, from a stack of steps. A bind whose part is under
    way is *open*: what in that part wants the bind itself goes round in a circle.
    """

    def __init__(self, graph: Graph, facts: Facts, target: Target) -> None:
        self.performer = Performer(facts, target, self._label)
        self._graph = graph
        self._nodes = {node.id: node for node in graph.nodes}
        self._scopes: dict[str, tuple[GraphBuilder, int]] = {}
        self._open: set[str] = set()
        # In the order in which nodes are finished, which is a topological one.
        self._results: dict[str, Result[object]] = {}
        self._inputs: dict[str, tuple[str, ...]] = {}

    def run(self) -> None:
        """Evaluate every node, and those that values add."""
        steps: list[str | _Part] = [node.id for node in reversed(self._graph.nodes)]
        while steps:
            step = steps.pop()
            if isinstance(step, _Part):
                self._open.discard(step.bind.id)
                self._finish(step.bind, self._results[step.root], step.root)
            elif step not in self._results:
                self._step(self._nodes[step], steps)

    def _step(self, node: Node, steps: list[str | _Part]) -> None:
        """Finish ``node``, or put what it needs first on the stack."""
        waiting = [id_ for id_ in node.inputs if id_ not in self._results]
        if circle := self._open.intersection(waiting):
            self._finish(node, error(node, f"{min(circle)} needs its own result"))
        elif waiting:
            steps.append(node.id)
            steps.extend(reversed(waiting))
        elif isinstance(node.operation, Bind):
            self._bind(node, node.operation, steps)
        else:
            inputs = [self._results[id_] for id_ in node.inputs]
            self._finish(node, self.performer.perform(node, inputs))

    def _finish(self, node: Node, result: Result[object], *more: str) -> None:
        self._results[node.id] = result
        self._inputs[node.id] = (*node.inputs, *more)

    def _bind(self, node: Node, operation: Bind, steps: list[str | _Part]) -> None:
        """Continue with the term that follows from the input's value."""
        _, depth = self._scopes.get(node.id, (None, 0))
        match apply(operation.function, self._results[node.inputs[0]], node.id):
            case Ok(value=Term()) if depth >= MAX_DEPTH or len(self._nodes) >= MAX_NODES:
                self._finish(node, error(node, "the graph grows without end: a bind in a bind?"))
            case Ok(value=Term() as term):
                root = self._extend(node, term)
                if root in self._open or root == node.id:
                    self._finish(node, error(node, f"{root} needs its own result"))
                else:
                    self._open.add(node.id)
                    steps += [_Part(node, root), root]
            case Ok(value=other):
                self._finish(node, error(node, f"bind's function made {other!r}, not a term"))
            case missing:
                self._finish(node, missing)

    def _extend(self, node: Node, term: Term[object]) -> str:
        """Add ``term`` to the graph, below ``node``; returns its id."""
        outer, depth = self._scopes.get(node.id, (self._graph.builder, 0))
        inner = outer.inner(f"{node.id}/")
        added: list[Node] = []
        root = inner.add(term, added, job=node.job)
        self._nodes.update((new.id, new) for new in added)
        self._scopes.update((new.id, (inner, depth + 1)) for new in added)
        return root

    def _label(self, node: str) -> str:
        return self._nodes[node].operation.label

    def output(self, root: str) -> Output[object]:
        """The output of the job whose term is the node ``root``."""
        return Output(self._results[root], tuple(self._builds_behind(root)))

    def _builds_behind(self, root: str) -> Iterator[BuildId]:
        """Each build once, inputs first."""
        seen: set[str] = set()
        named: set[BuildId] = set()
        steps = [(root, False)]
        while steps:
            id_, inputs_done = steps.pop()
            build = self.performer.builds.get(id_)
            if inputs_done and build is not None and build not in named:
                named.add(build)
                yield build
            elif not inputs_done and id_ not in seen:
                seen.add(id_)
                steps.append((id_, True))
                if not isinstance(self._nodes[id_].operation, WithoutLogs):
                    steps.extend((part, False) for part in reversed(self._inputs[id_]))

    def drawn(self) -> Iterator[GraphNode]:
        """Every node as people see it, inputs first."""
        jobs: dict[str, list[str]] = {}
        for job, root in self._graph.jobs.items():
            jobs.setdefault(root, []).append(job)
        for id_, result in self._results.items():
            operation = self._nodes[id_].operation
            status, reason = self._standing(id_, result)
            yield GraphNode(
                id=id_,
                label=operation.label,
                kind=operation.kind,
                status=status,
                reason=reason,
                inputs=self._inputs[id_],
                build=self.performer.builds.get(id_),
                jobs=tuple(jobs.get(id_, ())),
            )

    def _standing(self, id_: str, result: Result[object]) -> tuple[Status, str]:
        """Where a node stands; what comes from another node is blocked by it or waits for it."""
        match result:
            case Ok():
                return Status.SUCCESS, ""
            case Pending() | Failed() if result.node != id_:
                behind = result.behind(self._label(result.node))
                return behind.status, behind.reason
            case Pending() | Failed():
                return result.status, result.reason
