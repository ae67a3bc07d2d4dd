"""One command and its process group: ends, outputs, cancellation, and what is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from datakit_ci.process import Command, run_process
from tests.support.processes import Collector, gone


def ignore(data: bytes) -> None:
    """A sink for output that a test does not look at."""


def python(code: str, tmp_path: Path, stdin: bytes = b"") -> Command:
    """A command that runs ``code`` in a bare interpreter."""
    return Command((sys.executable, "-ISc", code), tmp_path, {"PATH": os.environ["PATH"]}, stdin)


def shell(code: str, tmp_path: Path) -> Command:
    return Command(("/bin/sh", "-c", code), tmp_path, {"PATH": os.environ["PATH"]})


async def test_output_and_status_of_a_command(tmp_path: Path) -> None:
    out, err = Collector(), Collector()
    status = await run_process(
        shell("echo one; echo two >&2; exit 3", tmp_path), stdout=out, stderr=err
    )
    assert (status, bytes(out.data), bytes(err.data)) == (3, b"one\n", b"two\n")


async def test_the_status_of_a_killed_command_is_the_negative_signal(tmp_path: Path) -> None:
    status = await run_process(shell("kill -KILL $$", tmp_path), stdout=ignore, stderr=ignore)
    assert status == -signal.SIGKILL


async def test_a_command_reads_its_input_however_long_it_is(tmp_path: Path) -> None:
    out = Collector()
    code = "import sys; print(sum(sys.stdin.buffer.readline()[:-1]))"
    command = python(code, tmp_path, b"\x01" * 1_000_000 + b"\n")
    assert await run_process(command, stdout=out, stderr=ignore) == 0
    assert bytes(out.data) == b"1000000\n"


async def test_a_command_that_does_not_read_its_input_is_no_error(tmp_path: Path) -> None:
    command = python("pass", tmp_path, b"x" * 1_000_000)
    assert await run_process(command, stdout=ignore, stderr=ignore) == 0


async def test_the_environment_is_only_what_was_given(tmp_path: Path) -> None:
    out = Collector()
    command = Command(("/usr/bin/env",), tmp_path, {"ONLY": "this"})
    assert await run_process(command, stdout=out, stderr=ignore) == 0
    assert bytes(out.data) == b"ONLY=this\n"


async def test_a_command_that_is_not_there_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await run_process(Command(("/no/such",), tmp_path, {}), stdout=ignore, stderr=ignore)


async def test_all_output_arrives_even_when_there_is_much(tmp_path: Path) -> None:
    out = Collector()
    code = "import sys; sys.stdout.write('x' * 3_000_000)"
    assert await run_process(python(code, tmp_path), stdout=out, stderr=ignore) == 0
    assert len(out.data) == 3_000_000


async def test_what_a_command_leaves_in_its_group_is_killed(tmp_path: Path) -> None:
    out = Collector()
    await run_process(shell("sleep 1000 & echo $!", tmp_path), stdout=out, stderr=ignore)
    await gone(int(out.data))


IGNORING_FAMILY = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child == 0:
    while True:
        time.sleep(1000)
print(os.getpid(), child, flush=True)
while True:
    time.sleep(1000)
"""


async def start(
    command: Command, grace: float, group: asyncio.TaskGroup
) -> tuple[asyncio.Task[int], list[int]]:
    """Start a command that prints process ids first; wait for these."""
    out = Collector()
    task = group.create_task(run_process(command, stdout=out, stderr=ignore, grace=grace))
    return task, [int(word) for word in (await out.line()).split()]


async def cancelled(task: asyncio.Task[int]) -> bool:
    """Wait for a task that was cancelled."""
    await asyncio.wait([task])
    return task.cancelled()


async def test_cancel_kills_a_family_that_ignores_sigterm(tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as group:
        task, pids = await start(python(IGNORING_FAMILY, tmp_path), 0.05, group)
        assert len(pids) == 2
        task.cancel()
        assert await cancelled(task)
    for pid in pids:
        await gone(pid)


async def test_cancel_lets_a_command_clean_up(tmp_path: Path) -> None:
    code = """
import os, pathlib, signal, sys
def clean(*ignored):
    pathlib.Path("cleaned").touch()
    sys.exit()
signal.signal(signal.SIGTERM, clean)
print(os.getpid(), flush=True)
signal.pause()
"""
    async with asyncio.TaskGroup() as group:
        task, _ = await start(python(code, tmp_path), 30, group)
        task.cancel()
        assert await cancelled(task)
    assert (tmp_path / "cleaned").exists()


async def test_a_second_cancel_kills_at_once(tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as group:
        task, pids = await start(python(IGNORING_FAMILY, tmp_path), 1000, group)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        assert await cancelled(task)
    for pid in pids:
        await gone(pid)


async def test_a_time_out_around_a_run_ends_the_command(tmp_path: Path) -> None:
    out = Collector()
    command = python(IGNORING_FAMILY, tmp_path)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await run_process(command, stdout=out, stderr=ignore, grace=0.05)
    for word in out.data.split():
        await gone(int(word))


async def test_a_failing_sink_ends_the_command_and_is_raised(tmp_path: Path) -> None:
    seen = Collector()

    def full(data: bytes) -> None:
        seen(data)
        raise OSError("no space left on device")

    command = shell("echo $$; exec sleep 1000", tmp_path)
    with pytest.raises(OSError, match="no space left"):
        await run_process(command, stdout=full, stderr=ignore)
    await gone(int(seen.data))


async def test_a_process_that_left_the_group_does_not_hold_up_the_end(tmp_path: Path) -> None:
    out = Collector()
    code = """
import subprocess
print(subprocess.Popen(["sleep", "1000"], start_new_session=True).pid)
"""
    assert await run_process(python(code, tmp_path), stdout=out, stderr=ignore) == 0
    os.kill(int(out.data), signal.SIGKILL)
