"""Commands: what people tell the engine, whichever way they say it.

The dashboard and the API hand these values to :meth:`~datakit_ci.engine.Engine.control`; the
command line, which has no engine, commits them for one (:mod:`datakit_ci.errands`). Each names its
user, and becomes one commit on the branch ``control`` (:mod:`datakit_ci.docket`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from datakit_ci.state import BuildId
from datakit_ci.target import Target
from datakit_core.client.api import CommitId
from datakit_core.errors import InvalidArgument

__all__ = ["Approve", "Cancel", "Command", "Confirm", "Pause", "Rebuild", "Resume", "project_of"]

_LONGEST = 100


def _check_user(user: str) -> None:
    if not user.strip() or not user.isprintable() or len(user) > _LONGEST:
        raise InvalidArgument(f"{user!r} is not the name of a user: one line of text")


def _check_job(what: Target | BuildId, job: str) -> None:
    if isinstance(what, BuildId) and job:
        raise InvalidArgument("a build has no jobs; name a target, or the build alone")


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
        _check_job(self.what, self.job)
        if isinstance(self.what, BuildId) and self.only_failed:
            raise InvalidArgument("a build has no jobs of which only some could be rebuilt")


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop a build, or all builds of a target that no other target wants.

    They are not started again, also not after a restart, until somebody rebuilds them.

    Attributes:
        user: Who says so.
        what: Which.
        job: Of a target only the builds of this job.
    """

    user: str
    what: Target | BuildId
    job: str = ""

    def __post_init__(self) -> None:
        """Check the fields; raises ``InvalidArgument``."""
        _check_user(self.user)
        _check_job(self.what, self.job)


@dataclass(frozen=True, slots=True)
class Confirm:
    """Let a dangerous build run, once.

    Attributes:
        user: Who says so.
        what: Which; of a target all that wait for it.
        job: Of a target only the builds of this job.
    """

    user: str
    what: Target | BuildId
    job: str = ""

    def __post_init__(self) -> None:
        """Check the fields; raises ``InvalidArgument``."""
        _check_user(self.user)
        _check_job(self.what, self.job)


@dataclass(frozen=True, slots=True)
class Approve:
    """Let a fork's pull request be tested, at the commit that it is at.

    Attributes:
        user: Who says so.
        what: Which.
        commit: What was looked at; if it has moved on since, nothing is approved. None: whatever
            is there now.
    """

    user: str
    what: Target
    commit: CommitId | None = None

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


Command: TypeAlias = Approve | Rebuild | Cancel | Confirm | Pause | Resume


def project_of(command: Command) -> str:
    """The project that a command is about."""
    match command:
        case Pause(project=project) | Resume(project=project):
            return project
        case Approve(what=what) | Rebuild(what=what) | Cancel(what=what) | Confirm(what=what):
            return what.project
