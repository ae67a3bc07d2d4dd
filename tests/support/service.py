"""The real service in a process of its own, and what a test asks of it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from datakit_ci.dashboard.visitor import Visitor
from datakit_ci.target import Target
from datakit_core.client import connect
from tests.support.command import datakit, port_in

__all__ = [
    "PASSWORD",
    "RunningService",
    "embedded",
    "running_service",
    "service_command",
    "started_service",
]

_CHECKOUT = Path(__file__).parents[2]

PASSWORD = "correct horse battery"

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
        setup: Where to set it up; empty if that was done.
        server: Where commands find it, with the certificate that it has made itself; or empty.
    """

    process: asyncio.subprocess.Process
    dashboard: str
    database: str
    git: Path
    project: str
    setup: str = ""
    server: str = ""
    cookies: dict[str, str] = field(default_factory=dict)

    async def log_in(self) -> dict[str, str]:
        """The cookie of an administrator; sets the service up if nobody has."""
        if self.cookies:
            return self.cookies
        jar = aiohttp.CookieJar(unsafe=True)  # keeps those of addresses, too
        async with aiohttp.ClientSession(cookie_jar=jar) as session:
            page = self.setup or f"{self.dashboard}login"
            async with session.get(page) as reply:
                assert reply.status == 200, (page, reply.status)
            cookie = next(each for each in jar if re.fullmatch(r"datakit-\d+", each.key)).value
            form = {"csrf": Visitor(cookie=cookie).csrf, "name": "ann"}
            form |= {"password": PASSWORD, "again": PASSWORD, "token": self.setup.split("=")[-1]}
            address = page.split("?")[0]
            async with session.post(address, data=form, allow_redirects=False) as reply:
                assert reply.status == 303, (page, reply.status, await reply.text())
            self.cookies.update((each.key, each.value) for each in jar)
        return self.cookies

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
        async with (
            aiohttp.ClientSession(cookies=await self.log_in()) as session,
            session.get(self.dashboard + path) as reply,
        ):
            assert reply.status == 200, (path, reply.status)
            return await reply.text()

    async def until_page(self, path: str) -> str:
        """Wait until there is a page; its HTML."""
        async with (
            aiohttp.ClientSession(cookies=await self.log_in()) as session,
            session.get(f"{self.dashboard}events") as events,
        ):
            while True:
                async with session.get(self.dashboard + path) as reply:
                    if reply.status == 200:
                        return await reply.text()
                assert await events.content.readline(), "the service has ended"


def service_command(
    pipeline: Path, repository: Path, project: str, *where: str, web_ui: str = "http://127.0.0.1:0"
) -> list[str]:
    """The command that serves ``repository`` on free ports; ``where`` says where its state is."""
    return [
        sys.executable, "-m", "datakit_ci", "serve", str(pipeline),
        "--repository", f"{project}:{repository}", "--web-ui", web_ui, *where,
    ]  # fmt: skip


def embedded(git: Path) -> list[str]:
    """Options for a database in the service's own process."""
    return ["--git", str(git), "--listen-9p", "tcp://127.0.0.1:0"]


@asynccontextmanager
async def running_service(
    pipeline: Path,
    repository: Path,
    git: Path,
    project: str,
    *,
    remote: bool = False,
    web_ui: str = "http://127.0.0.1:0",
    options: Sequence[str] = (),
) -> AsyncIterator[RunningService]:
    """Start the service as a user does; afterwards stop it with SIGTERM and expect a clean end.

    Args:
        pipeline: The pipeline's file.
        repository: The checkout to watch.
        git: The database's repository.
        project: The name of what is in the checkout.
        remote: Whether another process serves the database.
        web_ui: Where the dashboard is to listen.
        options: Further options of the command.
    """
    async with AsyncExitStack() as stack:
        where, address = embedded(git), ""
        if remote:
            socket = git.with_name("database.socket")
            socket.unlink(missing_ok=True)
            urls = f"tcp://127.0.0.1:0,unix://{socket}"
            _, line = await stack.enter_async_context(
                datakit("--git", str(git), "--listen-9p", urls)
            )
            address = f"tcp://127.0.0.1:{port_in(line)}"
            where = ["--metadata-store", f"unix://{socket}"]
        command = service_command(pipeline, repository, project, *where, *options, web_ui=web_ui)
        directory = repository if remote else _CHECKOUT
        yield await stack.enter_async_context(
            started_service(command, git, project, directory, address)
        )


@asynccontextmanager
async def started_service(
    command: Sequence[str], git: Path, project: str, directory: Path, address: str = ""
) -> AsyncIterator[RunningService]:
    """Run a service's command; afterwards stop it with SIGTERM and expect a clean end.

    Args:
        command: What to run.
        git: The database's repository.
        project: What it tests.
        directory: Where to run it.
        address: Where another process serves the database; empty: the service says where.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        cwd=directory,
        env=os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(_CHECKOUT)},
    )
    try:
        said = await _said(process)
        database = address or said["database"]
        yield RunningService(
            process,
            said["dashboard"],
            database,
            git,
            project,
            said.get("set-up", ""),
            said.get("--server", ""),
        )
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
