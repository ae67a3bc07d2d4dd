"""What the parts of the engine count of their work, in integers only.

Each part adds to it as it works, which costs next to nothing; :mod:`datakit_ci.monitoring` says it
in Prometheus' words when somebody asks. What is counted by stage is bounded, since a pipeline may
make up names for ever: when there are many, what is new counts as one stage, ``(others)``.
"""

from __future__ import annotations

import enum
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from datakit_ci.state import BuildId
from datakit_core.metrics import Histogram

__all__ = ["OTHERS", "Fate", "Found", "Tally"]

OTHERS = "(others)"
"""Stands for the stages and pools beyond the first ones."""

_STAGES = 500
_POOLS = 100

_K = TypeVar("_K")


class Fate(enum.Enum):
    """How one run of a build ended."""

    PASSED = "passed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    TRANSIENT = "transient"
    """No result, for a reason that the stage says is a passing one."""
    LOST = "lost"
    """No result: an exception, a full disk, a limit, a process that was killed."""
    ERROR = "error"
    """It could not be run or recorded."""


class Found(enum.Enum):
    """How a look-up in the cache ended."""

    HIT = "hit"
    MISS = "miss"
    ERROR = "error"


@dataclass(slots=True)
class StageTally:
    """What was counted of one stage.

    Attributes:
        runs: How often it has run, by what came of it.
        nanoseconds: For how long, all told.
    """

    runs: Counter[Fate] = field(default_factory=Counter)
    nanoseconds: int = 0


@dataclass(slots=True)
class PoolTally:
    """What was counted of the builds of one pool.

    Attributes:
        waited: The time from when a build was first wanted until it started.
        ran: The time that it then took, until its result was recorded.
    """

    waited: Histogram = field(default_factory=Histogram)
    ran: Histogram = field(default_factory=Histogram)


@dataclass(slots=True)
class Tally:
    """Everything that one engine has counted since its start.

    Attributes:
        evaluations: Times that evaluating a target took.
        lookups: Times that looking a build up took, by what came of it.
        stages: By project and stage.
        pools: By name.
        log_bytes: What builds have printed, as it was kept.
        retries: Runs that were attempts after the first.
        published: Commits of targets' histories.
        dropped: Results that retention has dropped.
    """

    evaluations: Histogram = field(default_factory=Histogram)
    lookups: dict[Found, Histogram] = field(
        default_factory=lambda: {found: Histogram() for found in Found}
    )
    stages: dict[tuple[str, str], StageTally] = field(default_factory=dict)
    pools: dict[str, PoolTally] = field(default_factory=dict)
    log_bytes: int = 0
    retries: int = 0
    published: int = 0
    dropped: int = 0

    @contextmanager
    def evaluation(self) -> Iterator[None]:
        """Count an evaluation, which is what is done meanwhile."""
        started = time.perf_counter_ns()
        try:
            yield
        finally:
            self.evaluations.add(time.perf_counter_ns() - started)

    @contextmanager
    def lookup(self) -> Iterator[list[Found]]:
        """Count a look-up; put what came of it into the list, else it is an error."""
        found: list[Found] = []
        started = time.perf_counter_ns()
        try:
            yield found
        finally:
            how = found[-1] if found else Found.ERROR
            self.lookups[how].add(time.perf_counter_ns() - started)

    def ran(self, build: BuildId, pool: str, fate: Fate, waited: timedelta, ran: timedelta) -> None:
        """Count one run of ``build``."""
        took = _nanoseconds(ran)
        name = _bounded(self.stages, (build.project, build.stage), (OTHERS, OTHERS), _STAGES)
        stage = self.stages.setdefault(name, StageTally())
        stage.runs[fate] += 1
        stage.nanoseconds += took
        units = self.pools.setdefault(_bounded(self.pools, pool, OTHERS, _POOLS), PoolTally())
        units.waited.add(_nanoseconds(waited))
        units.ran.add(took)


def _bounded(known: Mapping[_K, object], name: _K, others: _K, most: int) -> _K:
    """``name``, unless it would be one too many."""
    return name if name in known or len(known) < most else others


def _nanoseconds(span: timedelta) -> int:
    """Never negative, although clocks of machines may be set back."""
    return max(0, span // timedelta(microseconds=1)) * 1000
