"""Operations: what the nodes of a graph do.

Only values; :mod:`datakit_ci.evaluate` carries them out, and :mod:`datakit_ci.term` is what
pipelines make them with.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from datakit_ci.need import Need
from datakit_ci.spec import StageSpec
from datakit_ci.target import Target

__all__ = [
    "All",
    "Bind",
    "Catch",
    "CiStatus",
    "Every",
    "Fail",
    "Gate",
    "Head",
    "JobName",
    "Join",
    "Map",
    "Operation",
    "PublishTree",
    "RunStage",
    "Source",
    "State",
    "Stuck",
    "TreeOfCommit",
    "Value",
    "Wait",
    "WithoutLogs",
    "function_name",
]


_SEPARATORS = re.compile(r"[#/:]")


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """What a node does with the results of its inputs; :mod:`datakit_ci.evaluate` does it.

    Operations that hold a function or an arbitrary value are compared by identity (``eq=False``),
    the others by value, so that the graph can tell which nodes are one.
    """

    kind: ClassVar[str] = "operation"
    """The shape to draw, and the first half of the node's id."""

    @property
    def name(self) -> str:
        """The second half of the node's id; may be empty."""
        return ""

    @property
    def label(self) -> str:
        """For people."""
        return self.name or self.kind


@dataclass(frozen=True, slots=True, eq=False)
class Value(Operation):
    """A value that is known already.

    Attributes:
        value: It.
        title: For the node's id and label.
    """

    kind: ClassVar[str] = "value"
    value: object
    title: str = ""

    @property
    def name(self) -> str:
        """The title."""
        return self.title


@dataclass(frozen=True, slots=True)
class Fail(Operation):
    """A failure, for a reason."""

    kind: ClassVar[str] = "fail"
    reason: str


@dataclass(frozen=True, slots=True)
class Stuck(Operation):
    """Pending for ever, for a reason."""

    kind: ClassVar[str] = "pending"
    reason: str


@dataclass(frozen=True, slots=True)
class Head(Operation):
    """The commit that a target or a branch is at.

    Attributes:
        need: The question that says which.
        title: For the node's id and label.
        absent: If not empty, the answer none is a failure for this reason.
    """

    kind: ClassVar[str] = "head"
    need: Need[Any]
    title: str
    absent: str = ""

    @property
    def name(self) -> str:
        """The title."""
        return self.title


@dataclass(frozen=True, slots=True)
class Source(Operation):
    """The tree of a target's head."""

    kind: ClassVar[str] = "source"
    target: Target
    title: str = ""

    @property
    def name(self) -> str:
        """Empty for the target that the graph belongs to."""
        return self.title

    @property
    def label(self) -> str:
        """``heads/main``, after the project if it is another one's."""
        return self.title or self.target.short


@dataclass(frozen=True, slots=True)
class CiStatus(Operation):
    """What another CI says of a target's head; none when it says nothing yet.

    Attributes:
        target: Whose head.
        context: The other CI's, such as ``ci/other/build``.
        success: Wait for a success instead; its address is the value.
    """

    kind: ClassVar[str] = "ci-status"
    target: Target
    context: str
    success: bool = False

    @property
    def name(self) -> str:
        """The context, without what separates the parts of ids."""
        return _SEPARATORS.sub("_", self.context)

    @property
    def label(self) -> str:
        """The context."""
        return self.context


@dataclass(frozen=True, slots=True)
class Every(Operation):
    """The last moment of a schedule."""

    kind: ClassVar[str] = "every"
    schedule: str

    @property
    def name(self) -> str:
        """The schedule, without what separates the parts of ids."""
        return _SEPARATORS.sub("_", self.schedule)

    @property
    def label(self) -> str:
        """``every 1h``."""
        return f"every {self.schedule}"


@dataclass(frozen=True, slots=True)
class PublishTree(Operation):
    """The commit of a branch that holds the first input's tree, made from the second's value.

    Attributes:
        branch: Which branch.
        origin: The branch or schedule that it comes from, for people.
        every_commit: Whether each commit that is done is recorded.
    """

    kind: ClassVar[str] = "publish"
    branch: str
    origin: str
    every_commit: bool

    @property
    def name(self) -> str:
        """The branch, without what separates the parts of ids."""
        return _SEPARATORS.sub("_", self.branch)

    @property
    def label(self) -> str:
        """``publish to clean``."""
        return f"publish to {self.branch}"


@dataclass(frozen=True, slots=True)
class TreeOfCommit(Operation):
    """The tree of a commit."""

    kind: ClassVar[str] = "tree"


@dataclass(frozen=True, slots=True)
class RunStage(Operation):
    """A stage's output tree for an input tree, and perhaps no older than a moment."""

    kind: ClassVar[str] = "stage"
    spec: StageSpec

    @property
    def name(self) -> str:
        """The stage's."""
        return self.spec.name

    @property
    def label(self) -> str:
        """The stage's name with its parameters."""
        return self.spec.label


@dataclass(frozen=True, slots=True)
class Join(Operation):
    """One tree with each input at its path."""

    kind: ClassVar[str] = "join"
    paths: tuple[str, ...]

    @property
    def name(self) -> str:
        """The paths; the root is a dot."""
        return "+".join(path or "." for path in self.paths)

    @property
    def label(self) -> str:
        """``join of . and dist``."""
        return "join of " + " and ".join(path or "." for path in self.paths)


@dataclass(frozen=True, slots=True)
class All(Operation):
    """The tuple of all values."""

    kind: ClassVar[str] = "all"


@dataclass(frozen=True, slots=True)
class Gate(Operation):
    """The first input's value, once all the others have succeeded."""

    kind: ClassVar[str] = "gate"


@dataclass(frozen=True, slots=True)
class Wait(Operation):
    """None, once all inputs have succeeded; names which have not.

    Attributes:
        names: What to call each input.
        while_pending: The reason to show instead while it is not ready.
        on_failure: The reason to show instead once it has failed.
    """

    kind: ClassVar[str] = "wait"
    names: tuple[str, ...]
    while_pending: str = ""
    on_failure: str = ""


@dataclass(frozen=True, slots=True)
class State(Operation):
    """The input's result as a value, whatever it is."""

    kind: ClassVar[str] = "state"


@dataclass(frozen=True, slots=True)
class Catch(Operation):
    """The input's result as a value, once it is not pending."""

    kind: ClassVar[str] = "catch"


@dataclass(frozen=True, slots=True)
class WithoutLogs(Operation):
    """The input's result, without naming the builds behind it."""

    kind: ClassVar[str] = "without-logs"


@dataclass(frozen=True, slots=True)
class JobName(Operation):
    """The name of the job that asks.

    Attributes:
        job: Filled in when the graph is made.
    """

    kind: ClassVar[str] = "job-id"
    job: str = ""

    @property
    def name(self) -> str:
        """The job."""
        return self.job


@dataclass(frozen=True, slots=True, eq=False)
class Map(Operation):
    """A function of the value."""

    kind: ClassVar[str] = "map"
    function: Callable[[Any], object]
    title: str = ""

    @property
    def name(self) -> str:
        """The title given, else the function's name, without what separates the parts of ids."""
        return _SEPARATORS.sub("_", self.title or function_name(self.function))


@dataclass(frozen=True, slots=True, eq=False)
class Bind(Operation):
    """A term that depends on the value."""

    kind: ClassVar[str] = "bind"
    function: Callable[[Any], object]
    title: str = ""

    @property
    def name(self) -> str:
        """The title given, else the function's name, without what separates the parts of ids."""
        return _SEPARATORS.sub("_", self.title or function_name(self.function))


def function_name(function: object) -> str:
    """What to call a function in a graph; a lambda has no name."""
    name = getattr(function, "__name__", "")
    return "" if name == "<lambda>" else name
