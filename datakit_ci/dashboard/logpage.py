"""A part of a log, as lines of HTML: bounded, however long the log is."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from aiohttp import web

from datakit_ci.dashboard.ansi import Cursor, Line, LogRenderer
from datakit_ci.dashboard.scope import source_of
from datakit_ci.dashboard.source import finish
from datakit_ci.state import BuildState

__all__ = ["MAX_LINES", "LogPart", "LogWindow", "first_lines", "last_lines", "log_part"]

MAX_LINES = 5000
"""Lines on one page."""

_MAX_BYTES = 2 * 1024 * 1024
"""Bytes of log on one page, for logs with very long lines."""

_SLICE = 32 * 1024
"""Bytes rendered at a time before other requests get their turn."""


@dataclass(frozen=True, slots=True)
class LogWindow:
    """Some lines of a log that follow one another.

    Attributes:
        whole: The finished lines.
        partial: The line after them, while it is not finished.
        end: Where the log goes on: after the last finished line.
        at_end: Whether these were the last lines when they were read.
    """

    whole: tuple[Line, ...]
    partial: Line | None
    end: Cursor
    at_end: bool

    @property
    def lines(self) -> tuple[Line, ...]:
        """All lines to show."""
        return self.whole if self.partial is None else (*self.whole, self.partial)

    @property
    def first(self) -> int:
        """The number of the first line shown."""
        return self.lines[0].number if self.lines else 1

    @property
    def last(self) -> int:
        """The number of the last line shown; 0 if there are none."""
        return self.lines[-1].number if self.lines else 0


@dataclass(frozen=True, slots=True)
class LogPart:
    """What ``build_log.html`` shows.

    Attributes:
        window: The lines.
        asked: The line that ``?from=`` asked for, if it did.
        page_length: Lines on one page.
    """

    window: LogWindow
    asked: int | None
    page_length: int = MAX_LINES


async def log_part(request: web.Request, build: BuildState) -> LogPart:
    """The log of ``build`` for its page: the last lines, or those from ``?from=LINE`` on."""
    log, start = source_of(request).follow_log(build.id), _start(request)
    if start is None:
        return LogPart(await last_lines(log, build.log_size), None)
    return LogPart(await first_lines(log, build.log_size, start), start)


def _start(request: web.Request) -> int | None:
    text = request.query.get("from")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 12:
        raise web.HTTPBadRequest(text="The first line to show is a number, as in ?from=5001.")
    return max(1, int(text))


async def last_lines(log: AsyncIterator[bytes], size: int) -> LogWindow:
    """The last lines of the first ``size`` bytes of a log that is read from its start."""
    renderer = LogRenderer()
    kept: deque[bytes] = deque()
    lines = octets = 0
    async for piece in _pieces(log, size):
        kept.append(piece)
        lines, octets = lines + piece.count(b"\n"), octets + len(piece)
        while len(kept) > 1 and _enough(lines, octets, kept[0]):
            oldest = kept.popleft()
            lines, octets = lines - oldest.count(b"\n"), octets - len(oldest)
            renderer.skip(oldest)
            await asyncio.sleep(0)
    shown: deque[Line] = deque(maxlen=MAX_LINES)
    for piece in kept:
        shown.extend(renderer.feed(piece))
        await asyncio.sleep(0)
    return _window(renderer, shown, at_end=True)


def _enough(lines: int, octets: int, piece: bytes) -> bool:
    return lines - piece.count(b"\n") > MAX_LINES or octets - len(piece) > _MAX_BYTES


async def first_lines(log: AsyncIterator[bytes], size: int, start: int) -> LogWindow:
    """The lines from number ``start`` on, as many as fit on a page."""
    renderer = LogRenderer()
    shown: list[Line] = []
    octets = 0
    async for piece in _pieces(log, size):
        if renderer.cursor.line + piece.count(b"\n") < start:
            renderer.skip(piece)
        else:
            shown += [line for line in renderer.feed(piece) if line.number >= start]
        octets += len(piece) if shown else 0
        if len(shown) > MAX_LINES or octets > _MAX_BYTES:
            return _window(renderer, shown[:MAX_LINES], at_end=False)
        await asyncio.sleep(0)
    return _window(renderer, shown, at_end=True)


async def _pieces(log: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    """The first ``size`` bytes in small pieces; does not wait for a log that is still written."""
    left = size
    try:
        if left <= 0:
            return
        async for chunk in log:
            for start in range(0, min(len(chunk), left), _SLICE):
                yield chunk[start : min(start + _SLICE, left)]
            left -= len(chunk)
            if left <= 0:
                return
    finally:
        await finish(log)


def _window(renderer: LogRenderer, lines: Iterable[Line], *, at_end: bool) -> LogWindow:
    partial = renderer.partial() if at_end else None
    return LogWindow(tuple(lines), partial, renderer.cursor, at_end)
