"""The engine's side of build processes that run one command after the other.

To who runs a build, such a process is one of its own: it has pipes of its own, and an end. What is
promised of that holds here, too: a build that is stopped, or killed, takes its process along, which
is then not used again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from datakit_ci.executors.forking import ForkServer
from datakit_ci.executors.reused import BEGUN, DONE
from datakit_ci.process import Command, Leader, Pipes

__all__ = ["Reusing"]

_log = logging.getLogger(__name__)

_IDLE = 10.0
"""Seconds that a process is kept without work: they are for builds that follow one another."""

_MOST_IDLE = 16

_ATTEMPTS = 3
"""Processes that may be killed while one build is started."""

_PATIENCE = 2.0
"""Seconds that an idle process has to end."""

_CHUNK = 1 << 16


class Reusing:
    """Starts commands' builds in processes that have run others; to be closed when none runs."""

    def __init__(self, server: ForkServer, patience: float = _IDLE) -> None:
        """Have processes forked by ``server``, and end each after ``patience`` s without work."""
        self._server = server
        self._patience = patience
        self._idle: list[_Process] = []
        self._all: set[_Process] = set()

    @property
    def idle(self) -> list[int]:
        """The ids of the processes that wait for work."""
        return [process.pid for process in self._idle]

    async def start(self, command: Command) -> Leader:
        """Start a build; ``command``'s arguments and environment play no part.

        Raises:
            OSError: It cannot be started.
        """
        for _ in range(_ATTEMPTS):
            process = self._idle.pop() if self._idle else await self._new(command.directory.parent)
            with contextlib.suppress(ConnectionError):
                return await process.lend(self._take_back)
        raise OSError("the process that the build was to have is killed each time")

    async def close(self) -> None:
        """End all processes."""
        for process in list(self._all):
            process.dismiss()
        for process in list(self._all):
            await process.gone(_PATIENCE)

    async def _new(self, directory: Path) -> _Process:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                leader = await self._server.fork(directory, theirs.fileno())
        except BaseException:
            ours.close()
            raise
        process = _Process(leader, ours, self._forget)
        self._all.add(process)
        return process

    def _take_back(self, process: _Process) -> None:
        if len(self._idle) < _MOST_IDLE:
            self._idle.append(process)
            process.rest(self._patience, self._expire)
        else:
            process.dismiss()

    def _expire(self, process: _Process) -> None:
        self._idle.remove(process)
        process.dismiss()

    def _forget(self, process: _Process) -> None:
        self._all.remove(process)
        if process in self._idle:
            self._idle.remove(process)


class _Process:
    """A process that runs commands, and our ends of what connects us."""

    def __init__(
        self, leader: Leader, control: socket.socket, forget: Callable[[_Process], None]
    ) -> None:
        self.pid = leader.pid
        self._leader = leader
        self._control = control
        self._forget = forget
        self._loop = asyncio.get_running_loop()
        self._lent: _Lent | None = None
        self._over = asyncio.Event()
        self._expiry: asyncio.TimerHandle | None = None
        self._control.setblocking(False)
        for pipe in leader.pipes[1:]:
            os.set_blocking(pipe.fileno(), False)
        self._loop.add_reader(leader.pipes.stdout.fileno(), self._on_news)
        leader.ended.add_done_callback(lambda _: self._on_end())

    async def lend(self, take_back: Callable[[_Process], None]) -> Leader:
        """Let it run a build.

        Raises:
            ConnectionError: It has ended before that.
            OSError: There are no descriptors left for its pipes.
        """
        self._stir()
        if self._over.is_set():
            raise ConnectionError("it has ended")
        try:
            lent = self._lent = _Lent(self, take_back)
        except OSError:  # no more descriptors: then it is no use to anybody
            self.dismiss()
            raise
        try:
            with lent.theirs() as descriptors:
                socket.send_fds(self._control, [b"\n"], descriptors)
            await lent.begun
        except BaseException:
            lent.abandon()
            raise
        return lent

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its group."""
        if not self._over.is_set():
            self._leader.signal(number)

    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._over.is_set()

    def rest(self, seconds: float, expire: Callable[[_Process], None]) -> None:
        """It has nothing to do; say so if it is not lent again before long."""
        self._expiry = self._loop.call_later(seconds, expire, self)

    def dismiss(self) -> None:
        """Let it end by itself."""
        self._stir()
        self._control.close()

    async def gone(self, patience: float) -> None:
        """Wait for its end, and kill it after ``patience`` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._over.wait()
        self.signal(signal.SIGKILL)
        await self._over.wait()

    def _stir(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    def _on_news(self) -> None:
        with contextlib.suppress(BlockingIOError):
            news = os.read(self._leader.pipes.stdout.fileno(), _CHUNK)
            if not news:
                self._loop.remove_reader(self._leader.pipes.stdout.fileno())
            if self._lent is not None:
                self._lent.hear(news)

    def _on_end(self) -> None:
        """Independent of any task's fate."""
        self._stir()
        self._on_news()  # whether a build has begun counts for who lends
        self._loop.remove_reader(self._leader.pipes.stdout.fileno())
        self._complain()
        for end in (*self._leader.pipes, self._control):
            end.close()
        self._leader.release()
        self._over.set()
        self._forget(self)
        if self._lent is not None:
            self._lent.end(self._leader.ended.result())

    def _complain(self) -> None:
        """Pass on what it has said about itself, which it does only when it is broken."""
        with contextlib.suppress(BlockingIOError):
            if said := os.read(self._leader.pipes.stderr.fileno(), _CHUNK):
                _log.error("a build's process failed: %s", said.decode(errors="replace"))


class _Lent:
    """A process, as the one of a single build.

    Attributes:
        pid: Of the process.
        pipes: Ours, of this build.
        begun: Done once it has the pipes.
        ended: The exit status; 0 too if it has done this build, and lives on.
    """

    def __init__(self, process: _Process, take_back: Callable[[_Process], None]) -> None:
        loop = asyncio.get_running_loop()
        (read, write), out, err = os.pipe(), os.pipe(), os.pipe()
        self.pid = process.pid
        self.pipes = Pipes(
            os.fdopen(write, "wb", buffering=0),
            os.fdopen(out[0], "rb", buffering=0),
            os.fdopen(err[0], "rb", buffering=0),
        )
        self.begun: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[int] = loop.create_future()
        self._theirs = [read, out[1], err[1]]
        self._process = process
        self._take_back = take_back
        self._signalled = False

    @contextlib.contextmanager
    def theirs(self) -> Iterator[list[int]]:
        """The build's ends of the pipes, of which we let go."""
        try:
            yield self._theirs
        finally:
            for descriptor in self._theirs:
                os.close(descriptor)

    def hear(self, news: bytes) -> None:
        """Take what the process says."""
        if BEGUN in news and not self.begun.done():
            self.begun.set_result(None)
        if DONE in news and not self.ended.done():
            self.ended.set_result(0)

    def end(self, status: int) -> None:
        """The process is gone."""
        if not self.begun.done():
            self.begun.set_exception(ConnectionError("it has ended"))
        if not self.ended.done():
            self.ended.set_result(status)

    def abandon(self) -> None:
        """Nobody waits for this build any more, which may have begun."""
        for pipe in self.pipes:
            pipe.close()
        self.begun.cancel()
        self.signal(signal.SIGTERM)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the group, whose process is not used again."""
        self._signalled = True
        self._process.signal(number)

    def release(self) -> None:
        """Let another build have the process; if it is gone, so is what it has left behind."""
        if not self._signalled and not self._process.is_over():
            self._take_back(self._process)
