"""Showing how jobs get on: a table that changes in place, or plain lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from datakit_ci.account import SIGNS
from datakit_ci.state import JobState, Status

__all__ = ["LineProgress", "Progress", "TableProgress", "mark"]

_STYLES = {
    Status.WAITING: "dim",
    Status.RUNNING: "yellow",
    Status.SUCCESS: "green",
    Status.FAILURE: "bold red",
    Status.BLOCKED: "dim",
    Status.CANCELLED: "dim",
    Status.ERROR: "bold red",
}


class Progress(Protocol):
    """Where news go while jobs run."""

    def shown(self) -> AbstractContextManager[object]:
        """Show news for as long as the context lasts."""
        ...

    def jobs(self, jobs: Sequence[JobState]) -> None:
        """The jobs stand like this now."""
        ...

    def output(self, stage: str, data: bytes) -> None:
        """A running stage has printed this."""
        ...


class LineProgress:
    """One line for each change of a job, and on request for each line that a stage prints."""

    def __init__(self, console: Console, *, verbose: bool) -> None:
        """Print to ``console``; ``verbose``: also what stages print."""
        self._console = console
        self._verbose = verbose
        self._last: dict[str, Status] = {}
        self._rest: dict[str, bytes] = {}

    def shown(self) -> AbstractContextManager[object]:
        """Nothing has to be cleaned up."""
        return nullcontext()

    def jobs(self, jobs: Sequence[JobState]) -> None:
        """Print the jobs whose status has changed; that all wait at first is no news."""
        for job in jobs:
            last = self._last.get(job.name, Status.WAITING)
            self._last[job.name] = job.status
            if last is not job.status:
                self._console.print(mark(job.status), f"{job.name}:", _words(job), soft_wrap=True)

    def output(self, stage: str, data: bytes) -> None:
        """Print whole lines, each with the name of its stage."""
        if not self._verbose:
            return
        *lines, rest = (self._rest.get(stage, b"") + data).split(b"\n")
        self._rest[stage] = rest
        for line in lines:
            text = Text(f"{stage} | ", style="dim")
            text.append(Text.from_ansi(line.decode(errors="replace")))
            self._console.print(text, soft_wrap=True)


class TableProgress:
    """One row for each job, with the last line that its stage has printed."""

    def __init__(self, console: Console, stages: Callable[[JobState], Sequence[str]]) -> None:
        """Draw on ``console``, a terminal; ``stages`` names the stages that run for a job."""
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._stages = stages
        self._jobs: Sequence[JobState] = ()
        self._lines: dict[str, str] = {}

    def shown(self) -> AbstractContextManager[object]:
        """Draw the table; it disappears at the end."""
        return self._live

    def jobs(self, jobs: Sequence[JobState]) -> None:
        """Draw again."""
        self._jobs = jobs
        self._draw()

    def output(self, stage: str, data: bytes) -> None:
        """Show the last line."""
        lines = data.decode(errors="replace").split("\n")
        line = next((line for line in reversed(lines) if line.strip()), "")
        if line:
            self._lines[stage] = Text.from_ansi(line).plain.strip()
            self._draw()

    def _draw(self) -> None:
        table = Table.grid(padding=(0, 1))
        for _ in range(3):
            table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1, style="dim")
        for job in self._jobs:
            running = [stage for stage in self._stages(job) if stage in self._lines]
            line = self._lines[running[-1]] if job.status is Status.RUNNING and running else ""
            table.add_row(mark(job.status), job.name, _words(job), line)
        self._live.update(table, refresh=True)


def mark(status: Status) -> Text:
    """A sign for a status; the word is always beside it."""
    return Text(SIGNS[status], style=_STYLES[status])


def _words(job: JobState) -> Text:
    """The status in words, with its description where that says more."""
    said = job.description or job.status.value
    return Text(said, style=_STYLES[job.status])
