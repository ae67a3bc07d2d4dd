"""What a build's child process does about its descendants, when stopped and when orphaned."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from tests.support.processes import gone

STUBBORN = """
import os, signal, subprocess, sys
from datakit_ci.executors.supervision import Stopped, Supervision, sweep, wait_for_all
code = '''
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork():
    print(os.getpid(), flush=True)
    signal.pause()
os.setsid()
if os.fork():
    os._exit(0)
print(os.getpid(), flush=True)
while True:
    time.sleep(1000)
'''
supervision = Supervision(grace=0.05)
supervision.begin(life_line=0)
command = subprocess.Popen(
    [sys.executable, "-ISc", code], stdout=subprocess.PIPE, start_new_session=True
)
supervision.command_group = command.pid
pids = int(command.stdout.readline()), int(command.stdout.readline())
"""
"""A command that ignores SIGTERM, and a daemon of it that has left its session and its parent."""


@contextmanager
def supervised(code: str) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Run ``code`` in a session of its own; its standard input is its life line."""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None
        yield process, process.stdout


def read_pids(output: IO[bytes]) -> list[int]:
    """The command's and the daemon's process id, once both run."""
    return [int(word) for word in output.readline().split()]


async def test_a_sweep_leaves_nothing_whatever_it_did_to_get_away() -> None:
    with supervised(STUBBORN + "print(*pids)\nprint(sweep())") as (process, output):
        pids = read_pids(output)
        assert len(pids) == 2
        assert int(output.readline()) >= 2  # 3 if the daemon's parent has not left yet
        assert process.wait() == 0
    for pid in pids:
        await gone(pid)


def test_a_sweep_with_nothing_to_do_kills_nothing() -> None:
    code = "from datakit_ci.executors.supervision import sweep\nprint(sweep())"
    with supervised(code) as (_, output):
        assert output.read() == b"0\n"


WAIT = """
try:
    print(*pids, flush=True)
    command.wait()
except Stopped:
    print("stopped", flush=True)
    wait_for_all()
"""


async def test_when_stopped_it_ends_everything_at_the_deadline() -> None:
    with supervised(STUBBORN + WAIT) as (process, output):
        pids = read_pids(output)
        process.terminate()
        assert output.readline() == b"stopped\n"
        await gone(process.pid)
    for pid in pids:
        await gone(pid)


async def test_when_the_engine_dies_it_ends_everything_too() -> None:
    with supervised(STUBBORN + WAIT) as (process, output):
        pids = read_pids(output)
        assert process.stdin is not None
        process.stdin.close()
        assert output.readline() == b"stopped\n"
        await gone(process.pid)
    for pid in pids:
        await gone(pid)


async def test_user_code_that_holds_the_main_thread_is_killed_at_the_deadline() -> None:
    code = """
import time
from datakit_ci.executors.supervision import Supervision
Supervision(grace=0.05).begin(life_line=0)
while True:
    try:
        print("ready", flush=True)
        time.sleep(1000)
    except BaseException:
        pass
"""
    with supervised(code) as (process, output):
        assert output.readline() == b"ready\n"
        process.terminate()
        await gone(process.pid)
        assert process.wait() == -9
