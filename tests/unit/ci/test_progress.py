"""What the terminal shows while jobs run: a line for each change, or a table."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from datakit_ci.progress import LineProgress, TableProgress
from datakit_ci.state import JobState, Status


def plain() -> Console:
    return Console(file=io.StringIO(), width=100, highlight=False, markup=False)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_line_is_printed_when_a_status_changes_and_not_for_another_reason() -> None:
    console = plain()
    progress = LineProgress(console, verbose=False)
    with progress.shown():
        progress.jobs([JobState("lint", Status.WAITING, "waits")])
        progress.jobs([JobState("lint", Status.RUNNING, "running")])
        progress.jobs([JobState("lint", Status.RUNNING, "still running")])
        progress.output("lint", b"not shown\n")
        progress.jobs([JobState("lint", Status.SUCCESS, "passed in 3 s")])
    assert text_of(console) == "▶ lint: running\n✓ lint: passed in 3 s\n"


def test_verbose_shows_whole_lines_with_the_name_of_the_stage() -> None:
    console = plain()
    progress = LineProgress(console, verbose=True)
    progress.output("lint", b"one\ntw")
    progress.output("unit", b"other\n")
    progress.output("lint", b"o [red]\n\x1b[31mthree\n")
    assert text_of(console) == "lint | one\nunit | other\nlint | two [red]\nlint | three\n"


def test_the_table_shows_the_last_line_of_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    console = Console(file=io.StringIO(), width=60, force_terminal=True, color_system=None)
    progress = TableProgress(console, lambda job: [job.name])
    with progress.shown():
        progress.jobs([JobState("lint", Status.RUNNING, "running"), JobState("a", Status.WAITING)])
        progress.output("lint", b"first\n\x1b[1msecond\x1b[0m\n\n")
        shown = text_of(console)
    assert "▶ lint running second" in shown
    assert "· a    waiting" in shown
