"""A part of a log, ready for a page: its lines, when they were written, and its sections."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from aiohttp import web

from datakit_ci.dashboard.ansi import Line
from datakit_ci.dashboard.asof import AS_OF
from datakit_ci.dashboard.failures import tells_of_failure
from datakit_ci.dashboard.logbook import LOGS, LogCopy, LogWindow
from datakit_ci.dashboard.marks import Section
from datakit_ci.dashboard.scope import source_of
from datakit_ci.dashboard.wording import visible
from datakit_ci.logtimes import LogTimes
from datakit_ci.state import BuildState

__all__ = [
    "PAGE_LINES",
    "LogPart",
    "TimedLine",
    "first_lines_asked",
    "log_part",
    "moment_asked",
    "number_asked",
    "outline",
    "text_of",
    "timed",
]

PAGE_LINES = 1000
"""Lines on one page; scripts load more of them when they come into sight."""


_TAG = re.compile(r"<[^>]*>")
"""All that is in a line besides text; ``<`` and ``>`` of the text are escaped."""


@dataclass(frozen=True, slots=True)
class TimedLine:
    """A line, and when it was written.

    Attributes:
        number, html: As of :class:`~datakit_ci.dashboard.ansi.Line`.
        moment: Milliseconds after the log was begun; none if nobody knows.
    """

    number: int
    html: str
    moment: int | None

    @property
    def clock(self) -> str:
        """The moment as people read it: ``0:07.3`` or ``1:02:07``; empty if nobody knows."""
        if self.moment is None:
            return ""
        minutes, milliseconds = divmod(self.moment, 60_000)
        hours, minutes = divmod(minutes, 60)
        if hours:
            return f"{hours}:{minutes:02}:{milliseconds // 1000:02}"
        return f"{minutes}:{milliseconds // 1000:02}.{milliseconds // 100 % 10}"


@dataclass(frozen=True, slots=True)
class LogPart:
    """What ``build_log.html`` shows.

    Attributes:
        window: The lines as they were rendered.
        times: When the log was written; none if nobody knows.
        sections: All sections of the log.
        asked: The line that ``?from=`` asked for, if it did.
        moment: What this is about, as ``?at=`` has it; empty: now.
        length: Lines on one page.
    """

    window: LogWindow
    times: LogTimes | None
    sections: Sequence[Section]
    asked: int | None
    moment: str
    length: int = PAGE_LINES

    @property
    def whole(self) -> Sequence[TimedLine]:
        """The finished lines."""
        return timed(self.window.whole, self.times)

    @property
    def partial(self) -> Sequence[TimedLine]:
        """The last line, if it is not finished."""
        return timed(() if self.window.partial is None else (self.window.partial,), self.times)

    @property
    def outline(self) -> Sequence[tuple[int, int | None, str, int]]:
        """The sections for a script: heading, last line, title and depth of each."""
        return outline(self.sections)

    @property
    def began(self) -> datetime | None:
        """The moment that times are counted from."""
        return None if self.times is None else self.times.started

    @property
    def may_have_errors(self) -> bool:
        """Whether a line may tell of a failure: for sure not, if all lines are here and none does.

        Lines are looked at as they are shown; what is not here is not looked at.
        """
        is_all = self.window.first == 1 and self.window.at_end
        return not is_all or any(tells_of_failure(text_of(line)) for line in self.window.lines)

    def page(self, first: int) -> str:
        """The address of the page that begins with a line, from this one."""
        return f"?from={max(1, first)}"


def timed(lines: Sequence[Line], times: LogTimes | None) -> Sequence[TimedLine]:
    """The lines, each with its moment."""
    return [
        TimedLine(line.number, line.html, None if times is None else times.at(line.offset))
        for line in lines
    ]


def text_of(line: Line) -> str:
    """What a line says, without its looks."""
    return html.unescape(_TAG.sub("", line.html))


def outline(sections: Iterable[Section]) -> Sequence[tuple[int, int | None, str, int]]:
    """Sections for a script: heading, last line, title and depth of each."""
    return [(each.first, each.last, visible(each.title), each.depth) for each in sections]


async def log_part(request: web.Request, build: BuildState) -> LogPart:
    """The log of ``build`` for its page: the last lines, or those from ``?from=LINE`` on."""
    asked, moment = first_lines_asked(request), moment_asked()
    async with request.app[LOGS].open(source_of(request), build, moment) as log:
        return await _part(log, asked, moment)


async def _part(log: LogCopy, asked: int | None, moment: str) -> LogPart:
    if asked is None:
        window = await log.last(PAGE_LINES)
    else:
        window = await log.window(asked, PAGE_LINES)
    return LogPart(window, log.times, tuple(log.index.sections), asked, moment)


def moment_asked() -> str:
    """The moment that the request being answered is about, as ``?at=`` has it; empty: now."""
    as_of = AS_OF.get()
    return "" if as_of is None else as_of.at


def first_lines_asked(request: web.Request) -> int | None:
    """The line that ``?from=`` names, if it is there."""
    return number_asked(request, "from") if "from" in request.query else None


def number_asked(request: web.Request, name: str) -> int:
    """The number of a line in the query, from 1.

    Raises:
        HTTPBadRequest: It is not there, or no number.
    """
    text = request.query.get(name, "")
    if not (text.isascii() and text.isdigit()) or len(text) > 12:
        raise web.HTTPBadRequest(text=f"A line is named by its number, as in ?{name}=5001.")
    return max(1, int(text))
