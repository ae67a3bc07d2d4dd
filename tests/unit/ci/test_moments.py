"""Schedules: which moments a text names."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from datakit_ci.moments import Schedule
from datakit_core.errors import ConfigError


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}Z")


@pytest.mark.parametrize(
    ("text", "now", "last", "following"),
    [
        ("1h", "2026-03-04T12:34:56", "2026-03-04T12:00:00", "2026-03-04T13:00:00"),
        ("1h", "2026-03-04T12:00:00", "2026-03-04T12:00:00", "2026-03-04T13:00:00"),
        ("1d", "2026-03-04T12:34:56", "2026-03-04T00:00:00", "2026-03-05T00:00:00"),
        ("0 3 * * *", "2026-03-04T02:59:59", "2026-03-03T03:00:00", "2026-03-04T03:00:00"),
        ("0 3 * * *", "2026-03-04T03:00:00", "2026-03-04T03:00:00", "2026-03-05T03:00:00"),
        ("0 3 * * 1-5", "2026-03-08T12:00:00", "2026-03-06T03:00:00", "2026-03-09T03:00:00"),
        # In Berlin it is an hour later than in UTC, and two in summer.
        ("0 3 * * * Europe/Berlin", "2026-03-04T12:00", "2026-03-04T02:00", "2026-03-05T02:00"),
        ("0 3 * * * Europe/Berlin", "2026-07-04T12:00", "2026-07-04T01:00", "2026-07-05T01:00"),
        # On 29 March the clocks go from 2:00 to 3:00, so 2:30 does not come.
        ("30 2 * * * Europe/Berlin", "2026-03-29T00:45", "2026-03-28T01:30", "2026-03-29T01:00"),
    ],
)
def test_moments_are_in_utc_whatever_the_zone(
    text: str, now: str, last: str, following: str
) -> None:
    schedule = Schedule(text)
    assert schedule.last(at(now)) == at(last)
    assert schedule.next(at(now)) == at(following)
    assert schedule.last(at(now)).tzinfo is UTC


def test_the_next_moment_becomes_the_last_one_when_it_comes() -> None:
    for text in ("90s", "1h", "*/7 * * * *", "15 4 1 * * America/New_York"):
        schedule, now = Schedule(text), at("2026-03-04T12:34:56")
        for _ in range(5):
            following = schedule.next(now)
            assert following > now
            assert schedule.last(following) == following
            now = following


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not a schedule"),
        ("soon", "is not a schedule"),
        ("1 2 3", "is not a schedule"),
        ("0.1s", "at most once a second"),
        ("61 * * * *", "Bad minute"),
        ("0 0 31 2 *", "Bad day-of-month"),
        ("0 3 * * * Europe/Nowhere", "is no time zone"),
        ("0 3 * * * ../etc", "is no time zone"),
        (7, "is not a schedule"),
    ],
)
def test_what_is_no_schedule_is_refused(text: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        Schedule(text)


def test_blanks_do_not_count() -> None:
    assert Schedule("  0  3 * *  * ").text == "0 3 * * *"
