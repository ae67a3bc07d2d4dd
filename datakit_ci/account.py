"""The account of a run: a line for each job, as plain text, with colours where there are any.

Printed without any library, which would take longer to import than all else when nothing runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, TextIO

from datakit_ci.meta import duration
from datakit_ci.state import BuildId, BuildState, JobState, Status

__all__ = ["SIGNS", "Row", "account", "has_colours", "row"]

SIGNS = {
    Status.WAITING: "·",
    Status.RUNNING: "▶",
    Status.SUCCESS: "✓",
    Status.FAILURE: "✗",
    Status.BLOCKED: "⊘",
    Status.CANCELLED: "⊘",
    Status.ERROR: "!",
}
"""A sign for each status; the word is always beside it."""

_DIM = "2"

_COLOURS = {
    Status.WAITING: _DIM,
    Status.RUNNING: "33",
    Status.SUCCESS: "32",
    Status.FAILURE: "1;31",
    Status.BLOCKED: _DIM,
    Status.CANCELLED: _DIM,
    Status.ERROR: "1;31",
}
"""Parameters of the control sequence that selects a colour (ECMA-48, SGR)."""

_HEADINGS = ("", "job", "state", "time", "", "")


class Row(NamedTuple):
    """A job's line.

    Attributes:
        job: Where it stands.
        spent: How long its own build took; empty if that is not known.
        origin: Where that was: ``cached`` if it was not run now.
    """

    job: JobState
    spent: str
    origin: str


def row(job: JobState, builds: Mapping[BuildId, BuildState], ran: Collection[BuildId]) -> Row:
    """The line of ``job``, whose own build is its last; ``ran``: what was run now."""
    own = builds.get(job.builds[-1]) if job.builds else None
    if job.status is Status.BLOCKED or own is None or own.started is None or own.finished is None:
        return Row(job, "", "")
    return Row(job, duration(own.started, own.finished), "" if own.id in ran else "cached")


def account(rows: Sequence[Row], *, coloured: bool) -> str:
    """The lines of ``rows`` below a heading, each column as wide as it has to be."""
    table = [_HEADINGS, *(_cells(each) for each in rows)]
    widths = [max(len(cells[column]) for cells in table) for column in range(len(_HEADINGS))]
    styles = [_DIM, *(_COLOURS[each.job.status] for each in rows)]
    lines = []
    for cells, style in zip(table, styles, strict=True):
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        if coloured:
            heading = style == _DIM and cells is _HEADINGS
            for column in range(len(cells)) if heading else (0, 2):
                padded[column] = f"\x1b[{style}m{padded[column]}\x1b[0m"
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def has_colours(stream: TextIO) -> bool:
    """Whether what is written to ``stream`` is for a terminal that can show colours."""
    return (
        stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    ) or (stream is sys.stdout and bool(os.environ.get("FORCE_COLOR")))


def _cells(each: Row) -> tuple[str, ...]:
    job = each.job
    reason = "" if job.status is Status.SUCCESS else job.description
    said = " ".join(reason.split())
    return SIGNS[job.status], job.name, job.status.value, each.spent, each.origin, said
