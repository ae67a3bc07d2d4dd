"""Flows: stages from one branch of the database to another, without any project.

``flow(branch("raw")) | clean | publish("clean")`` follows the branch ``raw``, runs ``clean`` on its
tree, and commits the output to the branch ``clean``, with the engine and the cache of projects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeAlias

from datakit_ci.graph import Graph
from datakit_ci.need import BranchHead, NextCommit
from datakit_ci.operation import Every, Head, PublishTree, Value
from datakit_ci.options import check_name
from datakit_ci.stage import Stage
from datakit_ci.target import FLOWS, Target, TargetKind
from datakit_ci.term import Term, next_commit, publish_tree, run_stage, tree_of
from datakit_ci.tree import Tree
from datakit_core.client.api import CommitId
from datakit_core.errors import ConfigError
from datakit_core.store.objects import EMPTY_TREE

__all__ = ["Flow", "Publish", "Step", "check_flows", "flow", "publish"]

Step: TypeAlias = Callable[[Term[Tree]], Term[Tree]]
"""What a flow goes through: a stage, or any function from a tree's term to another's."""

_OURS = ("commit-index", "control", "flows", "github-metadata")
_OUR_PREFIXES = ("results/", "status-")


@dataclass(frozen=True, slots=True)
class Publish:
    """The end of a flow.

    Attributes:
        branch: Where its output is committed.
    """

    branch: str


@dataclass(frozen=True, slots=True)
class Flow:
    """What has been said of a flow so far; ``|`` says more.

    Attributes:
        source: Where it begins: the head of a branch, or the moment of a schedule.
        branch: The branch that it follows; empty if it follows a schedule.
        every_commit: Whether it goes through every commit of the branch, in order.
        steps: What it goes through.
        output: The branch that it publishes; empty while that is not said.
    """

    source: Term[Any]
    branch: str = ""
    every_commit: bool = False
    steps: tuple[Step, ...] = ()
    output: str = ""

    def __or__(self, step: Step | Publish) -> Flow:
        """Go on with ``step``; :func:`publish` is the last one.

        Raises:
            ConfigError: The flow is published already, or ``step`` is none.
        """
        if self.output:
            raise ConfigError(f"the flow to {self.output} goes on after publish()")
        if isinstance(step, Publish):
            return replace(self, output=step.branch)
        if not callable(step):
            raise ConfigError(f"a flow goes through stages, not {step!r}")
        if not self.branch and not self.steps and not isinstance(step, Stage):
            raise ConfigError("a flow on a schedule begins with a stage")
        return replace(self, steps=(*self.steps, step))

    @property
    def target(self) -> Target:
        """Under what name the engine knows it."""
        return Target(FLOWS, TargetKind.FLOW.value, self.output)

    @property
    def origin(self) -> str:
        """The branch or the schedule, for messages."""
        return self.branch or self.source.operation.label

    def graph(self) -> Graph:
        """Its one job: that the branch holds what it comes to.

        Raises:
            ConfigError: A step makes something else than a term.
        """
        source = next_commit(self.branch, self.output) if self.every_commit else self.source
        tree = self._begun(source)
        for step in self.steps if self.branch else self.steps[1:]:
            tree = step(tree)
            if not isinstance(tree, Term):
                raise ConfigError(f"the flow to {self.output}: a step made {tree!r}, not a term")
        done = publish_tree(PublishTree(self.output, self.origin, self.every_commit), tree, source)
        return Graph.of({"publish": done})

    def _begun(self, source: Term[Any]) -> Term[Tree]:
        """The tree that the first step of a branch is given, or that of a schedule makes."""
        if self.branch:
            return tree_of(source)
        nothing: Term[Tree] = Term(Value(Tree(EMPTY_TREE), "nothing"))
        match self.steps:
            case [Stage() as first, *_]:
                return run_stage(first.spec, nothing, source)
            case _:
                return nothing


def flow(source: Term[CommitId] | Term[datetime], *, every_commit: bool = False) -> Flow:
    """Begin a flow: ``flow(branch("raw")) | clean | publish("clean")``.

    Args:
        source: ``branch(NAME)`` follows a branch of the database; ``every(SCHEDULE)`` begins with
            an empty tree at each moment.
        every_commit: Go through every commit of the branch, from its first one on and in their
            order, and go on after a restart with the one that follows the last that was recorded
            as done. Otherwise only the newest commit counts.

    Raises:
        ConfigError: It cannot begin there.
    """
    match source.operation if isinstance(source, Term) else None:
        case Head(need=BranchHead(branch=name)):
            return Flow(source, name, every_commit)
        case Every() if not every_commit:
            return Flow(source)
        case Every():
            raise ConfigError("a flow on a schedule has no commits: leave out every_commit")
        case _:
            raise ConfigError("a flow begins with branch(NAME) or every(SCHEDULE)")


def publish(branch: str) -> Publish:
    """The end of a flow: its output becomes the tree of ``branch``, in a new commit if it differs.

    Raises:
        ConfigError: It is no name of a branch, or DataKit's own branch.
    """
    check_name("branch", branch)
    if branch in _OURS or branch.startswith(_OUR_PREFIXES):
        raise ConfigError(f"publish: the branch {branch} is DataKit's own")
    return Publish(branch)


def check_flows(flows: Iterable[object]) -> Sequence[Flow]:
    """Check that flows make sense together.

    Raises:
        ConfigError: One is no flow or not finished, two publish one branch, or they go round in a
            circle.
    """
    checked: dict[str, Flow] = {}
    for each in flows:
        if not isinstance(each, Flow):
            raise ConfigError(f"flows holds {each!r}, which is not a flow")
        if not each.output:
            raise ConfigError(f"the flow from {each.origin} has no end: add | publish(NAME)")
        if each.output in checked:
            raise ConfigError(f"there are two flows to the branch {each.output}")
        checked[each.output] = each
    for each in checked.values():
        _check_circle(each, checked)
    return tuple(checked.values())


def _check_circle(start: Flow, flows: Mapping[str, Flow]) -> None:
    """Follow all branches that a flow reads back to where they come from."""
    reads = {name: _branches(each) for name, each in flows.items()}
    origin: dict[str, str] = {}
    pending = [start.output]
    while pending:
        name = pending.pop()
        for source in reads.get(name, ()):
            if source == start.output:
                circle = [source, name]
                while circle[-1] in origin and circle[-1] != start.output:
                    circle.append(origin[circle[-1]])
                raise ConfigError("flows go round in a circle: " + " > ".join(circle))
            if source not in origin:
                origin[source] = name
                pending.append(source)


def _branches(each: Flow) -> frozenset[str]:
    """The branches of the database that a flow reads."""
    nodes = each.graph().nodes
    needs = (node.operation.need for node in nodes if isinstance(node.operation, Head))
    return frozenset(need.branch for need in needs if isinstance(need, BranchHead | NextCommit))
