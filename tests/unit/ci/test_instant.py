"""What people may write for a moment, and what they are told when it is none."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datakit_ci.instant import parse_instant, print_instant
from datakit_core.errors import ConfigError

NOW = datetime(2026, 3, 4, 12, 30, 15, 250_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-03-01T05:06:07Z", "2026-03-01T05:06:07Z"),
        ("2026-03-01t05:06:07z", "2026-03-01T05:06:07Z"),
        ("2026-03-01T05:06:07.987654321Z", "2026-03-01T05:06:07Z"),
        ("2026-03-01T05:06:07+02:00", "2026-03-01T03:06:07Z"),
        ("2026-03-01 05:06", "2026-03-01T05:06:00Z"),
        ("2026-03-01T05:06", "2026-03-01T05:06:00Z"),
        ("2026-03-01 05:06:07 UTC", "2026-03-01T05:06:07Z"),
        (" 2026-03-01 05:06 ", "2026-03-01T05:06:00Z"),
        ("2026-03-01", "2026-03-01T23:59:59Z"),
        ("2026-03-04", "2026-03-04T12:30:15Z"),
        ("2026-03-04T12:31:00Z", "2026-03-04T12:30:15Z"),
        ("0001-01-01", "1-01-01T23:59:59Z"),
    ],
)
def test_a_moment_may_be_written_in_these_ways(text: str, meant: str) -> None:
    moment = parse_instant(text, NOW)
    assert isinstance(moment, datetime)
    assert print_instant(moment).lstrip("0") == meant.lstrip("0")


def test_a_commit_is_taken_as_it_is() -> None:
    assert parse_instant("A1" * 20, NOW) == "a1" * 20


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2026-13-01",
        "2026-02-30 10:00",
        "2026-03-01 25:00",
        "2026-03-01T05:06:07+99:99",
        "0001-01-01T00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "a1" * 19,
        "1772600000",
        "\u0662\u0660\u0662\u0666-03-01",
        "<script>",
        "x" * 10_000,
    ],
)
def test_what_is_no_moment_is_refused_in_few_words(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_instant(text, NOW)
    assert len(str(refused.value)) < 250


def test_the_future_is_refused_and_clocks_may_differ_a_little() -> None:
    with pytest.raises(ConfigError, match=r"2026-03-05T23:59:59Z is in the future; it is 2026"):
        parse_instant("2026-03-05", NOW)


@given(st.integers(-30_000_000_000, 1_700_000_000).map(lambda s: datetime.fromtimestamp(s, UTC)))
def test_a_printed_moment_is_read_as_the_same(moment: datetime) -> None:
    assert parse_instant(print_instant(moment), NOW) == moment
