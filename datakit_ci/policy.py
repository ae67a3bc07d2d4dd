"""Policies: when and under which conditions a stage runs, but never what it makes.

Nothing here is part of the key of a result, so that a policy can be changed without running
anything again.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self, cast

from datakit_ci.canonical import JsonValue

__all__ = ["Level", "Policy", "backoff"]

_FIRST, _LONGEST = 2.0, 300.0
"""Seconds before the second attempt, and at most before any."""


class Level(enum.Enum):
    """How much harm a stage can do; from some level on a person has to confirm each build."""

    HARMLESS = "harmless"
    """It only makes its output: tests, builds."""
    MOSTLY_HARMLESS = "mostly_harmless"
    """It changes what can be changed back: a comment, a page for review."""
    DANGEROUS = "dangerous"
    """It changes what others rely on: a release, a deployment."""

    def reaches(self, threshold: Level | None) -> bool:
        """Whether this is ``threshold`` or above; nothing reaches none."""
        order = list(Level)
        return threshold is not None and order.index(self) >= order.index(threshold)


@dataclass(frozen=True, slots=True)
class Policy:
    """When a stage runs.

    Attributes:
        every: A schedule, as :mod:`datakit_ci.moments` reads it: a result that is older than its
            last moment is made anew; empty: there is none.
        valid_for: Seconds after which a result is made anew; 0: never.
        latched: Whether the last output is shown while a new one is made.
        auto_cancel: Whether a build that nobody waits for any more is stopped.
        retry: How often a build is tried again that failed for a passing reason.
        transient: Exit statuses of a command that are such a reason.
        level: How much harm it can do.
    """

    every: str = ""
    valid_for: float = 0.0
    latched: bool = False
    auto_cancel: bool = True
    retry: int = 0
    transient: tuple[int, ...] = ()
    level: Level = Level.HARMLESS

    def to_json(self) -> dict[str, JsonValue]:
        """As a JSON object, for another process; :meth:`from_json` reads it."""
        return {**asdict(self), "level": self.level.value}

    @classmethod
    def from_json(cls, value: Mapping[str, JsonValue]) -> Self:
        """Read what :meth:`to_json` wrote; for our own processes, which check nothing."""
        known: dict[str, object] = dict(value)
        known["level"] = Level(known["level"])
        known["transient"] = tuple(cast("list[int]", known["transient"]))
        return cls(**known)  # type: ignore[arg-type]  # our own JSON


def backoff(attempt: int) -> float:
    """Seconds to wait after attempt ``attempt`` (from 1 on) has failed: 2, 4, 8 and so on."""
    return min(_FIRST * 2.0 ** min(attempt - 1, 30), _LONGEST)
