"""What the bridge needs of GitHub, and how it says no."""

from __future__ import annotations

from typing import Protocol

from datakit_ci.bridges.github.reconcile import Push
from datakit_ci.bridges.github.resources import Key, Snapshot, Value
from datakit_ci.bridges.github.scope import Scope
from datakit_core.errors import DatakitError

__all__ = ["Hub", "Refused", "Unavailable"]


class Unavailable(DatakitError):
    """GitHub cannot be reached, is broken, or asks us to wait for longer than we do."""


class Refused(DatakitError):
    """GitHub does not do what was asked, and would not if it were asked again."""


class Hub(Protocol):
    """GitHub, for one bridge; every method raises :class:`Unavailable` or :class:`Refused`."""

    async def look(self, project: str, scope: Scope) -> Snapshot:
        """What GitHub says of a part of a repository: all that ``scope`` holds, maybe more."""
        ...

    async def push(self, project: str, push: Push) -> tuple[Key, Value]:
        """Change something, and return it as GitHub says it is now."""
        ...

    async def is_as_before(self, project: str) -> bool:
        """Whether lists of pull requests, refs and comments are as at the last call; cheap.

        Commit statuses of others are not seen by it.
        """
        ...

    def monitored_as(self, name: str) -> str:
        """The name by which a repository is asked for that GitHub calls ``name``.

        They differ after it was renamed, or given to somebody else.
        """
        ...

    async def clone_url(self, project: str) -> str:
        """Where to fetch commits from, with credentials if there are any."""
        ...
