"""Needs and facts: how a pure evaluation asks the world.

Whatever a term wants to know is a :class:`Need`: a hashable question. The evaluation looks it up
in its :class:`Facts`; what is not there it reports, the engine finds the answer and evaluates
again. So an evaluation is a function of facts, and any of them can be replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Self, TypeVar, cast

from datakit_ci.edits import Edits
from datakit_ci.metadata import CommitStatus
from datakit_ci.pullrequest import PullRequest
from datakit_ci.question import Question
from datakit_ci.spec import StageSpec
from datakit_ci.state import BuildId, BuildState, Status
from datakit_ci.target import Target
from datakit_ci.tree import Tree
from datakit_core.client.api import CommitId, TreeId

__all__ = [
    "Approved",
    "BranchHead",
    "Build",
    "BuildFact",
    "Facts",
    "Fetched",
    "HasEngine",
    "IsAfter",
    "JobsIn",
    "Joined",
    "Known",
    "LastMoment",
    "LastOutput",
    "Need",
    "NextCommit",
    "PipelineTree",
    "PublishedTree",
    "PullRequestOf",
    "StatusOf",
    "TargetHead",
    "TreeOf",
    "Trouble",
]

A = TypeVar("A")


class Need(Generic[A]):
    """A question whose answer is of type ``A``; subclasses are frozen and hashable."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class TargetHead(Need[CommitId | None]):
    """Which source commit is the head of ``target``? None when there is no such target."""

    target: Target


@dataclass(frozen=True, slots=True)
class BranchHead(Need[CommitId | None]):
    """Which commit is the head of this branch of the database? None when there is none."""

    branch: str


@dataclass(frozen=True, slots=True)
class Fetched(Need[CommitId]):
    """Which commit is a ref of another repository at? Asking also means: please fetch it.

    Attributes:
        url: The repository; may hold a password, so it is not shown.
        ref: A full ref name, or all digits of a commit.
        every: Seconds after which to look again; 0 for what never changes.
    """

    url: str = field(repr=False)
    ref: str
    every: float


@dataclass(frozen=True, slots=True)
class HasEngine(Need[bool]):
    """Is there a container engine? Answered anew when one appears or goes."""


@dataclass(frozen=True, slots=True)
class IsAfter(Need[bool]):
    """Is ``older`` the commit ``newer``, or in its history?"""

    newer: CommitId
    older: CommitId


@dataclass(frozen=True, slots=True)
class TreeOf(Need[TreeId]):
    """What is the tree of ``commit``?"""

    commit: CommitId


@dataclass(frozen=True, slots=True)
class StatusOf(Need[CommitStatus | None]):
    """What does ``github-metadata`` say of a commit under a context? None when nothing is said.

    Attributes:
        project: ``USER/REPO``.
        commit: The source commit.
        context: Such as ``ci/other/build``.
    """

    project: str
    commit: CommitId
    context: str


@dataclass(frozen=True, slots=True)
class PullRequestOf(Need[PullRequest]):
    """What does ``github-metadata`` say of a pull request?"""

    target: Target


@dataclass(frozen=True, slots=True)
class Approved(Need[frozenset[CommitId]]):
    """Which commits of a fork's pull request has a person approved?"""

    target: Target


@dataclass(frozen=True, slots=True)
class PipelineTree(Need[Tree]):
    """Which tree is the directory of the pipeline ``path`` in ``commit``? In trouble if none is."""

    commit: CommitId
    path: str


@dataclass(frozen=True, slots=True)
class JobsIn(Need[object]):
    """Which graph of jobs has a pipeline's process written?

    Attributes:
        output: The tree that the process has made.
        project: Whose pipeline it is.
        origin: The tree of the pipeline's directory, and the pipeline's path; stages carry that.
    """

    output: TreeId
    project: str
    origin: str


@dataclass(frozen=True, slots=True)
class Joined(Need[TreeId]):
    """Which tree has ``parts`` at their paths?

    Attributes:
        parts: Paths and trees, sorted by path; each is put over what is there already, so that
            ``""``, which comes first, is the ground on which the others stand.
    """

    parts: tuple[tuple[str, TreeId], ...]


@dataclass(frozen=True, slots=True)
class LastMoment(Need[datetime]):
    """Which moment of ``schedule`` was the last that came? Answered anew at each.

    Attributes:
        schedule: As :class:`~datakit_ci.moments.Schedule` reads it.
    """

    schedule: str


@dataclass(frozen=True, slots=True)
class LastOutput(Need[TreeId | None]):
    """What did a stage make for ``target`` the last time that it passed? None if it never did.

    Attributes:
        target: For which target.
        project: Whose results they are.
        stage: The stage's name.
        static: What its code and parameters are.
    """

    target: Target
    project: str
    stage: str
    static: str


@dataclass(frozen=True, slots=True)
class NextCommit(Need[CommitId | None]):
    """Which commit of ``branch`` has a flow to go through next? None if there is no such branch.

    When it has gone through all, the head, which it has then gone through before.

    Attributes:
        branch: The branch of the database that the flow follows.
        flow: The branch that it publishes.
    """

    branch: str
    flow: str


@dataclass(frozen=True, slots=True)
class PublishedTree(Need[CommitId]):
    """Which commit of ``branch`` has this tree? Asking also means: please commit it.

    Attributes:
        branch: The branch that a flow publishes.
        tree: What the flow has come to.
        source: The commit, or the moment, that it comes from.
        origin: The branch or the schedule of that, for people.
        is_commit: Whether it comes from a commit.
        every_commit: Whether it is to be recorded that this commit is done.
    """

    branch: str
    tree: TreeId
    source: str
    origin: str
    is_commit: bool
    every_commit: bool = False


@dataclass(frozen=True, slots=True)
class BuildFact:
    """Where a build stands.

    Attributes:
        status: Any but ``BLOCKED``, which is for what was never asked for.
        reason: Why it waits or failed.
        output: The tree it made; set if and only if it succeeded.
        build: Its name, once it is known what it looks at.
        previous: While it is made again: the tree that it made before.
        asked: All that a recorded build has asked of its input, if that is known. Nobody is told
            that only this is known now.
    """

    status: Status
    reason: str = ""
    output: TreeId | None = None
    build: BuildId | None = None
    previous: TreeId | None = None
    asked: tuple[Question, ...] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        """An output and success go together."""
        assert (self.status is Status.SUCCESS) == (self.output is not None)

    @classmethod
    def recorded(cls, state: BuildState) -> Self:
        """A result."""
        if state.output is not None:
            return cls(Status.SUCCESS, output=state.output, build=state.id, asked=state.asked)
        return cls(Status.FAILURE, state.reason, build=state.id, asked=state.asked)

    @classmethod
    def waiting(cls, reason: str, build: BuildId | None = None) -> Self:
        """Not started, for ``reason``."""
        return cls(Status.WAITING, reason, build=build)

    @classmethod
    def running(cls, build: BuildId, reason: str = "running") -> Self:
        """At work."""
        return cls(Status.RUNNING, reason, build=build)

    @classmethod
    def passed(cls, output: TreeId, build: BuildId) -> Self:
        """Succeeded and made ``output``."""
        return cls(Status.SUCCESS, output=output, build=build)

    @classmethod
    def failed(cls, reason: str, build: BuildId | None = None) -> Self:
        """Failed by its own judgement: a result, kept like any other."""
        return cls(Status.FAILURE, reason, build=build)

    @classmethod
    def cancelled(cls, reason: str, build: BuildId | None = None) -> Self:
        """Stopped by a person: no result, and not started again by itself."""
        return cls(Status.CANCELLED, reason, build=build)

    @classmethod
    def error(cls, reason: str, build: BuildId | None = None) -> Self:
        """Could not be run: no result."""
        return cls(Status.ERROR, reason, build=build)


@dataclass(frozen=True, slots=True)
class Build(Need[BuildFact]):
    """How does this stage fare on that tree? Asking also means: please run it.

    Attributes:
        project: Whose result it is.
        spec: What runs.
        input: The tree it is given.
        since: A result that was begun before this moment does not count; none: any does.
    """

    project: str
    spec: StageSpec
    input: TreeId
    since: datetime | None = None
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Hash once: a need is looked up dozens of times for each answer."""
        key = (self.project, self.input, self.spec)  # ``since`` hardly ever is all that differs
        object.__setattr__(self, "_hash", hash(key))

    def __hash__(self) -> int:
        return self._hash


@dataclass(frozen=True, slots=True)
class Known(Generic[A]):
    """An answer."""

    answer: A


@dataclass(frozen=True, slots=True)
class Trouble:
    """No answer can be had, for ``reason``; what depends on it is in error."""

    reason: str


class Facts:
    """What is known: the newest answer to each need.

    Not safe for use from several threads. Answers are looked up by the need's value, so two terms
    that ask the same thing share one answer.

    Attributes:
        edits: What differs between trees, as far as that is known; only saves work.
    """

    __slots__ = ("_answers", "_at_hand", "edits")

    def __init__(
        self,
        answers: Mapping[Need[Any], object] | None = None,
        at_hand: Callable[[Need[Any]], object] = lambda _: None,
        edits: Edits | None = None,
    ) -> None:
        """Know nothing yet.

        Args:
            answers: Start from these, unchecked; tests and replays do.
            at_hand: Gives the answer to a need that is asked for the first time, if that takes no
                looking up; else none.
            edits: What differs between trees; others add to it.
        """
        self.edits = edits or Edits()
        self._at_hand = at_hand
        self._answers: dict[Need[Any], Known[Any] | Trouble] = {
            need: answer if isinstance(answer, Trouble) else Known(answer)
            for need, answer in (answers or {}).items()
        }

    def __contains__(self, need: Need[Any]) -> bool:
        return need in self._answers

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, need: Need[A]) -> Known[A] | Trouble | None:
        """The answer to ``need``; none if it was never given."""
        fact = self._answers.get(need)
        if fact is None and (answer := self._at_hand(need)) is not None:
            fact = self._answers[need] = Known(answer)
        return cast("Known[A] | Trouble | None", fact)

    def record(self, need: Need[A], answer: A | Trouble) -> bool:
        """Keep the newest ``answer`` to ``need``; says whether that is news."""
        fact = answer if isinstance(answer, Trouble) else Known(answer)
        if self._answers.get(need) == fact:
            return False
        self._answers[need] = fact
        return True

    def forget(self, need: Need[Any]) -> None:
        """Drop the answer to ``need``, if there is one, so that it is asked again."""
        self._answers.pop(need, None)
