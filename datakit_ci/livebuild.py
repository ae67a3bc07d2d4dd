"""A build that is wanted and has no result yet, or is made again."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from datakit_ci.livelog import LiveLog
from datakit_ci.need import Build, BuildFact
from datakit_ci.occasion import Occasion
from datakit_ci.state import BuildId, BuildState, Status
from datakit_core.client.api import TreeId

__all__ = ["LiveBuild", "Phase"]


class Phase(enum.Enum):
    """What has to happen before it goes on."""

    HELD = "held"
    """A person's decision."""
    SCHEDULED = "scheduled"
    """The scheduler's: it waits for its pool, runs, or is being stopped."""
    RESTING = "resting"
    """Some time: it is tried again."""
    ENDED = "ended"
    """It came to no result, and is not tried again by itself."""


@dataclass(slots=True)
class LiveBuild:
    """One build under way.

    Attributes:
        build: Its name.
        need: What asked for it first; any other that it answers would do as well.
        queued: When it was first wanted.
        phase: What has to happen before it goes on.
        owners: The needs that its result is to answer.
        served: Those of them that were there when it started: the result is good for them.
        previous: What it made before, if it is made again.
        attempts: How often it has failed for a passing reason.
        log: Set once it has started.
        stop: Ends the run; none when nothing runs that could be stopped.
        stopping: Whether it is to be stopped as soon as it can be.
        waits_for: Why it did not start at once; empty if it did.
        occasion: Why it was started, once it was.
    """

    build: BuildId
    need: Build
    queued: datetime
    phase: Phase = Phase.HELD
    status: Status = Status.WAITING
    reason: str = ""
    owners: set[Build] = field(default_factory=set)
    served: frozenset[Build] = frozenset()
    previous: TreeId | None = None
    attempts: int = 0
    started: datetime | None = None
    finished: datetime | None = None
    log: LiveLog | None = None
    stop: Callable[[], None] | None = None
    stopping: bool = False
    waits_for: str = ""
    occasion: Occasion | None = None

    @property
    def is_running(self) -> bool:
        """Whether it has started and not ended."""
        return self.phase is Phase.SCHEDULED and self.status is Status.RUNNING

    @property
    def fact(self) -> BuildFact:
        """Where it stands, for evaluations.

        The place in the queue is left out: it changes all the time and is of no consequence.
        """
        reason = self.reason
        if self.status is Status.RUNNING:
            reason = "running"
        elif self.phase is Phase.SCHEDULED:
            locks = [f"lock {name}" for name in self.need.spec.conditions.locks]
            reason = " and ".join([f"waiting for pool {self.need.spec.pool}", *locks])
        return BuildFact(self.status, reason, build=self.build, previous=self.previous)

    def hold(self, status: Status, reason: str) -> None:
        """Keep it from running, or from being tried again, for ``reason``."""
        self.phase, self.status, self.reason = Phase.HELD, status, reason

    def schedule(self) -> None:
        """It may run, and did not before, or is to run once more."""
        self.phase, self.status, self.reason = Phase.SCHEDULED, Status.WAITING, ""
        self.log, self.started, self.finished, self.stopping = None, None, None, False

    def state(self, reason: str) -> BuildState:
        """For people; ``reason`` says more than an evaluation needs to know."""
        return BuildState(
            id=self.build,
            status=self.status,
            reason=reason,
            command=self.need.spec.command,
            input=self.need.input,
            queued=self.queued,
            started=self.started,
            finished=self.finished,
            log_size=self.log.size if self.log else 0,
        )
