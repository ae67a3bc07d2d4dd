"""Logs that somebody looks at, copied to this machine's disk, with an index of their lines.

A recorded log lies compressed in the database: to reach its middle, all before it must be
unpacked. So the first who looks at a log has it copied to a file without a name, and all others
share that copy: any part of 100 MB is then as near as any other. A log that is still written is
copied as far as it goes, and further with each look at it. What has not been looked at for longest
goes first when the copies take too much room.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aiohttp import web

from datakit_ci.dashboard.ansi import Cursor, Line, LogRenderer, clean
from datakit_ci.dashboard.lineindex import SLICE, LineIndex
from datakit_ci.dashboard.source import Source, finish
from datakit_ci.logtimes import LogTimes
from datakit_ci.state import BuildId, BuildState

__all__ = ["LOGS", "LogBook", "LogCopy", "LogWindow"]

_ROOM = 1 << 30
"""Bytes of copies on disk, not counting those that somebody is looking at."""

_MOST = 200
"""Copies; each takes a file descriptor, and memory for its index."""

_MOST_BYTES = 2 << 20
"""Bytes of log in one window, for logs with very long lines."""


@dataclass(frozen=True, slots=True)
class LogWindow:
    """Some lines of a log that follow one another.

    Attributes:
        whole: The finished lines.
        partial: The line after them, while it is not finished.
        end: Where the log goes on: after the last finished line.
        total: How many lines there were in the log then.
    """

    whole: tuple[Line, ...]
    partial: Line | None
    end: Cursor
    total: int

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

    @property
    def at_end(self) -> bool:
        """Whether no line comes after these."""
        return self.last >= self.total


class LogCopy:
    """One log, as far as it has been copied.

    Attributes:
        index: Where its lines are.
        times: When they were written, if that is known.
        failures: The lines that tell of a failure, once they have been looked for in a whole log.
        users: How many look at it now.
    """

    def __init__(self) -> None:
        """Nothing is copied yet."""
        self.index = LineIndex()
        self.times: LogTimes | None = None
        self.failures: Sequence[int] | None = None
        self.users = 0
        self._file = tempfile.TemporaryFile(prefix="datakit-log-", buffering=0)  # noqa: SIM115
        self._lock = asyncio.Lock()

    @property
    def size(self) -> int:
        """Bytes copied."""
        return self.index.size

    def close(self) -> None:
        """Give the room back."""
        self._file.close()

    async def extend(self, source: Source, build: BuildState) -> None:
        """Copy what has come to the log of ``build`` since; several may ask for that at once.

        Raises:
            OSError: The disk is full.
        """
        async with self._lock:
            if self.size >= build.log_size:
                return
            self.failures = None
            self.times = await source.log_times(build.id)
            log = source.follow_log(build.id, self.size)
            try:
                while self.size < build.log_size and (piece := await anext(log, b"")):
                    await self._append(piece[: build.log_size - self.size])
            finally:
                await finish(log)

    async def _append(self, piece: bytes) -> None:
        for start in range(0, len(piece), SLICE):
            data = piece[start : start + SLICE]
            os.pwrite(self._file.fileno(), data, self.size)  # to the page cache: microseconds
            self.index.feed(data)
            await asyncio.sleep(0)

    async def pieces(self, offset: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """What is there from byte ``offset`` on; others get their turn between the pieces."""
        stop = self.size if end is None else min(end, self.size)
        while offset < stop:
            data = os.pread(self._file.fileno(), min(SLICE, stop - offset), offset)
            yield data
            offset += len(data)
            await asyncio.sleep(0)

    async def window(self, first: int, count: int) -> LogWindow:
        """``count`` lines from number ``first`` on, or fewer if they are very long."""
        total, start = self.index.lines, self.index.before(first)
        renderer = LogRenderer(start)
        shown: list[Line] = []
        octets = 0
        async for piece in self.pieces(start.offset):
            if renderer.cursor.line + piece.count(b"\n") < first:
                renderer.skip(piece)
            else:
                shown += [line for line in renderer.feed(piece) if line.number >= first]
                octets += len(piece)
            if len(shown) >= count or (shown and octets > _MOST_BYTES):
                return _cut(shown[:count], renderer, total)
        partial = renderer.partial()
        asked = partial is not None and partial.number >= first
        return LogWindow(tuple(shown), partial if asked else None, renderer.cursor, total)

    async def last(self, count: int) -> LogWindow:
        """The last ``count`` lines, or fewer if they are very long."""
        window = await self.window(max(1, self.index.lines - count + 1), count)
        kept = deque(window.whole)
        while window.last < window.total:  # long lines: on to the end, without the first
            window = await self.window(window.last + 1, count)
            kept.extend(window.whole)
            while len(kept) > 1 and window.end.offset - kept[0].offset > _MOST_BYTES:
                kept.popleft()
        return LogWindow(tuple(kept), window.partial, window.end, window.total)

    async def text(self, first: int, last: int) -> AsyncIterator[bytes]:
        """What the lines from ``first`` to ``last`` say, without colours, in pieces."""
        begin = await self._offset_of(first)
        end = await self._offset_of(last + 1)
        rest = b""
        async for piece in self.pieces(begin, end):
            whole, newline, tail = piece.rpartition(b"\n")
            if newline:
                yield clean(rest + whole) + newline
                rest = b""
            rest = (rest + tail)[:_MOST_BYTES]
        if rest:
            yield clean(rest)

    async def _offset_of(self, line: int) -> int:
        """Where ``line`` begins; the end of the log if it has no such line."""
        start = self.index.before(line)
        number, offset = start.line, start.offset
        async for piece in self.pieces(start.offset):
            lines = piece.count(b"\n")
            if number + lines < line:
                number, offset = number + lines, offset + len(piece)
                continue
            position = 0
            for _ in range(line - number):
                position = piece.index(b"\n", position) + 1
            return offset + position
        return offset if number >= line else self.size


def _cut(lines: Sequence[Line], renderer: LogRenderer, total: int) -> LogWindow:
    """A window that ends before the renderer does: nobody goes on from its end."""
    return LogWindow(tuple(lines), None, renderer.cursor, total)


class LogBook:
    """The copies of logs."""

    def __init__(self, room: int = _ROOM) -> None:
        """Let copies take ``room`` bytes."""
        self._room = room
        self._copies: OrderedDict[Hashable, LogCopy] = OrderedDict()

    def __len__(self) -> int:
        return len(self._copies)

    @contextlib.asynccontextmanager
    async def open(
        self, source: Source, build: BuildState, moment: str = ""
    ) -> AsyncIterator[LogCopy]:
        """The log of ``build`` as ``source`` shows it, copied as far as it goes.

        Args:
            source: What whoever asks may see: without it, nothing is found in the book.
            build: As that source has just given it.
            moment: What tells apart the states that a log may be seen in: ``?at=``.

        Raises:
            HTTPServiceUnavailable: The disk is full.
        """
        key = _key(build, moment)
        copy = self._copies.get(key)
        if copy is None:
            copy = self._copies[key] = LogCopy()
        self._copies.move_to_end(key)
        copy.users += 1
        try:
            await copy.extend(source, build)
            yield copy
        except OSError as error:
            if isinstance(error, ConnectionError):
                raise
            raise web.HTTPServiceUnavailable(
                text=f"The log cannot be prepared for reading: {error.strerror}. The raw log can."
            ) from error
        finally:
            copy.users -= 1
            self._make_room()

    def _make_room(self) -> None:
        used = sum(copy.size for copy in self._copies.values())
        for key, copy in list(self._copies.items()):
            if used <= self._room and len(self._copies) <= _MOST:
                return
            if not copy.users:
                used -= copy.size
                copy.close()
                del self._copies[key]

    def close(self) -> None:
        """Give all room back."""
        for copy in self._copies.values():
            copy.close()
        self._copies.clear()


def _key(build: BuildState, moment: str) -> tuple[BuildId, datetime | None, str]:
    """Runs of a build differ in their start; while one run lasts, its log only grows."""
    return build.id, build.started, moment


LOGS: Final = web.AppKey("logs", LogBook)
