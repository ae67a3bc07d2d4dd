"""How long results are kept: a rule, and which results it drops. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from datakit_ci.state import BuildId
from datakit_core.errors import ConfigError

__all__ = ["Retention", "superfluous"]


@dataclass(frozen=True, slots=True)
class Retention:
    """How long the results of each stage are kept.

    A result goes when either bound is exceeded. What a target shows now is always kept, and what
    is gone simply runs again when it is needed.

    Attributes:
        days: Results that are older go; none: however old they are.
        keep: The newest so many of each stage are kept; none: however many there are.
    """

    days: float | None = None
    keep: int | None = None

    def __post_init__(self) -> None:
        """Check the fields; raises ``ConfigError``."""
        for name in ("days", "keep"):
            bound = getattr(self, name)
            kinds = (int, float) if name == "days" else (int,)
            if bound is None:
                continue
            if isinstance(bound, bool) or not isinstance(bound, kinds) or not bound >= 0:
                raise ConfigError(f"retention: {name} is {bound!r}; give a number, or leave it out")


def superfluous(
    finished: Mapping[BuildId, datetime],
    rule: Retention,
    wanted: Collection[BuildId],
    now: datetime,
) -> frozenset[BuildId]:
    """Which results of a stage ``rule`` drops.

    Args:
        finished: All results of the stage, and when they were made.
        rule: What to keep.
        wanted: What is kept in any case; it counts like the others.
        now: The present moment.
    """
    newest = sorted(finished, key=lambda build: (finished[build], build), reverse=True)
    oldest = None if rule.days is None else now - timedelta(days=rule.days)
    return frozenset(
        build
        for place, build in enumerate(newest)
        if build not in wanted
        and (
            (rule.keep is not None and place >= rule.keep)
            or (oldest is not None and finished[build] < oldest)
        )
    )
