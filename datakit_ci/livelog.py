"""The log of a running build: one writer, a file, and any number of readers from any offset.

A log is spooled to disk so that a crash leaves it readable, and so that a reader who comes late
starts at byte 0. Readers hold nothing but an offset: a slow one costs the writer nothing. All
readers of one log share a descriptor, and those at its end share what was read there, so that a
hundred of them cost as many reads of the file as one.

Offsets count the bytes of the log and nothing else. Why a build has not started yet is told beside
its log, as :class:`Pending`, and moves no offset: the log begins with byte 0 when the build does.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from datakit_ci.clock import SystemClock
from datakit_ci.conditions import LOG_LIMIT
from datakit_ci.logtimes import LogTimes, Timekeeper
from datakit_ci.pulse import Pulse
from datakit_ci.redaction import Redaction

__all__ = ["LiveLog", "Pending", "RedactedLog"]

_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Pending:
    """News for who follows the log of a build that has not started; no part of the log.

    Attributes:
        reason: Why it waits, such as ``waiting for pool cpu (2 of 2 busy), 3rd in line``.
    """

    reason: str


class LiveLog:
    """A log being written to ``path``; ``with`` opens and ends it.

    Attributes:
        path: The spool file; an older one is replaced.
        size: Bytes written so far.
        ended: Whether no more will be written.
    """

    def __init__(
        self,
        path: Path,
        limit: int = LOG_LIMIT,
        now: Callable[[], datetime] = SystemClock().now,  # noqa: B008 - it has no state
    ) -> None:
        """Keep at most ``limit`` bytes, and a line that says so; ``now`` is for the times."""
        self.path = path
        self.size = 0
        self.ended = False
        self._limit = limit
        self._cut = False
        self._line_open = False
        self._file: BinaryIO | None = None
        self._pulse = Pulse()
        self._timekeeper = Timekeeper(now)
        self._readers = 0
        self._descriptor = -1  # that all readers share; open while there are any
        self._last = 0, b""  # what was read at the end of the log, and where that begins

    def __enter__(self) -> Self:
        """Create the file."""
        self._file = self.path.open("wb", buffering=0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the log; followers get the rest and stop."""
        assert self._file is not None
        self._file.close()
        self.ended = True
        self._pulse.beat()

    def write(self, data: bytes) -> None:
        """Append ``data``; beyond the limit it is dropped.

        The write goes to the page cache, which takes microseconds; a build's output is no
        decision, so it is not synced.

        Raises:
            OSError: The disk is full.
        """
        room = self._limit - self.size
        if self._cut or not data:
            return
        if len(data) > room:
            self._cut = True
            data = data[:room] + _cut_line(self._limit)
        assert self._file is not None, "a log is written inside its with block"
        self._timekeeper.growing(self.size)
        self._file.write(data)
        self.size += len(data)
        self._line_open = not data.endswith(b"\n")
        self._pulse.beat()

    @property
    def times(self) -> LogTimes:
        """When what is there was written."""
        return self._timekeeper.times()

    def note(self, text: str) -> None:
        """Append a line of our own, on a line of its own whatever the command printed last."""
        start = "\n" if self._line_open else ""
        self.write(f"{start}[datakit-ci] {text}\n".encode(errors="replace"))

    async def follow(self, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """What is there from byte ``offset`` on, and what comes, until the log ends."""
        with self._reading():
            while True:
                change = self._pulse.next
                if data := self._read(offset):
                    offset += len(data)
                    yield data
                elif self.ended:
                    return
                else:
                    await change.wait()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """One more reader; the file may go meanwhile."""
        if not self._readers:
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        self._readers += 1
        try:
            yield
        finally:
            self._readers -= 1
            if not self._readers:
                os.close(self._descriptor)
                self._descriptor, self._last = -1, (0, b"")

    def _read(self, offset: int) -> bytes:
        """Some bytes from ``offset``; empty at the end."""
        if offset >= self.size:
            return b""
        start, data = self._last
        if start == offset and offset + len(data) == self.size:
            return data
        data = os.pread(self._descriptor, _CHUNK, offset)
        if offset + len(data) == self.size:
            self._last = offset, data
        return data


class RedactedLog:
    """A log without its secrets: what goes into ``log`` has been redacted.

    Attributes:
        redaction: The secrets that it is free of.
    """

    def __init__(self, log: LiveLog, redaction: Redaction) -> None:
        """Write to ``log``, which its owner opens and ends."""
        self.redaction = redaction
        self._log = log
        self._redactor = redaction.stream()

    @property
    def path(self) -> Path:
        """The spool file."""
        return self._log.path

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._log.size

    @property
    def times(self) -> LogTimes:
        """When they were written."""
        return self._log.times

    def write(self, data: bytes) -> None:
        """Append ``data``, of which what could yet become a secret is held back."""
        self._log.write(self._redactor.feed(data))

    def finish(self) -> None:
        """Append what was held back: the output is at its end."""
        self._log.write(self._redactor.finish())

    def note(self, text: str) -> None:
        """Append a line of our own after all that was printed."""
        self.finish()
        self._log.note(self.redaction.text(text))


def _cut_line(limit: int) -> bytes:
    return f"\n[datakit-ci] log cut here: it is longer than {limit} bytes\n".encode()
