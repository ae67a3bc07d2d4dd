"""The graph of a target's jobs: every term once, with an id that people can read."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from datakit_ci.operation import Bind, JobName, Operation
from datakit_ci.term import Term

__all__ = ["Graph", "GraphBuilder", "Node"]

_Terms: TypeAlias = dict[tuple[Term[object], str], str]
_Equal: TypeAlias = dict[tuple[Operation, tuple[str, ...]], str]
_ForJob: TypeAlias = dict[Term[object], bool]


@dataclass(frozen=True, slots=True)
class Node:
    """One term in its place in the graph.

    Attributes:
        id: Unique within the graph; the same each time that the graph is made of the same terms.
        operation: What it does.
        inputs: The nodes that it does it with.
        job: The job it is for, if it belongs to only one because it asks for its name.
    """

    id: str
    operation: Operation
    inputs: tuple[str, ...]
    job: str = ""


@dataclass(frozen=True, slots=True)
class Graph:
    """All terms behind a target's jobs.

    Attributes:
        nodes: In topological order: inputs come before what uses them.
        jobs: The node of each job, in the pipeline's order.
        builder: Gives nodes to the terms that values add.
    """

    nodes: tuple[Node, ...]
    jobs: Mapping[str, str]
    builder: GraphBuilder = field(compare=False, repr=False)

    @classmethod
    def of(cls, jobs: Mapping[str, Term[object]]) -> Graph:
        """The graph of ``jobs``, without what their values will add to it."""
        builder = GraphBuilder()
        nodes: list[Node] = []
        roots = {name: builder.add(term, nodes, job=name) for name, term in jobs.items()}
        if not any(isinstance(node.operation, Bind) for node in nodes):
            builder = GraphBuilder()  # never asked for more; what it remembers is large
        return cls(tuple(nodes), roots, builder)


@dataclass(slots=True)
class GraphBuilder:
    """Gives terms their nodes.

    An :meth:`inner` builder makes a dynamic part: terms that have a node outside keep it, new
    ones get ids below its prefix, so that no id of the static graph ever depends on a value.

    What is known is kept in a chain, innermost first; only the first link is added to.

    Attributes:
        prefix: What the ids of new nodes begin with.
    """

    prefix: str = ""
    _terms: tuple[_Terms, ...] = field(default_factory=lambda: ({},))
    _equal: tuple[_Equal, ...] = field(default_factory=lambda: ({},))
    _for_job: tuple[_ForJob, ...] = field(default_factory=lambda: ({},))
    _count: dict[str, int] = field(default_factory=dict)

    def inner(self, prefix: str) -> GraphBuilder:
        """A builder of what a value adds; it sees the nodes of this one and changes none."""
        return GraphBuilder(prefix, ({}, *self._terms), ({}, *self._equal), ({}, *self._for_job))

    def add(self, root: Term[object], nodes: list[Node], *, job: str) -> str:
        """The id of ``root``'s node; nodes that are new are appended to ``nodes``, inputs first.

        Iterative: a chain of thousands of stages needs no more stack than one.
        """
        stack = [root]
        while stack:
            term = stack[-1]
            if self._find(term, job):
                stack.pop()
            elif missing := [part for part in term.inputs if not self._find(part, job)]:
                stack.extend(reversed(missing))
            else:
                self._place(stack.pop(), job, nodes)
        return self._find(root, job)

    def _place(self, term: Term[object], job: str, nodes: list[Node]) -> None:
        operation = term.operation
        if isinstance(operation, JobName):
            operation = JobName(job)
            self._for_job[0][term] = True
        else:
            self._for_job[0][term] = any(self._is_for_job(part) for part in term.inputs)
        scope = job if self._for_job[0][term] else ""
        inputs = tuple(self._find(part, job) for part in term.inputs)
        known = self._find_equal(operation, inputs)
        if not known:
            known = self._new_id(operation)
            self._equal[0][operation, inputs] = known
            nodes.append(Node(known, operation, inputs, scope))
        self._terms[0][term, scope] = known

    def _find(self, term: Term[object], job: str) -> str:
        """The id of the node that ``term`` has for ``job``, or empty."""
        for terms in self._terms:
            if id_ := terms.get((term, "")) or terms.get((term, job)):
                return id_
        return ""

    def _find_equal(self, operation: Operation, inputs: tuple[str, ...]) -> str:
        """The id of the node that does just this, or empty."""
        for equal in self._equal:
            if id_ := equal.get((operation, inputs)):
                return id_
        return ""

    def _is_for_job(self, term: Term[object]) -> bool:
        """Whether a term that has a node belongs to one job only."""
        return any(for_job.get(term, False) for for_job in self._for_job)

    def _new_id(self, operation: Operation) -> str:
        base = f"{operation.kind}:{operation.name}" if operation.name else operation.kind
        number = self._count.get(base, 0) + 1
        self._count[base] = number
        id_ = f"{self.prefix}{base}" if number == 1 else f"{self.prefix}{base}#{number}"
        return sys.intern(id_)  # the graphs of thousands of targets are alike
