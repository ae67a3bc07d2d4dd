"""Times, sizes and hostile text, as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from datakit_ci.dashboard import wording

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0.0 s"), (0, "0.0 s"), (0.44, "0.4 s"), (9.94, "9.9 s"), (9.96, "10 s"), (41, "41 s"),
        (59.6, "1 min 00 s"), (187, "3 min 07 s"), (3599.7, "1 h 00 min"), (7500, "2 h 05 min"),
        (86400 * 2 + 3600 * 3, "2 d 03 h"),
    ],
)  # fmt: skip
def test_durations_have_two_units(seconds: float, words: str) -> None:
    assert wording.duration(timedelta(seconds=seconds)) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-60, "just now"), (4, "just now"), (5, "5 s ago"), (60, "1 min ago"), (7200, "2 h ago"),
        (86400, "1 day ago"), (86400 * 30, "30 days ago"), (86400 * 40, "on 23 January 2026"),
    ],
)  # fmt: skip
def test_ages_have_one_unit(seconds: int, words: str) -> None:
    assert wording.ago(NOW - timedelta(seconds=seconds), NOW) == words


@pytest.mark.parametrize(
    ("octets", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (44_123, "44.1 kB"), (999_990, "1.0 MB"),
     (3_000_000, "3.0 MB"), (5_200_000_000, "5.2 GB"), (5_200_000_000_000, "5,200.0 GB")],
)  # fmt: skip
def test_sizes_are_in_powers_of_a_thousand(octets: int, words: str) -> None:
    assert wording.size(octets) == words


def test_counts_agree_with_their_noun() -> None:
    assert wording.count(1, "job") == "1 job"
    assert wording.count(1204, "line") == "1,204 lines"
    assert wording.count(2, "branch", "branches") == "2 branches"


def test_a_moment_names_its_zone() -> None:
    assert wording.moment(NOW) == "2026-03-04 12:00:00 UTC"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain \u00e9 \u4f60 \U0001f600\tx\ny", "plain \u00e9 \u4f60 \U0001f600\tx\ny"),
        ("a\u202eb\u2066c", "a\\u202eb\\u2066c"),
        ("\x00\x1b[31m\x7f\x9b", "\\x00\\x1b[31m\\x7f\\x9b"),
        ("na\udcefve", "na\\xefve"),
        ("\ud83d", "\\ud83d"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
    ],
)
def test_what_would_mislead_the_eye_is_written_out(text: str, shown: str) -> None:
    assert wording.visible(text) == shown


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ('types(PYTHON="3.11")', "types 3.11"),
        ('unit(OS="debian", depth=3)', "unit debian 3"),
        ("sizes(deep=true)", "sizes deep=true"),
        ('sizes(name="")', 'sizes name=""'),
        ("lint", "lint"),
        ("f(a=[1, 2])", "f(a=[1, 2])"),
        ("call(f)", "call(f)"),
        ('odd(a="x") b', 'odd(a="x") b'),
    ],
)
def test_the_cell_of_a_matrix_is_called_by_its_values(label: str, shown: str) -> None:
    assert wording.cell_label(label) == shown
