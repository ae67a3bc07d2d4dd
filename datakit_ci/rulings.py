"""Rulings: what people have decided about builds and projects; and what follows from that.

Pure. They lie as files on the branch ``control``, one commit for each command
(:mod:`datakit_ci.docket`); :func:`decide` says what is to be done about a build that is wanted.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self, TypeAlias

from datakit_ci.canonical import canonical_json
from datakit_ci.need import Build
from datakit_ci.occasion import Cause, Occasion
from datakit_ci.policy import Level
from datakit_ci.spec import StageKind
from datakit_ci.state import BuildId, BuildState, Status
from datakit_ci.target import Target
from datakit_core.client.api import CommitId
from datakit_core.errors import StoreError

__all__ = [
    "UNCONFIRMED",
    "Decision",
    "Hold",
    "Ruling",
    "Rulings",
    "Run",
    "Use",
    "decide",
    "expiry",
    "occasion_of",
]

UNCONFIRMED = "waits for confirmation by a person"
"""The reason of a dangerous build that nobody has confirmed."""

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Ruling:
    """What one person has decided.

    Attributes:
        user: Who.
        time: When, UTC.
        replaces: For a build that had a result: when that had started. A ruling is about the next
            run only; named so, it needs no clocks that agree.
    """

    user: str
    time: datetime
    replaces: datetime | None = None

    def to_bytes(self) -> bytes:
        """The content of its file."""
        return canonical_json(
            {
                "version": _VERSION,
                "user": self.user,
                "time": _print(self.time),
                "replaces": None if self.replaces is None else _print(self.replaces),
            }
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read a file.

        Raises:
            StoreError: It is damaged, or of another version.
        """
        try:
            match json.loads(content):
                case {"version": 1, "user": str(user), "time": str(time), "replaces": replaces}:
                    return cls(user, _parse(time), None if replaces is None else _parse(replaces))
                case _:
                    raise StoreError("damaged ruling: it is of another kind or version")
        except (ValueError, TypeError) as error:
            raise StoreError(f"damaged ruling: {error}") from error


@dataclass(frozen=True, slots=True)
class Rulings:
    """All that is decided at one moment.

    Attributes:
        paused: Projects in which nothing new is started.
        confirmed: Builds that may run although they are dangerous.
        cancelled: Builds that are not to run.
        rebuilt: Builds whose result is to be made again.
        approved: Heads of forks' pull requests that may be tested.
    """

    paused: Mapping[str, Ruling] = field(default_factory=dict)
    confirmed: Mapping[BuildId, Ruling] = field(default_factory=dict)
    cancelled: Mapping[BuildId, Ruling] = field(default_factory=dict)
    rebuilt: Mapping[BuildId, Ruling] = field(default_factory=dict)
    approved: Mapping[tuple[Target, CommitId], Ruling] = field(default_factory=dict)

    def heads(self, target: Target) -> frozenset[CommitId]:
        """The commits at which a fork's pull request may be tested."""
        return frozenset(commit for other, commit in self.approved if other == target)

    def about(self, build: BuildId) -> Mapping[str, Ruling]:
        """What is decided about one build, by kind."""
        kinds = {"confirmed": self.confirmed, "cancelled": self.cancelled, "rebuilt": self.rebuilt}
        return {kind: rulings[build] for kind, rulings in kinds.items() if build in rulings}


@dataclass(frozen=True, slots=True)
class Use:
    """The recorded result will do.

    Attributes:
        expires: When it will not do any more; none: never.
    """

    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """Do not run it.

    Attributes:
        status: ``WAITING``, or ``CANCELLED``.
        reason: For people.
    """

    status: Status
    reason: str


@dataclass(frozen=True, slots=True)
class Run:
    """Run it as soon as its pool allows."""


Decision: TypeAlias = Use | Hold | Run


def decide(
    need: Build,
    build: BuildId,
    recorded: BuildState | None,
    rulings: Rulings,
    now: datetime,
    threshold: Level | None = Level.DANGEROUS,
) -> Decision:
    """What to do about ``need``.

    Args:
        need: What is wanted.
        build: The name of the build that answers it.
        recorded: Its newest result, if it has any.
        rulings: What people have decided.
        now: The time, UTC.
        threshold: The level from which on a person has to confirm; none: nobody has to.
    """
    policy = need.spec.policy
    if recorded is not None and _staleness(need, recorded, rulings, now) is None:
        return Use(expiry(need, recorded))
    if (ruling := rulings.cancelled.get(build)) is not None:
        return Hold(Status.CANCELLED, f"cancelled by {ruling.user}")
    is_job = need.spec.kind is not StageKind.PIPELINE  # that has to be known to say what is held
    if is_job and (ruling := rulings.paused.get(need.project)) is not None:
        return Hold(Status.WAITING, f"paused by {ruling.user}")
    if policy.level.reaches(threshold):
        confirmed = rulings.confirmed.get(build)
        if confirmed is None or confirmed.replaces != (recorded and recorded.started):
            return Hold(Status.WAITING, UNCONFIRMED)
    return Run()


def expiry(need: Build, recorded: BuildState) -> datetime | None:
    """When a result is not good for ``need`` any more, by its age; none: never."""
    seconds = need.spec.policy.valid_for
    if not seconds or recorded.finished is None:
        return None
    return recorded.finished + timedelta(seconds=seconds)


def occasion_of(
    build: BuildId,
    needs: Collection[Build],
    recorded: BuildState | None,
    rulings: Rulings,
    now: datetime,
) -> Occasion:
    """Why a build runs that answers ``needs``; the other arguments are those of :func:`decide`."""
    found: Iterable[Cause | None]
    if recorded is None:
        found = [Cause.REBUILD if build in rulings.rebuilt else Cause.NEW]
    else:
        found = (_staleness(need, recorded, rulings, now) for need in needs)
    cause = next((each for each in found if each is not None), Cause.NEW)
    user = rulings.rebuilt[build].user if cause is Cause.REBUILD else ""
    return Occasion(cause, user, identity=next((need.spec.parts for need in needs), {}))


def _staleness(need: Build, recorded: BuildState, rulings: Rulings, now: datetime) -> Cause | None:
    """Why a result is not to be used any more; none: it is."""
    started, statuses = recorded.started, need.spec.policy.transient
    if recorded.status is Status.FAILURE and recorded.exit_status in statuses:
        return Cause.TRANSIENT  # it was recorded before that status was known to pass
    rebuilt = rulings.rebuilt.get(recorded.id)
    if rebuilt is not None and started is not None and started == rebuilt.replaces:
        return Cause.REBUILD
    if need.since is not None and started is not None and started < need.since:
        return Cause.SCHEDULE
    expires = expiry(need, recorded)
    return Cause.EXPIRED if expires is not None and expires <= now else None


def _print(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _parse(text: str) -> datetime:
    return datetime.fromisoformat(text)
