"""Forks' pull requests approved on GitHub: a comment or a review becomes a command for the engine.

Whoever may write to the repository on GitHub, as GitHub says when the event comes, may approve.
What is approved is one commit: the one that is named, or that a review is about; or, if a comment
names none, the one that the pull request was known to be at when it was written. A push after that,
or in the moment before it, which nobody can have read, is not approved by it: the engine refuses a
command about a commit that is not the head any more.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Final, cast

from datakit_ci.asking import leave
from datakit_ci.bridges.github.events import Approval
from datakit_ci.bridges.github.reruns import Authority
from datakit_ci.control import Approve
from datakit_ci.metadata import parse_field, target_path
from datakit_ci.target import Target, TargetKind
from datakit_core.client.api import Commit, CommitId, Database
from datakit_core.errors import FileError
from datakit_core.store.objects import parse_id

__all__ = ["SETTLED", "Approvals"]

_log = logging.getLogger(__name__)

SETTLED: Final = timedelta(seconds=10)
"""How long a commit has to be known before a comment that does not name it is about it: nothing
that was pushed while somebody wrote is approved, nor if both sides' clocks differ a little."""

_FURTHEST = 2000
"""Commits of the branch that are gone back; a comment that is told of later counts for nothing."""


class Approvals:
    """Grants approvals, each once."""

    def __init__(self, database: Database, branch: str, hub: Authority) -> None:
        """Leave commands in ``database``.

        Args:
            database: The engine's.
            branch: Where pull requests are.
            hub: Knows who may write to a repository.
        """
        self._database = database
        self._branch = branch
        self._hub = hub

    async def heed(self, said: Approval, delivery: str) -> bool:
        """Have a commit approved, if who says so may; tells whether that is left to the engine.

        Args:
            said: What somebody has written.
            delivery: Names the event: one that comes again is the same, also after a restart.

        Raises:
            DatakitError: It cannot be known, or written down.
        """
        project = self._hub.monitored_as(said.project)
        target = Target(project, TargetKind.PULL_REQUEST.value, str(said.number))
        if not await self._hub.may_write(project, said.user):
            _log.warning("%s may not approve %s", said.user, target.path)
            return False
        commit = await self._meant(target, said)
        if commit is None:
            _log.warning(
                "%s approves %s, of which no commit was known for %d seconds then: nothing is done",
                said.user, target.path, SETTLED.total_seconds(),
            )  # fmt: skip
            return False
        tag = hashlib.sha256(f"{delivery} {target.path}".encode()).hexdigest()[:16]
        await leave(self._database, Approve(f"github:{said.user}", target, commit), tag)
        _log.info("%s approves %s at %s", said.user, target.path, commit)
        return True

    async def _meant(self, target: Target, said: Approval) -> CommitId | None:
        """The commit that an approval is about."""
        if said.commit:
            return CommitId(parse_id(said.commit))
        known = await self._known_at(said.time - SETTLED)
        if known is None:
            return None
        try:
            head = await self._database.read(known.tree, f"{target_path(target)}/head")
        except FileError:
            return None
        return CommitId(parse_id(parse_field(head)))

    async def _known_at(self, moment: datetime) -> Commit | None:
        """The newest commit of the branch that is not later than a moment."""
        head = await self._database.head(self._branch)
        if head is None:
            return None
        gone = 0
        history = cast("AsyncGenerator[Commit, None]", self._database.history(head))
        async with aclosing(history) as commits:
            async for commit in commits:
                if commit.committer.time <= moment.timestamp():
                    return commit
                gone += 1
                if gone == _FURTHEST:
                    return None
        return None
