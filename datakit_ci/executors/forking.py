"""The engine's side of the server from which builds are forked.

The server is started for the first build, and again if it was killed: builds that run then go on,
since nothing but their exit status depends on it. What :mod:`datakit_ci.process` promises of a
command holds for what is started here, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from datakit_ci.process import Command, Leader, Pipes, end_group, signal_group

__all__ = ["ForkServer"]

_log = logging.getLogger(__name__)

_SERVER = (sys.executable, "-P", "-m", "datakit_ci.executors.forkserver")
"""``-P``: the current directory is not searched for modules; a checkout may have our names."""

_KEPT = ("HOME", "LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "PYTHONPATH")
"""What our own processes need of our environment to be the same program."""

_MESSAGE = 1 << 16
_PATIENCE = 2.0
"""Seconds that a server has to end once its socket is closed."""

_UNKNOWN = -signal.SIGKILL
"""The status of a build that nobody saw end: as after a kill, its session may hold others."""

_ATTEMPTS = 3
"""Servers that may be killed while one build is started."""


class ForkServer:
    """Starts build processes; to be closed when none is running any more."""

    def __init__(self) -> None:
        """Start no process yet: maybe everything is in the cache."""
        self._connection: _Connection | None = None

    @property
    def pid(self) -> int | None:
        """The server's process id; none if there is no server."""
        return None if self._connection is None else self._connection.pid

    async def start(self, command: Command) -> Leader:
        """Start a build in ``command.directory``; its arguments and environment play no part.

        Raises:
            OSError: It cannot be started.
        """
        return await self.fork(command.directory)

    async def fork(self, directory: Path, control: int | None = None) -> Leader:
        """Start a build's process; with a socket, one that is told over that what to run.

        Args:
            directory: Where it starts.
            control: Its end of the socket; :mod:`datakit_ci.executors.reused` listens there.

        Raises:
            OSError: It cannot be started.
        """
        for _ in range(_ATTEMPTS):
            connection = self._connected()
            with contextlib.suppress(ConnectionError):
                return await connection.start(directory, control)
            _log.warning("the process that builds are forked from was killed; another is started")
        raise OSError("the process that builds are forked from is killed each time")

    async def close(self) -> None:
        """End the server."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.disconnect()
            await asyncio.to_thread(connection.wait)

    def _connected(self) -> _Connection:
        """The connection; a new one if the server has ended."""
        if self._connection is not None and self._connection.lost:
            self._connection.wait()
            self._connection = None
        if self._connection is None:
            self._connection = _Connection()
        return self._connection


class _Connection:
    """One server process, and the socket to it."""

    def __init__(self) -> None:
        self.lost = False
        self._loop = asyncio.get_running_loop()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                _SERVER,
                env={
                    # One order of sets in all builds: what a stage asks must not depend on luck.
                    "PYTHONHASHSEED": "0",
                    **{name: os.environ[name] for name in _KEPT if name in os.environ},
                },
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._socket.setblocking(False)
        self._loop.add_reader(self._socket, self._on_message)
        self._numbers = itertools.count(1)
        self._starting: dict[int, _Start] = {}
        self._running: dict[int, _Forked] = {}

    @property
    def pid(self) -> int:
        return self._process.pid

    async def start(self, directory: Path, control: int | None) -> Leader:
        """Let the server fork.

        If it is cancelled meanwhile, the build finds its life line cut, and ends by itself.
        """
        number = next(self._numbers)
        start = self._starting[number] = _Start(self._loop)
        try:
            await self._order(number, directory, start, control)
            return await start.leader
        except BaseException:
            start.abandon()
            raise
        finally:
            start.close_theirs()

    async def _order(
        self, number: int, directory: Path, start: _Start, control: int | None
    ) -> None:
        order = {"fork": number, "directory": str(directory)}
        given = start.theirs if control is None else [*start.theirs, control]
        try:
            await self._send(json.dumps(order).encode(), given)
        except BaseException:
            del self._starting[number]  # no answer will come
            raise

    def release(self, pid: int) -> None:
        """Let the server forget a process that has ended, and whose group was ended."""
        if self._running.pop(pid, None) is not None and not self.lost:
            with contextlib.suppress(OSError):  # killed: so the kernel has forgotten it
                self._socket.send(json.dumps({"reap": pid}).encode())

    def disconnect(self) -> None:
        """Close the socket, at which the server ends."""
        if self.lost:
            return
        self.lost = True
        self._loop.remove_reader(self._socket)
        self._socket.close()
        for start in self._starting.values():
            start.fail(ConnectionError("the process that builds are forked from has ended"))
        for forked in self._running.values():
            forked.watch()

    def wait(self) -> None:
        """Wait for the server's end; it has been told, or has been killed."""
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    async def _send(self, message: bytes, descriptors: list[int]) -> None:
        """Send to the server, which may be starting, and not reading yet."""
        while not self.lost:
            try:
                socket.send_fds(self._socket, [message], descriptors)
            except BlockingIOError:
                await self._writable()
            except ConnectionError:
                self.disconnect()
            else:
                return
        raise ConnectionError("the process that builds are forked from has ended")

    async def _writable(self) -> None:
        writable = asyncio.Event()
        self._loop.add_writer(self._socket, writable.set)
        try:
            await writable.wait()
        finally:
            self._loop.remove_writer(self._socket)

    def _on_message(self) -> None:
        try:
            message = self._socket.recv(_MESSAGE)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        match json.loads(message or b"null"):
            case {"started": int(number), "pid": int(pid)}:
                self._began(self._starting.pop(number), pid)
            case {"refused": int(number), "reason": str(reason)}:
                self._starting.pop(number).fail(OSError(f"no process can be started: {reason}"))
            case {"ended": int(pid), "status": int(status)}:
                self._running[pid].end(status)
            case _:
                self.disconnect()

    def _began(self, start: _Start, pid: int) -> None:
        try:
            forked = _Forked(self, pid, self._loop)
        except ProcessLookupError:  # the server was killed, and so was this one, without its input
            start.fail(ConnectionError("a build's process has ended before it began"))
        else:
            self._running[pid] = forked
            start.succeed(forked)


class _Start:
    """A build that is being started, and its pipes.

    Attributes:
        theirs: What the build reads, prints, and prints as errors.
        leader: The process, once it is there.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        (read, write), out, err = os.pipe(), os.pipe(), os.pipe()
        self.theirs = [read, out[1], err[1]]
        self.leader: asyncio.Future[Leader] = loop.create_future()
        self._ours = Pipes(
            os.fdopen(write, "wb", buffering=0),
            os.fdopen(out[0], "rb", buffering=0),
            os.fdopen(err[0], "rb", buffering=0),
        )

    def succeed(self, forked: _Forked) -> None:
        """The build has begun; if nobody waits for it any more, it ends without its input."""
        if self.leader.done():
            _release_at_end(forked)
        else:
            forked.pipes = self._ours
            self.leader.set_result(forked)

    def fail(self, error: OSError) -> None:
        """There is no build."""
        if not self.leader.done():
            self.leader.set_exception(error)

    def abandon(self) -> None:
        """Cut the build's life line, whether it has begun or not."""
        self.leader.cancel()
        if not self.leader.cancelled() and self.leader.exception() is None:
            _release_at_end(self.leader.result())
        for pipe in (self._ours.stdin, self._ours.stdout, self._ours.stderr):
            pipe.close()

    def close_theirs(self) -> None:
        """Let go of the build's ends of the pipes, which it has by now, or never will."""
        for descriptor in self.theirs:
            os.close(descriptor)


def _release_at_end(leader: Leader) -> None:
    leader.ended.add_done_callback(lambda _: leader.release())


class _Forked:
    """A build's process: a child of the server, and not of ours.

    Attributes:
        pipes: Ours, once the build has begun.
        ended: Its exit status; it is a zombie until it is released.
    """

    def __init__(self, connection: _Connection, pid: int, loop: asyncio.AbstractEventLoop) -> None:
        self.pid = pid
        self.ended: asyncio.Future[int] = loop.create_future()
        self.pipes: Pipes
        self._connection = connection
        self._loop = loop
        self._pidfd = os.pidfd_open(pid)  # the server keeps its zombie, so this is no other's id

    def end(self, status: int) -> None:
        """Note the exit status."""
        if not self.ended.done():
            self.ended.set_result(status)

    def watch(self) -> None:
        """Wait for the end without the server, which would have told the status."""
        self._loop.add_reader(self._pidfd, self.end, _UNKNOWN)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its group."""
        signal_group(self.pid, number)

    def release(self) -> None:
        """Kill what it has left behind, and let its id be used again."""
        end_group(self.pid, self.ended.result())
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._connection.release(self.pid)
