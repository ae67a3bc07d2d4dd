"""A build's log on its way from a worker to the engine: in order, once, and all of it.

While a build runs its worker tells pieces of the log, which may get lost with a connection. What
comes in order is passed on at once; after a gap nothing is, until the end, when the rest is taken
from the whole log that comes with the answer.
"""

from __future__ import annotations

import asyncio

from datakit_ci.executors.dask.wire import Answer, Began, Ended, News, Piece
from datakit_ci.process import Sink

__all__ = ["LogRelay"]


class LogRelay:
    """The engine's end of one build's log.

    Attributes:
        worker: Where the build runs, as far as is known; empty: nowhere yet.
        runs: How often it has been begun.
        ended: Set while nothing of the build is left on any worker.
    """

    def __init__(self, log: Sink) -> None:
        """Pass the log on to ``log``."""
        self.worker = ""
        self.runs = 0
        self.ended = asyncio.Event()
        self.ended.set()
        self._log = log
        self._run = ""
        self._size = 0
        self._line_open = False

    def take(self, news: News) -> None:
        """News of this build; those of a run that is over do not count any more."""
        match news:
            case Began(run=run, worker=worker):
                self._begin(run, worker)
            case Piece(run=run, offset=offset, data=data):
                if run == self._run and offset <= self._size < offset + len(data):
                    self._write(data[self._size - offset :])
            case Ended(run=run):
                if run == self._run:
                    self.ended.set()

    def rest(self, answer: Answer) -> int:
        """From where on the log of ``answer`` is missing; it is begun anew if it is another run."""
        self._begin(answer.run, answer.worker)
        self.ended.set()
        return self._size

    def finish(self, data: bytes) -> None:
        """Pass on what was missing."""
        self._write(data)

    def note(self, text: str) -> None:
        """Put in a line of our own."""
        start = "\n" if self._line_open else ""
        self._line_open = False
        self._log(f"{start}[datakit-ci] {text}\n".encode(errors="replace"))

    def _begin(self, run: str, worker: str) -> None:
        if run == self._run:
            return
        if self._size:
            self.note(f"begun again on worker {worker}")
        self._run, self._size, self.worker = run, 0, worker
        self.runs += 1
        self.ended.clear()

    def _write(self, data: bytes) -> None:
        if data:
            self._size += len(data)
            self._line_open = not data.endswith(b"\n")
            self._log(data)
