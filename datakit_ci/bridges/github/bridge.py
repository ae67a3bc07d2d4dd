"""Keeps GitHub and the database in step: when to look, what to push, what to commit.

For each repository there is one task, which is told what to look at and does one thing after the
other. What GitHub said when both sides last agreed is kept on a branch of its own, in the same
layout, so that a restart goes on as if there had been none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

from datakit_ci.bridges.github.capabilities import Capabilities
from datakit_ci.bridges.github.hub import Hub
from datakit_ci.bridges.github.metrics import Meter
from datakit_ci.bridges.github.records import monitored
from datakit_ci.bridges.github.scope import WHOLE, Scope
from datakit_ci.bridges.github.sync import Sync
from datakit_ci.metadata import BRANCH, monitor_path
from datakit_core.client.api import Database

__all__ = ["GitHubBridge", "Greet"]

Greet = Callable[[str], Awaitable[None]]

_log = logging.getLogger(__name__)


class GitHubBridge:
    """Syncs all repositories that are marked as monitored, until cancelled."""

    def __init__(
        self,
        database: Database,
        hub: Hub,
        *,
        branch: str = BRANCH,
        capabilities: Capabilities | None = None,
        repositories: Iterable[str] = (),
        resync: float = 300.0,
        fetch: bool = True,
        meter: Meter | None = None,
        greet: Greet | None = None,
    ) -> None:
        """Prepare; :meth:`run` works.

        Args:
            database: Where the metadata are.
            hub: GitHub.
            branch: The branch of the metadata.
            capabilities: What may be read and written; everything by default.
            repositories: ``USER/REPO`` of repositories to mark as monitored.
            resync: Seconds between two looks at a repository that nothing has asked for.
            fetch: Whether to bring the commits into the database before a head names them.
            meter: What to count with.
            greet: What to do with each repository before it is first looked at.
        """
        self._database = database
        self._hub = hub
        self._branch = branch
        self._greet = greet
        self._may = capabilities or Capabilities.parse("*:rw")
        self._repositories = tuple(repositories)
        self._resync = resync
        self._fetch = fetch
        self._meter = meter or Meter()
        self._syncs: dict[str, Sync] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Work until cancelled."""
        await self._mark(self._repositories)
        async with asyncio.TaskGroup() as tasks:
            async for head in self._database.watch_head(self._branch):
                wanted = await monitored(self._database, head)
                for project in wanted - self._tasks.keys():
                    self._tasks[project] = tasks.create_task(self._follow(project))
                for project in self._tasks.keys() - wanted:
                    _log.info("%s is not monitored any more", project)
                    self._tasks.pop(project).cancel()
                    self._syncs.pop(project, None)
                for sync in self._syncs.values():
                    sync.database_changed()

    async def _follow(self, project: str) -> None:
        if self._greet is not None:
            await self._greet(project)
        await self._sync(project).run()

    async def sync_all(self) -> None:
        """Bring every monitored repository in step, once.

        Raises:
            DatakitError: It could not be done.
        """
        await self._mark(self._repositories)
        head = await self._database.head(self._branch)
        for project in sorted(await monitored(self._database, head)):
            await self.sync(project)

    def notice(self, project: str, scope: Scope) -> bool:
        """Look at a part of a repository soon; tells whether it is monitored."""
        sync = self._syncs.get(project) or self._syncs.get(self._hub.monitored_as(project))
        if sync is not None:
            sync.ask(scope)
        return sync is not None

    async def sync(self, project: str, scope: Scope = WHOLE) -> bool:
        """Bring one repository in step, once; tells whether a commit was made.

        Raises:
            DatakitError: It could not be done.
        """
        return await self._sync(project).once(scope)

    def _sync(self, project: str) -> Sync:
        if project not in self._syncs:
            self._syncs[project] = Sync(
                project,
                self._database,
                self._hub,
                self._branch,
                self._may,
                self._resync,
                self._meter,
                fetch=self._fetch,
            )
        return self._syncs[project]

    async def _mark(self, projects: Sequence[str]) -> None:
        """Ask for repositories to be monitored, as a client of the database would."""
        head = await self._database.head(self._branch)
        missing = sorted(set(projects) - await monitored(self._database, head))
        if not missing:
            return
        async with self._database.transaction(self._branch) as transaction:
            for project in missing:
                await transaction.write(monitor_path(project), b"")
            await transaction.commit(f"Monitor {', '.join(missing)}")
