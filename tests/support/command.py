"""The command ``datakit`` as a process."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

__all__ = ["COMMAND", "datakit", "port_in", "run"]

COMMAND = [sys.executable, "-m", "datakit_core.cli"]


@asynccontextmanager
async def datakit(
    *arguments: str | Path, command: Sequence[str] = COMMAND
) -> AsyncIterator[tuple[Process, str]]:
    """A running server, and the line in which it says where it serves."""
    process = await asyncio.create_subprocess_exec(*command, *arguments, stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    try:
        line = (await process.stdout.readline()).decode().strip()
        yield process, line
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def run(
    *arguments: str | Path, given: bytes = b"", **variables: str
) -> tuple[int | None, str, str]:
    """Exit code, output and errors of a command that ends."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=os.environ | variables
    )
    output, errors = await process.communicate(given)
    return process.returncode, output.decode(), errors.decode()


def port_in(line: str) -> int:
    """The port that a server has said that it serves at."""
    found = re.search(r"tcp://127\.0\.0\.1:(\d+)", line)
    assert found is not None, line
    return int(found[1])
