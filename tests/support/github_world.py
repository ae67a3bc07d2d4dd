"""A repository on a GitHub on loopback, a database, and a bridge between them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from datakit_ci.bridges.github.bridge import GitHubBridge
from datakit_ci.bridges.github.capabilities import Capabilities
from datakit_ci.bridges.github.checkruns import CheckRuns
from datakit_ci.bridges.github.evidence import Evidence
from datakit_ci.bridges.github.records import Records
from datakit_ci.bridges.github.resources import Snapshot
from datakit_ci.bridges.github.rest import GitHub
from datakit_ci.metadata import BRANCH
from datakit_core.client.api import Database
from tests.support.databases import BACK_ENDS
from tests.support.fake_github import FakeGitHub, FakeRepository, serve_github

__all__ = ["PROJECT", "World", "commit_id", "open_world"]

PROJECT = "ann/app"
APP_TOKEN = "ghs_of_the_test"


def commit_id(number: int) -> str:
    """A commit's id, as good as any where no commit is fetched."""
    return f"{number:040x}"


class World:
    """What a test of the bridge acts on.

    Attributes:
        hub: GitHub.
        repository: ``ann/app`` there.
        database: Where the bridge works.
        paused: Seconds that GitHub has asked to wait, which nobody did.
        is_app: Whether the next bridge is a GitHub App.
        bridge: Not running; :meth:`restart` makes another one, which knows nothing.
    """

    def __init__(self, hub: FakeGitHub, database: Database, session: aiohttp.ClientSession) -> None:
        self.hub = hub
        self.repository: FakeRepository = hub.repository(PROJECT)
        self.database = database
        self.paused = 0.0
        self.clone = "https://github.com"
        self.is_app = False
        self._session = session
        self.bridge = self.restart()

    def restart(self, capabilities: str = "*:rw", **options: Any) -> GitHubBridge:
        """A new bridge in the place of the old one."""

        async def token() -> str:
            return APP_TOKEN if self.is_app else self.hub.token

        async def pause(seconds: float) -> None:
            self.paused += seconds

        may = Capabilities.parse(capabilities)
        checks = None
        if self.is_app:
            self.hub.app.tokens.add(APP_TOKEN)
            may = may.of_app()
            checks = CheckRuns.of(self.hub.app.id, may, Evidence(self.database).of)
        self.client = GitHub(
            self._session, token, url=self.hub.url, clone=self.clone, pause=pause, checks=checks
        )
        self.bridge = GitHubBridge(
            self.database,
            self.client,
            capabilities=may,
            **{"fetch": False, **options},
        )
        return self.bridge

    async def sync(self) -> bool:
        """Bring both sides in step; whether the database was changed."""
        return await self.bridge.sync(PROJECT)

    async def write(self, **files: bytes | None) -> None:
        """Commit files below ``ann/app``, as a client would; ``__`` stands for ``/``."""
        await self.edit({name.replace("__", "/"): content for name, content in files.items()})

    async def edit(self, files: dict[str, bytes | None]) -> None:
        """Commit files below ``ann/app``; none removes one."""
        async with self.database.transaction(BRANCH) as transaction:
            for path, content in files.items():
                if content is None:
                    await transaction.remove(f"{PROJECT}/{path}")
                else:
                    await transaction.write(f"{PROJECT}/{path}", content)
            await transaction.commit("a client's edit")

    async def files(self) -> dict[str, bytes]:
        """All files below ``ann/app``."""
        records = Records(self.database, BRANCH, PROJECT)
        await records.read()
        return dict(records.contents)

    async def snapshot(self) -> Snapshot:
        """What the database says."""
        return (await Records(self.database, BRANCH, PROJECT).read()).snapshot


@asynccontextmanager
async def open_world(path: Path, back_end: str = "local") -> AsyncIterator[World]:
    """All of it, new; the repository is monitored and empty."""
    async with (
        BACK_ENDS[back_end](path / "db.git") as database,
        aiohttp.ClientSession() as session,
        serve_github(FakeGitHub()) as hub,
    ):
        world = World(hub, database, session)
        await world.edit({".monitor": b""})
        yield world
