"""Commands: what people tell the engine, whichever way they say it.

The command line, the dashboard and the API make these values and hand them to
:meth:`~datakit_ci.engine.Engine.control`. Each names its user, and becomes one commit on the branch
``control`` (:mod:`datakit_ci.docket`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from datakit_ci.state import BuildId
from datakit_ci.target import Target
from datakit_core.errors import InvalidArgument

__all__ = ["Cancel", "Command", "Confirm", "Pause", "Rebuild", "Resume"]

_LONGEST = 100


def _check_user(user: str) -> None:
    if not user.strip() or not user.isprintable() or len(user) > _LONGEST:
        raise InvalidArgument(f"{user!r} is not the name of a user: one line of text")


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Make results again, as new commits on the same keys; and try again what was cancelled.

    Attributes:
        user: Who says so.
        what: A build; or a target, for the builds of its jobs.
        job: Of a target only this job: its own build, and what keeps that from running.
        only_failed: Of a target only what did not pass.
    """

    user: str
    what: Target | BuildId
    job: str = ""
    only_failed: bool = False

    def __post_init__(self) -> None:
        """Check the fields; raises ``InvalidArgument``."""
        _check_user(self.user)
        if isinstance(self.what, BuildId) and (self.job or self.only_failed):
            raise InvalidArgument("a build has no jobs of which some could be rebuilt")


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop a build, or all builds of a target that no other target wants.

    They are not started again, also not after a restart, until somebody rebuilds them.

    Attributes:
        user: Who says so.
        what: Which.
    """

    user: str
    what: Target | BuildId

    def __post_init__(self) -> None:
        """Check the fields; raises ``InvalidArgument``."""
        _check_user(self.user)


@dataclass(frozen=True, slots=True)
class Confirm:
    """Let a dangerous build run, once.

    Attributes:
        user: Who says so.
        build: Which.
    """

    user: str
    build: BuildId

    def __post_init__(self) -> None:
        """Check the fields; raises ``InvalidArgument``."""
        _check_user(self.user)


@dataclass(frozen=True, slots=True)
class Pause:
    """Start nothing new in a project; what runs goes on.

    Attributes:
        user: Who says so.
        project: ``USER/REPO``.
    """

    user: str
    project: str

    def __post_init__(self) -> None:
        """Check the fields; raises ``InvalidArgument``."""
        _check_user(self.user)


@dataclass(frozen=True, slots=True)
class Resume:
    """End a pause.

    Attributes:
        user: Who says so.
        project: ``USER/REPO``.
    """

    user: str
    project: str

    def __post_init__(self) -> None:
        """Check the fields; raises ``InvalidArgument``."""
        _check_user(self.user)


Command: TypeAlias = Rebuild | Cancel | Confirm | Pause | Resume
