"""Run one command so that nothing of it survives, whatever happens to it or to us.

Every command leads a session, and with it a process group, of its own. The group is killed when
the command ends (what it left behind in the group), when the caller is cancelled, and when a sink
fails; if the command itself was killed, so are the other groups of its session. The leader is
reaped only after that: until then the kernel keeps its id, so that a signal can never reach a
stranger's group.

Time limits are the caller's: ``async with asyncio.timeout(...)`` around :func:`run_process`
cancels it, and a cancelled run returns only when the command is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple, Protocol, TypeAlias

from datakit_ci.procfs import members_of_session

__all__ = [
    "Command",
    "Leader",
    "Pipes",
    "Sink",
    "Start",
    "end_group",
    "run_process",
    "signal_group",
    "start_process",
]

Sink: TypeAlias = Callable[[bytes], None]
"""Takes the next bytes of an output; called on the event loop, so it must not block."""

_CHUNK = 1 << 16
_DRAIN = 1.0
"""Seconds to wait for the end of the output of a command that is gone: only a process that left
the group can still hold the pipe, and it is not waited for."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to run, and in which surroundings.

    Attributes:
        arguments: The program, found on ``PATH``, and its arguments; no shell.
        directory: Where it starts.
        environment: All of its environment.
        stdin: What it reads first. Its standard input then stays open for as long as we live, so
            that a command which reads on until the end of the file notices when we are killed.
    """

    arguments: tuple[str, ...]
    directory: Path
    environment: Mapping[str, str]
    stdin: bytes = b""


class Pipes(NamedTuple):
    """Our ends of a command's pipes, unbuffered."""

    stdin: IO[bytes]
    stdout: IO[bytes]
    stderr: IO[bytes]


class Leader(Protocol):
    """A command that was started: it leads a session and a group."""

    @property
    def pid(self) -> int:
        """Its process id, and that of its session and its group."""
        ...

    @property
    def pipes(self) -> Pipes:
        """Its input and its outputs."""
        ...

    @property
    def ended(self) -> asyncio.Future[int]:
        """Its exit status, or the negative number of a signal; then it is a zombie."""
        ...

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its group; only before the end."""
        ...

    def release(self) -> None:
        """Kill what it has left behind, and reap it: then its id may be another process's."""
        ...


Start: TypeAlias = Callable[[Command], Awaitable[Leader]]
"""Starts a command; raises ``OSError`` if that is not possible."""


async def start_process(command: Command) -> Leader:
    """Start a command as a child of ours; takes about a millisecond."""
    return _Child(command)


def signal_group(leader: int, number: signal.Signals) -> None:
    """Send a signal to a group, whose leader has not been reaped; it may be empty otherwise."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, number)


def end_group(leader: int, status: int) -> None:
    """Kill what the zombie ``leader`` has left in its group, or, if it was killed, its session."""
    signal_group(leader, signal.SIGKILL)
    if status < 0:
        _kill_session(leader)


async def run_process(
    command: Command,
    *,
    stdout: Sink,
    stderr: Sink,
    grace: float = 5.0,
    start: Start = start_process,
) -> int:
    """Run ``command`` to its end and return its exit status.

    Args:
        command: What to run.
        stdout: Takes what it prints.
        stderr: Takes what it prints on standard error.
        grace: Seconds between SIGTERM and SIGKILL when the run is cancelled; a second
            cancellation kills at once.
        start: How it is started.

    Returns:
        The exit status, or the negative number of the signal that killed the command.

    Raises:
        OSError: The command cannot be started, or a sink failed (the disk is full).
    """
    process = _Process(await start(command), command.stdin, stdout, stderr)
    try:
        await process.ended
    finally:
        await process.stop(grace)
    await process.drained(_DRAIN)
    return process.status


class _Process:
    """A running command and what the loop watches of it: its end, and its three pipes."""

    def __init__(self, leader: Leader, data: bytes, stdout: Sink, stderr: Sink) -> None:
        loop = asyncio.get_running_loop()
        self._leader = leader
        self._exited = asyncio.Event()
        self.ended: asyncio.Future[None] = loop.create_future()
        pipes = leader.pipes
        self._input = _Input(loop, pipes.stdin, data)
        self._outputs = [
            _Output(loop, pipes.stdout, stdout, self._on_failure),
            _Output(loop, pipes.stderr, stderr, self._on_failure),
        ]
        leader.ended.add_done_callback(lambda _: self._on_exit())

    @property
    def status(self) -> int:
        """The exit status; only after the end."""
        return self._leader.ended.result()

    async def stop(self, grace: float) -> None:
        """Ask the group to end, kill it after ``grace`` seconds, and wait until it is gone."""
        try:
            if not self._exited.is_set():
                self._input.close()
                self._leader.signal(signal.SIGTERM)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(grace):
                        await self._exited.wait()
        finally:
            if not self._exited.is_set():
                self._leader.signal(signal.SIGKILL)
        await self._exited.wait()

    async def drained(self, patience: float) -> None:
        """Wait until all output has been taken, but no longer than ``patience`` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                for output in self._outputs:
                    await output.closed.wait()
        for output in self._outputs:
            output.close()

    def _on_exit(self) -> None:
        """Kill what the leader left behind, then reap it. Independent of any task's fate."""
        self._leader.release()
        self._input.close()
        self._exited.set()
        if not self.ended.done():
            self.ended.set_result(None)

    def _on_failure(self, error: Exception) -> None:
        if not self.ended.done():
            self.ended.set_exception(error)


class _Child:
    """A command that is a child of ours."""

    def __init__(self, command: Command) -> None:
        self._loop = asyncio.get_running_loop()
        self._popen = subprocess.Popen(
            command.arguments,
            cwd=command.directory,
            env=command.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        assert self._popen.stderr is not None
        self.pid = self._popen.pid
        self.pipes = Pipes(self._popen.stdin, self._popen.stdout, self._popen.stderr)
        self.ended: asyncio.Future[int] = self._loop.create_future()
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._pidfd, self._on_exit)

    def _on_exit(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        end = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        assert end is not None
        exited = end.si_code == os.CLD_EXITED
        self.ended.set_result(end.si_status if exited else -end.si_status)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its group."""
        signal_group(self.pid, number)

    def release(self) -> None:
        """Kill what it has left behind, and reap it."""
        end_group(self.pid, self.ended.result())
        self._popen.wait()


def _kill_session(session: int) -> None:
    """Kill a session's processes, until there are none: one may have forked meanwhile."""
    while members := members_of_session(session):
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class _Output:
    """One pipe from the command, read as it comes: nothing is buffered here."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pipe: IO[bytes],
        sink: Sink,
        fail: Callable[[Exception], None],
    ) -> None:
        self.closed = asyncio.Event()
        self._loop, self._pipe, self._sink, self._fail = loop, pipe, sink, fail
        os.set_blocking(pipe.fileno(), False)
        loop.add_reader(pipe.fileno(), self._on_readable)

    def _on_readable(self) -> None:
        try:
            data = os.read(self._pipe.fileno(), _CHUNK)
            if data:
                self._sink(data)
            else:
                self.close()
        except BlockingIOError:
            return
        except Exception as error:  # noqa: BLE001 - whatever a sink raises is the caller's to see
            self.close()
            self._fail(error)

    def close(self) -> None:
        """Stop reading; does nothing the second time."""
        if not self.closed.is_set():
            self._loop.remove_reader(self._pipe.fileno())
            self._pipe.close()
            self.closed.set()


class _Input:
    """The pipe to the command: what it is to read, then silence until it is closed."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pipe: IO[bytes], data: bytes) -> None:
        self._loop, self._pipe, self._rest = loop, pipe, memoryview(data)
        os.set_blocking(pipe.fileno(), False)
        if data:
            loop.add_writer(pipe.fileno(), self._on_writable)

    def _on_writable(self) -> None:
        try:
            self._rest = self._rest[os.write(self._pipe.fileno(), self._rest) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self.close()
            return
        if not self._rest:
            self._loop.remove_writer(self._pipe.fileno())

    def close(self) -> None:
        """End the command's input; does nothing the second time."""
        if not self._pipe.closed:
            self._loop.remove_writer(self._pipe.fileno())
            self._pipe.close()
