"""The real service in a process of its own, and what a test asks of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from datakit_ci.target import Target
from datakit_core.client import connect

__all__ = ["RunningService", "running_service", "service_command"]

_READY = "Ctrl-C stops."
"""The last line that the service prints before it only serves."""


@dataclass(frozen=True, slots=True)
class RunningService:
    """A service that has said what it serves.

    Attributes:
        process: Its process.
        dashboard: ``http://HOST:PORT/``.
        database: ``tcp://HOST:PORT``.
        git: The database's repository.
        project: The project that it tests.
    """

    process: asyncio.subprocess.Process
    dashboard: str
    database: str
    git: Path
    project: str

    async def until_job(self, branch: str, job: str, state: str, *, at: str) -> dict[str, Any]:
        """Wait until ``job`` of a branch at the commit ``at`` is in ``state``; its output."""
        target = Target(self.project, "heads", branch)
        async with connect(self.database) as database:
            async for head in database.watch_head(target.status_branch):
                if head is None:
                    continue
                tree = (await database.commit(head)).tree
                source = (await database.read(tree, "source-commit")).decode().strip()
                if source != at or await database.entry(tree, f"job/{job}/output") is None:
                    continue
                output = json.loads(await database.read(tree, f"job/{job}/output"))
                if output["result"]["status"] == state:
                    return dict(output)
        raise AssertionError("the watch ended")

    async def page(self, path: str) -> str:
        """The HTML of a page."""
        async with aiohttp.ClientSession() as session, session.get(self.dashboard + path) as reply:
            assert reply.status == 200, (path, reply.status)
            return await reply.text()


def service_command(pipeline: Path, repository: Path, git: Path, project: str) -> list[str]:
    """The command that serves ``repository`` on free ports."""
    return [
        sys.executable, "-m", "datakit_ci", "serve", str(pipeline),
        "--repository", f"{project}:{repository}", "--git", str(git),
        "--listen-9p", "tcp://127.0.0.1:0", "--web-ui", "http://127.0.0.1:0",
    ]  # fmt: skip


@asynccontextmanager
async def running_service(
    pipeline: Path, repository: Path, git: Path, project: str
) -> AsyncIterator[RunningService]:
    """Start the service as a user does; afterwards stop it with SIGTERM and expect a clean end."""
    process = await asyncio.create_subprocess_exec(
        *service_command(pipeline, repository, git, project),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        said = await _said(process)
        yield RunningService(process, said["dashboard"], said["database"], git, project)
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _said(process: asyncio.subprocess.Process) -> dict[str, str]:
    """What the service prints of itself: a word and an address a line."""
    assert process.stdout is not None
    said: dict[str, str] = {}
    while line := (await process.stdout.readline()).decode():
        if line.strip() == _READY:
            return said
        words: Sequence[str] = line.split()
        if len(words) >= 2:
            said.setdefault(words[0], words[1])
    raise AssertionError(f"the service ended before it was ready: {said}")
