"""What the API says, as models: its stable names. Texts are UTF-8; addresses name things exactly.

Names in the database may be any bytes. In a text, what is no UTF-8 shows as U+FFFD; ``url`` and
``page`` are addresses, in which every byte is quoted, and so the way to name such a thing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from datakit_ci.explanation import ReasonKind, Verdict
from datakit_ci.state import Status

__all__ = [
    "ApproveRequest",
    "BuildRecord",
    "BuildRef",
    "CancelRequest",
    "DirectoryRecord",
    "Done",
    "ExplanationRecord",
    "FileRecord",
    "Health",
    "JobRecord",
    "JobWhyRecord",
    "Listing",
    "LockRecord",
    "NodeRecord",
    "Nothing",
    "PoolRecord",
    "Pools",
    "ProjectRecord",
    "ReasonRecord",
    "RebuildRequest",
    "Record",
    "ResultRecord",
    "Ruled",
    "ShownBuild",
    "TargetRecord",
    "TargetSummary",
    "Version",
]

_Item = TypeVar("_Item", bound=BaseModel)


class Record(BaseModel):
    """What all models share: values that do not change, and no field that is not named here."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Nothing(Record):
    """No parameters."""


class Listing(Record, Generic[_Item]):
    """A part of a list."""

    items: list[_Item] = Field(description="In a stable order.")
    next: str | None = Field(description="The `cursor` of the part after this; null: that is all.")


class Version(Record):
    """Which server answers."""

    version: str = Field(description="DataKit's.")
    api: str = Field(description="The API's: `v1`. Fields and addresses may be added to it.")


class Health(Record):
    """Whether the service works."""

    healthy: bool = Field(description="False with status 503.")


class Ruled(Record):
    """What a person has decided."""

    user: str
    time: datetime


class ProjectRecord(Record):
    """A repository that is tested."""

    id: str = Field(description="`USER/REPO`.")
    url: str
    page: str
    targets: dict[str, int] = Field(description="How many targets stand where, by status.")
    paused: Ruled | None = Field(description="Who has paused it: nothing new is started.")


class BuildRef(Record):
    """Names a build for ever: what ran, and on which observations."""

    project: str
    stage: str
    static: str = Field(description="64 hex digits: what ran.")
    key: str = Field(description="64 hex digits: what it was given.")
    url: str
    page: str


class JobRecord(Record):
    """One named status of a target."""

    name: str
    status: Status
    description: str = Field(description="One line for people.")
    builds: list[BuildRef] = Field(description="As they were needed; the last is its own.")


class NodeRecord(Record):
    """One node of a target's pipeline."""

    id: str
    label: str
    kind: str
    status: Status
    reason: str
    inputs: list[str] = Field(description="The ids of the nodes that it depends on.")
    build: BuildRef | None
    jobs: list[str]


class TargetSummary(Record):
    """A branch, tag or pull request."""

    project: str
    kind: str = Field(description="`heads`, `tags` or `pr`.")
    name: str
    url: str
    page: str
    status: Status = Field(description="The worst of its jobs'.")
    head: str | None = Field(description="The commit that is tested.")
    title: str = Field(description="Of a pull request; empty if none is known.")
    subject: str = Field(description="The first line of the commit.")
    author: str
    committed: datetime | None
    updated: datetime | None
    problem: str = Field(description="Why there are no jobs; empty: nothing is wrong.")
    counts: dict[str, int] = Field(description="How many jobs stand where, by status.")


class TargetRecord(TargetSummary):
    """A target with its jobs and its pipeline."""

    jobs: list[JobRecord]
    graph: list[NodeRecord] = Field(description="In topological order.")


class BuildRecord(BuildRef):
    """One build: waiting, running or recorded."""

    status: Status
    reason: str = Field(description="Why it waits or failed.")
    command: str
    input: str | None = Field(description="The tree that it was given.")
    output: str | None = Field(description="The tree that it made.")
    queued: datetime | None
    started: datetime | None
    finished: datetime | None
    exit_status: int | None
    log_size: int = Field(description="Bytes of log so far.")
    details: dict[str, str]


class ResultRecord(BuildRecord):
    """A result of a stage: one for each time that one was recorded."""

    commit: str | None = Field(description="Of the stage's branch, which has recorded it.")


class FileRecord(Record):
    """What is in a directory."""

    name: str
    kind: Literal["file", "executable", "link", "directory", "submodule"]
    id: str = Field(description="Of the content: equal ids, equal contents.")
    url: str = Field(description="Of a file its bytes, of a directory its list.")


class DirectoryRecord(Record):
    """A directory of a tree that a build was given, or has made."""

    id: str
    items: list[FileRecord] = Field(description="By name.")
    next: str | None = Field(description="The `cursor` of the part after this; null: that is all.")


class ShownBuild(BuildRef):
    """A build that targets show now."""

    label: str
    status: Status
    reason: str
    targets: list[str] = Field(description="The `url` of each target, some of many.")


class ReasonRecord(Record):
    """One reason for what happened to a build."""

    kind: ReasonKind
    text: str
    subject: str
    old: str
    new: str
    builds: list[BuildRef]
    user: str


class ExplanationRecord(Record):
    """What happened to a build, and why, the most telling reason first."""

    label: str
    verdict: Verdict
    reasons: list[ReasonRecord]
    build: BuildRef | None
    before: BuildRef | None = Field(description="The result that a run is compared with.")


class JobWhyRecord(Record):
    """Why a job stands where it stands: from its own node to the one that decides."""

    target: str
    job: str
    status: Status
    description: str
    steps: list[ExplanationRecord]


class PoolRecord(Record):
    """A limited resource."""

    name: str
    capacity: int | None = Field(description="Its units; null if it was never declared.")
    busy: list[BuildRef]
    queue: list[BuildRef] = Field(description="The next first.")


class LockRecord(Record):
    """What only one build may hold."""

    name: str
    holder: BuildRef | None
    queue: list[BuildRef]


class Pools(Record):
    """What builds wait for."""

    pools: list[PoolRecord]
    locks: list[LockRecord]


class RebuildRequest(Record):
    """Which builds of a target to make again."""

    job: str = Field("", max_length=300, description="Only this one; empty: all.")
    only_failed: bool = Field(False, description="Only what did not pass.")


class CancelRequest(Record):
    """Which builds of a target to stop, or to confirm."""

    job: str = Field("", max_length=300, description="Only those of this one; empty: all.")


class ApproveRequest(Record):
    """Which commit of a fork's pull request may be tested."""

    commit: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{40}$",
        description="What you have looked at; nothing is approved if it has moved on. "
        "Null: whatever is there.",
    )


class Done(Record):
    """A command was carried out."""

    text: str = Field(description="What was done; for people.")
