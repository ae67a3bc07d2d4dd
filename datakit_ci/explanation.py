"""Explanations: what happened to a build and why, as values for people and for programs."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from datakit_ci.canonical import JsonValue
from datakit_ci.state import BuildId, Status

__all__ = ["Explanation", "JobWhy", "Reason", "ReasonKind", "Verdict"]


class ReasonKind(enum.Enum):
    """What a reason is about."""

    OBSERVATION = "observation"
    """Something that the stage looked at has changed."""
    STAGE = "stage"
    """The stage itself: its code, command, parameters, environment, image, tools or conditions."""
    FIRST = "first"
    """There was no earlier result of the stage."""
    REBUILD = "rebuild"
    EXPIRED = "expired"
    SCHEDULE = "schedule"
    TRANSIENT = "transient"
    REMOVED = "removed"
    """The earlier result was not kept."""
    UNKNOWN = "unknown"
    """It was recorded by a version that did not say."""
    SERVED = "served"
    """An earlier result did."""
    DUE = "due"
    """When it runs again by itself."""
    POOL = "pool"
    LOCK = "lock"
    UPSTREAM = "upstream"
    """What it is to be given is not there yet, or will never be."""
    CONFIRMATION = "confirmation"
    PAUSE = "pause"
    RETRY = "retry"
    CANCELLED = "cancelled"
    DATABASE = "database"
    """The database is away."""
    OTHER = "other"


class Verdict(enum.Enum):
    """What happened to a build, in a word."""

    RAN = "ran"
    SERVED = "served"
    """It did not run for this target: an earlier result did."""
    RUNS = "runs"
    WAITS = "waits"
    ENDED = "ended"
    """It came to no result."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason.

    Attributes:
        kind: What it is about.
        text: A line for people.
        subject: The path, pattern, part of the stage, pool or lock.
        old, new: Of what has changed: before and after, as text.
        builds: Whom it waits for, or which build served it.
        user: Who has decided so.
    """

    kind: ReasonKind
    text: str
    subject: str = ""
    old: str = ""
    new: str = ""
    builds: tuple[BuildId, ...] = ()
    user: str = ""

    def to_json(self) -> dict[str, JsonValue]:
        """As a JSON object, without what is empty."""
        fields: dict[str, JsonValue] = {
            "subject": self.subject,
            "old": self.old,
            "new": self.new,
            "builds": [build.path for build in self.builds],
            "user": self.user,
        }
        rest = {name: value for name, value in fields.items() if value}
        return {"kind": self.kind.value, "text": self.text, **rest}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What happened to one build, or to a node without a build, and why.

    Attributes:
        label: Its name, for people.
        verdict: What happened.
        reasons: Why, the most telling first; never empty.
        build: Which build; none if it is not known yet.
        before: The earlier result that a run is compared with; none if there is none.
    """

    label: str
    verdict: Verdict
    reasons: tuple[Reason, ...]
    build: BuildId | None = None
    before: BuildId | None = None

    def to_json(self) -> dict[str, JsonValue]:
        """As a JSON object."""
        return {
            "label": self.label,
            "verdict": self.verdict.value,
            "reasons": [reason.to_json() for reason in self.reasons],
            "build": None if self.build is None else self.build.path,
            "before": None if self.before is None else self.before.path,
        }

    @property
    def lines(self) -> Sequence[str]:
        """For people: what happened, then why."""
        return [f"{self.label} {self.verdict.value}", *(f"  {each.text}" for each in self.reasons)]


@dataclass(frozen=True, slots=True)
class JobWhy:
    """Why a job stands where it stands.

    Attributes:
        target: The target's address.
        job: The job's name.
        status: Where it stands.
        description: What the target's page says of it.
        steps: From the job's own node to the one that decides; of a job without any, empty.
    """

    target: str
    job: str
    status: Status
    description: str
    steps: tuple[Explanation, ...]

    def to_json(self) -> dict[str, JsonValue]:
        """As a JSON object."""
        return {
            "target": self.target,
            "job": self.job,
            "status": self.status.value,
            "description": self.description,
            "steps": [step.to_json() for step in self.steps],
        }
