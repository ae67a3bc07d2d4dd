"""The writer that runs in a process of its own, and the channel to it.

The child is started by the first request, takes frames (:mod:`datakit_core.store.requests`) from
one end of a socket pair, and ends when the other end closes: no way of ending this process leaves
it behind. Requests that arrive while it is busy are taken together when it is free.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path

from datakit_core.errors import DatakitError, RepositoryError
from datakit_core.store.activity import Batches, JournalLength
from datakit_core.store.applier import Durability
from datakit_core.store.requests import (
    Batch,
    Frames,
    Request,
    Value,
    decode_answer,
    encode_request,
)

__all__ = ["ProcessWriter"]

_log = logging.getLogger(__name__)

_CAPACITY = 256
"""Requests that may be under way; further callers wait."""

_FAREWELL = 10.0
"""Seconds that a closed child may take to finish what it does."""


class ProcessWriter:
    """Writes through a child process; a :class:`~datakit_core.store.writer.Writer`.

    Attributes:
        batches: What was written together.
    """

    def __init__(self, path: Path, durability: Durability = Durability.FULL) -> None:
        """Write to the repository at ``path``; nothing is started yet."""
        self.batches = Batches()
        self._path, self._durability = path, durability
        self._channel: _Channel | None = None
        self._child: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._free = asyncio.Semaphore(_CAPACITY)
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The child's process id; none while there is no child."""
        return None if self._child is None else self._child.pid

    async def submit(self, request: Request) -> Value:
        """As :meth:`datakit_core.store.writer.Writer.submit`."""
        await self._free.acquire()
        try:
            channel = await self._open_channel()
            answer = channel.send(request)
        except BaseException:
            self._free.release()
            raise
        # The place is taken until the child has answered, even if this caller goes away.
        answer.add_done_callback(lambda _: self._free.release())
        value = await asyncio.shield(answer)
        if isinstance(value, DatakitError):
            raise value
        return value

    async def close(self) -> None:
        """Let the child finish what it was given, and wait until it has gone."""
        self._closed = True
        async with self._starting:
            await self._stop()

    async def _open_channel(self) -> _Channel:
        if self._channel is not None and self._channel.alive:
            return self._channel
        async with self._starting:
            if self._closed:
                raise RepositoryError(f"{self._path} is being closed")
            if self._channel is None or not self._channel.alive:
                await self._stop()
                self._channel = await self._start()
            return self._channel

    async def _start(self) -> _Channel:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            try:
                self._child = await asyncio.create_subprocess_exec(
                    sys.executable, "-P", "-m", "datakit_core.store.writer_process",
                    str(theirs.fileno()), str(self._path), self._durability.value,
                    stdin=asyncio.subprocess.DEVNULL, pass_fds=[theirs.fileno()],
                )  # fmt: skip
            except OSError as error:
                ours.close()
                raise RepositoryError(f"cannot start the writer process: {error}") from error
        loop = asyncio.get_running_loop()
        _, channel = await loop.create_connection(lambda: _Channel(self.batches), sock=ours)
        return channel

    async def _stop(self) -> None:
        channel, self._channel = self._channel, None
        child, self._child = self._child, None
        if channel is not None:
            await channel.close()
        if child is None:
            return
        try:
            async with asyncio.timeout(_FAREWELL):
                await child.wait()
        except TimeoutError:
            _log.warning("the writer process %d does not end; killing it", child.pid)
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()


class _Channel(asyncio.Protocol):
    """Frames out, answers in, in the same order."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self._frames = Frames()
        self._waiting: deque[asyncio.Future[Value | DatakitError]] = deque()
        self._transport: asyncio.WriteTransport | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self.alive = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def send(self, request: Request) -> asyncio.Future[Value | DatakitError]:
        """Put ``request`` in line; the future's result is the answer or an error, never raised."""
        answer: asyncio.Future[Value | DatakitError] = asyncio.get_running_loop().create_future()
        assert self._transport is not None, "create_connection has returned"
        self._transport.writelines(encode_request(request))
        self._waiting.append(answer)
        self._idle.clear()
        return answer

    def data_received(self, data: bytes) -> None:
        for frame in self._frames.feed(data):
            match decode_answer(frame):
                case Batch(requests, nanoseconds):
                    self._batches.add(requests, nanoseconds)
                case JournalLength() as length:
                    self._batches.journal = length
                case answer:
                    self._settle(answer)
        if not self._waiting:
            self._idle.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.alive = False
        self._batches.journal = JournalLength()
        while self._waiting:
            self._settle(
                RepositoryError(
                    "the writer process died; what was being written may or may not be on disk: "
                    "read the branch's head and try again"
                )
            )
        self._idle.set()

    async def close(self) -> None:
        """Wait for the answers that are due, then hang up."""
        await self._idle.wait()
        if self._transport is not None:
            self._transport.close()

    def _settle(self, answer: Value | DatakitError) -> None:
        waiter = self._waiting.popleft()
        if not waiter.done():
            waiter.set_result(answer)
