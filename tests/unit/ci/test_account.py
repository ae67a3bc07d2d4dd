"""The account of a run: its lines, and when they have colours."""

from __future__ import annotations

import io

from datakit_ci.account import Row, account, has_colours
from datakit_ci.state import JobState, Status

ROWS = [
    Row(JobState("lint", Status.SUCCESS, "passed in 3 s"), "3 s", "cached"),
    Row(JobState("unit", Status.FAILURE, "exited with\nstatus 1"), "9 s", ""),
    Row(JobState("after", Status.BLOCKED, "unit failed"), "", ""),
]


def test_there_is_a_word_for_every_state_and_columns_are_as_wide_as_needed() -> None:
    assert account(ROWS, coloured=False).splitlines() == [
        "   job    state    time",
        "✓  lint   success  3 s   cached",
        "✗  unit   failure  9 s           exited with status 1",
        "⊘  after  blocked                unit failed",
    ]


def test_colours_are_added_around_the_words() -> None:
    lines = account(ROWS, coloured=True).splitlines()
    assert lines[1] == "\x1b[32m✓\x1b[0m  lint   \x1b[32msuccess\x1b[0m  3 s   cached"


def test_what_is_no_terminal_has_no_colours() -> None:
    assert not has_colours(io.StringIO())
