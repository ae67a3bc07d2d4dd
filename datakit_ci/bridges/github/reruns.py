"""Check runs made again: a click on GitHub becomes a command for the engine.

The bridge does not know the engine: it leaves the command in the database, as every other program
does. Whoever may write to the repository on GitHub may rebuild.

GitHub then shows the commit as waiting until there is news of a check run, so there is a new one at
once. If nothing comes of it (a result that is made in a moment and is the same again, no engine),
another look a little later finds that the database says something else, and tells GitHub.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from datakit_ci.annals import Annals
from datakit_ci.asking import leave
from datakit_ci.bridges.github.events import Wish
from datakit_ci.bridges.github.hub import Refused, Unavailable
from datakit_ci.bridges.github.reconcile import Push, SetStatus
from datakit_ci.bridges.github.resources import Key, StatusKey, Value, directory
from datakit_ci.bridges.github.scope import Scope
from datakit_ci.control import Rebuild
from datakit_ci.ledger import read_target
from datakit_ci.metadata import CONTEXT, CommitStatus, job_context, parse_field
from datakit_ci.state import JobState, Status, TargetState
from datakit_core.client.api import CommitId, Database
from datakit_core.errors import NoEntry
from datakit_core.store.objects import parse_id

__all__ = ["Authority", "Notice", "Reruns"]

_log = logging.getLogger(__name__)


_LATER = 5.0
"""Seconds until it is looked whether there is news: an engine takes a command up at once."""

Notice = Callable[[str, Scope], bool]


class Authority(Protocol):
    """The part of GitHub that is needed here; raises what a ``Hub`` does."""

    def monitored_as(self, name: str) -> str:
        """The name by which the database has a repository."""
        ...

    async def may_write(self, project: str, user: str) -> bool:
        """Whether GitHub lets a person write to a repository."""
        ...

    async def push(self, project: str, push: Push) -> tuple[Key, Value]:
        """Change something."""
        ...


class Reruns:
    """Grants wishes, each once."""

    def __init__(
        self,
        database: Database,
        branch: str,
        app: int,
        hub: Authority,
        notice: Notice,
        later: float = _LATER,
    ) -> None:
        """Leave commands in ``database``.

        Args:
            database: The engine's.
            branch: Where the statuses are.
            app: The App's id: check runs of others are none of ours.
            hub: Knows who may write to a repository, and takes the new check runs.
            notice: Has the bridge look at a part of a repository.
            later: Seconds until it does.
        """
        self._later = later
        self._database = database
        self._branch = branch
        self._annals = Annals(database)
        self._app = app
        self._hub = hub
        self._notice = notice

    async def heed(self, wish: Wish, delivery: str) -> bool:
        """Have it rebuilt, by whoever wants that; tells whether it will be.

        Args:
            wish: What somebody wants.
            delivery: Names the event: one that comes again is the same wish, also after a restart.

        Raises:
            DatakitError: It cannot be known, or written down.
        """
        ours = f"{CONTEXT}/"
        wish = replace(wish, project=self._hub.monitored_as(wish.project))
        if wish.app != self._app or (wish.context and not wish.context.startswith(ours)):
            return False
        if not await self._hub.may_write(wish.project, wish.user):
            _log.warning("%s may not rebuild anything of %s", wish.user, wish.project)
            return False
        user, found = f"github:{wish.user}", False
        job = wish.context.removeprefix(ours)
        async for state in self._wanted(wish, job):
            target = state.target
            command = Rebuild(user, target, job, only_failed=wish.only_failed)
            tag = hashlib.sha256(f"{delivery} {target.path}".encode()).hexdigest()[:16]
            await leave(self._database, command, tag)
            await self._announce(wish, [each for each in state.jobs if _is_meant(wish, each)])
            found = True
            if job:  # a commit has one status for each job: that of the first target
                break
        if found:
            scope = Scope(commits=frozenset({wish.commit}))
            asyncio.get_running_loop().call_later(self._later, self._notice, wish.project, scope)
        return found

    async def _announce(self, wish: Wish, jobs: Sequence[JobState]) -> None:
        """Say that the jobs are about to be run; that nobody could be told does no harm."""
        for job in jobs:
            key = StatusKey(wish.commit, job_context(job.name))
            said = CommitStatus(
                "pending", f"rebuild wanted by {wish.user}", await self._url(wish, key)
            )
            with suppress(Refused, Unavailable):
                await self._hub.push(wish.project, SetStatus(key, said))

    async def _url(self, wish: Wish, key: StatusKey) -> str:
        """Where the database says that there is more to read."""
        head = await self._database.head(self._branch)
        if head is None:
            return ""
        tree = (await self._database.commit(head)).tree
        path = f"{wish.project}/{directory(key)}/target_url"
        with suppress(NoEntry):
            return parse_field(await self._database.read(tree, path))
        return ""

    async def _wanted(self, wish: Wish, job: str) -> AsyncIterator[TargetState]:
        """The targets that are still at the commit, and have the job."""
        commit = CommitId(parse_id(wish.commit))
        for state in await self._annals.states_at(wish.project, commit):
            now = await read_target(self._database, state.target)
            if now is None or now.head != commit:
                continue
            if not job or any(each.name == job for each in now.jobs):
                yield now


def _is_meant(wish: Wish, job: JobState) -> bool:
    if wish.context:
        return job_context(job.name) == wish.context
    return job.status is not Status.SUCCESS if wish.only_failed else True
