"""Days, and what happened on them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from datakit_ci.dashboard.days import by_day, day_name

NOW = datetime(2026, 3, 4, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("day", "name"),
    [
        (date(2026, 3, 4), "Today"),
        (date(2026, 3, 3), "Yesterday"),
        (date(2026, 3, 2), "Monday 2 March"),
        (date(2025, 12, 31), "Wednesday 31 December 2025"),
        (date(2026, 3, 5), "Thursday 5 March"),  # clocks differ
        (None, "At some time"),
    ],
)
def test_a_day_has_a_name(day: date | None, name: str) -> None:
    assert day_name(day, NOW.date()) == name


def test_what_happened_is_put_together_by_days_in_its_order() -> None:
    moments = [NOW, NOW - timedelta(minutes=29), NOW - timedelta(minutes=31), None, None]
    days = by_day(moments, lambda moment: moment, NOW)
    assert [(day.name, list(day.items)) for day in days] == [
        ("Today", moments[:2]),
        ("Yesterday", moments[2:3]),
        ("At some time", moments[3:]),
    ]


def test_days_are_those_of_utc() -> None:
    late = datetime(2026, 3, 4, 1, 0, tzinfo=timezone(timedelta(hours=2)))
    assert [day.name for day in by_day([late], lambda moment: moment, NOW)] == ["Yesterday"]
