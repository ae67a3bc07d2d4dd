"""What the engine knows of targets, jobs and builds, as values for pages and terminals."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self

from datakit_ci.occasion import Occasion
from datakit_ci.question import Question
from datakit_ci.target import FLOWS, Target, encode_name
from datakit_core.client.api import CommitId, TreeId

__all__ = [
    "BuildId",
    "BuildState",
    "GraphNode",
    "JobState",
    "Status",
    "TargetState",
    "stage_at",
    "stage_path",
]


_ADDRESS = re.compile(r"([^/]+(?:/[^/]+)?)/(.+)/([0-9a-f]{64})/([0-9a-f]{64})", re.DOTALL)
"""Of a build. A flow's project has no slash, nor has the stage of one (:func:`stage_path`)."""


_FEW = 200
"""Questions of a build that are remembered while it is wanted."""


def stage_path(project: str, stage: str) -> str:
    """``PROJECT/STAGE`` as addresses have it: which is which can be told from it.

    The project of flows has one part where others have two. So a slash in a flow's stage is written
    ``~1`` there, and ``~`` is ``~0``, as JSON Pointer does it (RFC 6901, section 3): neither needs
    quoting in an address, and no proxy takes it for something else.
    """
    if project == FLOWS:
        stage = stage.replace("~", "~0").replace("/", "~1")
    return f"{project}/{stage}"


def stage_at(project: str, text: str) -> str:
    """The stage of a project that an address with ``text`` names: undoes :func:`stage_path`."""
    return text.replace("~1", "/").replace("~0", "~") if project == FLOWS else text


class Status(enum.Enum):
    """One word for where a job, a build or a node of the graph stands."""

    WAITING = "waiting"
    """Not started: for a pool, a person, or what comes before; there is a reason."""
    RUNNING = "running"
    SUCCESS = "success"
    FAILURE = "failure"
    BLOCKED = "blocked"
    """Will not run because something before it failed."""
    CANCELLED = "cancelled"
    ERROR = "error"
    """Neither passed nor failed: the pipeline or the machine is at fault."""

    __hash__ = object.__hash__  # that of Enum is in Python, and lists of targets count by status

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self not in (Status.WAITING, Status.RUNNING)


@dataclass(frozen=True, slots=True, order=True)
class BuildId:
    """Names one build for ever: what ran, and on which observations.

    Attributes:
        project: ``USER/REPO``.
        stage: The stage's name.
        static: 64 hex digits: what the build's code, parameters and tools were.
        key: 64 hex digits: what it was given.
    """

    project: str
    stage: str
    static: str
    key: str

    @property
    def branch(self) -> str:
        """The database branch that holds the result."""
        return f"results/{encode_name(*self.project.split('/'))}/{encode_name(self.stage)}"

    @property
    def directory(self) -> str:
        """Where in that branch's tree the result lies."""
        return f"{self.static[:2]}/{self.static}/runs/{self.key}"

    @property
    def path(self) -> str:
        """Its address below ``/build/``."""
        return f"{stage_path(self.project, self.stage)}/{self.static}/{self.key}"

    @classmethod
    def parse(cls, path: str) -> Self | None:
        """Read what :attr:`path` says; none if it is no such address."""
        match = _ADDRESS.fullmatch(path)
        if match is None:
            return None
        project, stage, static, key = match.groups()
        return cls(project, stage_at(project, stage), static, key)


@dataclass(frozen=True, slots=True)
class BuildState:
    """One build: waiting, running or recorded.

    Attributes:
        id: Which build.
        status: Where it stands.
        reason: Why it waits or failed; empty when there is nothing to say.
        command: What runs: the shell command, or the function's qualified name.
        input: The tree it was given.
        output: The tree it made, once it succeeded.
        queued, started, finished: Moments, UTC; none when not reached or not known.
        exit_status: The command's; none when it had none.
        log_size: Bytes of log so far.
        details: Further facts (executor, versions), for people.
        occasion: Why it ran; none before it is recorded, or if that does not say.
        asked: All that it has asked of its input, if that is known, and short.
    """

    id: BuildId
    status: Status
    reason: str = ""
    command: str = ""
    input: TreeId | None = None
    output: TreeId | None = None
    queued: datetime | None = None
    started: datetime | None = None
    finished: datetime | None = None
    exit_status: int | None = None
    log_size: int = 0
    details: Mapping[str, str] = field(default_factory=dict)
    occasion: Occasion | None = None
    asked: tuple[Question, ...] | None = field(default=None, repr=False, compare=False)

    def having_asked(self, questions: Sequence[Question] | None) -> Self:
        """The same build, of which it is known what it has asked; none: that is not known."""
        if questions is None or len(questions) > _FEW:
            return self
        return replace(self, asked=tuple(questions))


@dataclass(frozen=True, slots=True)
class GraphNode:
    """One node of a target's pipeline, as drawn.

    Attributes:
        id: Unique within the graph, stable from one evaluation to the next.
        label: For people.
        kind: ``source``, ``stage``, ``join``, ``gate``... : the shape to draw.
        status: Where it stands.
        reason: Why it waits or failed.
        inputs: Ids of the nodes that it depends on.
        build: Its build, for stages whose input is known.
        jobs: The jobs whose result this node is.
    """

    id: str
    label: str
    kind: str
    status: Status
    reason: str = ""
    inputs: tuple[str, ...] = ()
    build: BuildId | None = None
    jobs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobState:
    """One named status of a target.

    Attributes:
        name: Unique within the target.
        status: Where it stands.
        description: One line for people, such as "passed in 3 s".
        builds: The builds behind it, in the order in which they were needed; the last is its own.
    """

    name: str
    status: Status
    description: str = ""
    builds: tuple[BuildId, ...] = ()


@dataclass(frozen=True, slots=True)
class TargetState:
    """A target with its jobs and graph, at one moment.

    Attributes:
        target: Which.
        head: The source commit; none while it is not known.
        subject, author: The commit's first line and author name.
        committed: When, UTC.
        updated: When anything here last changed, UTC.
        jobs: In the pipeline's order.
        graph: In topological order.
        problem: Why there are no jobs (the pipeline raised an exception); empty otherwise.
        title: What a pull request says it is about; empty if it does not, and of what is none.
    """

    target: Target
    head: CommitId | None = None
    subject: str = ""
    author: str = ""
    committed: datetime | None = None
    updated: datetime | None = None
    jobs: tuple[JobState, ...] = ()
    graph: tuple[GraphNode, ...] = ()
    problem: str = ""
    title: str = ""

    @property
    def headline(self) -> str:
        """What it is about, in a line: the title, else what the commit says of itself."""
        return self.title or self.subject

    @property
    def status(self) -> Status:
        """The worst of the jobs' states, as one word for the whole target."""
        if self.problem:
            return Status.ERROR
        states = {job.status for job in self.jobs}
        for status in (
            Status.ERROR,
            Status.FAILURE,
            Status.RUNNING,
            Status.WAITING,
            Status.CANCELLED,
            Status.BLOCKED,
        ):
            if status in states:
                return status
        return Status.SUCCESS if states else Status.WAITING
