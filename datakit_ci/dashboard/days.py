"""Lists of what happened, put together by days (UTC): nobody counts back from ``61 h ago``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Generic, TypeVar

__all__ = ["Day", "by_day", "day_name"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Day(Generic[T]):
    """What happened on one day.

    Attributes:
        date: Which; none: nobody knows.
        name: What people call it.
        items: In the order in which they came.
    """

    date: date | None
    name: str
    items: Sequence[T]


def by_day(
    items: Iterable[T], moment: Callable[[T], datetime | None], now: datetime
) -> Sequence[Day[T]]:
    """The days of ``items`` that follow each other, each with its own; their order stays.

    Args:
        items: What happened.
        moment: When something did; none: that is not known.
        now: Says which day is today.
    """
    today = now.astimezone(UTC).date()

    def day_of(item: T) -> date | None:
        then = moment(item)
        return None if then is None else then.astimezone(UTC).date()

    return [Day(day, day_name(day, today), list(some)) for day, some in groupby(items, day_of)]


def day_name(day: date | None, today: date) -> str:
    """``Today``, ``Yesterday``, ``Monday 2 March``; with the year if it is another one."""
    if day is None:
        return "At some time"
    if day == today:
        return "Today"
    if day == today - timedelta(days=1):
        return "Yesterday"
    year = "" if day.year == today.year else f" {day.year}"
    return f"{day:%A} {day.day} {day:%B}{year}"
