"""The logs of builds that have no result yet, as files in one directory.

A log is here while its build runs, and after a build that came to no result. What is here when an
engine starts was left by one that was killed: it is marked as interrupted and can be read until
its build runs again, or until the next start.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from datakit_ci.clock import SystemClock
from datakit_ci.conditions import LOG_LIMIT
from datakit_ci.livelog import LiveLog
from datakit_ci.state import BuildId
from datakit_ci.target import encode_name

__all__ = ["Spool"]

_MARK = b"\n[datakit-ci] interrupted: the engine ended before this build did\n"


class Spool:
    """A directory of logs."""

    def __init__(self, directory: Path) -> None:
        """Use ``directory``; nobody else may write there."""
        self.directory = directory

    def recover(self) -> None:
        """Mark what was left behind; what was marked before is removed."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for old in self.directory.glob("*.interrupted"):
            old.unlink()
        for left in self.directory.glob("*.log"):
            with left.open("ab") as file:
                file.write(_MARK)
            left.rename(left.with_suffix(".interrupted"))

    def create(
        self,
        build: BuildId,
        limit: int = LOG_LIMIT,
        now: Callable[[], datetime] = SystemClock().now,  # noqa: B008 - it has no state
    ) -> LiveLog:
        """A new log for ``build``, of which ``limit`` bytes are kept; older ones are forgotten."""
        self._path(build, ".interrupted").unlink(missing_ok=True)
        return LiveLog(self._path(build, ".log"), limit, now)

    def remove(self, build: BuildId) -> None:
        """Forget the log of ``build``: it is recorded, or nobody wants it."""
        self._path(build, ".log").unlink(missing_ok=True)

    def interrupted(self, build: BuildId) -> Path | None:
        """The log that a killed engine left of ``build``, if there is one."""
        path = self._path(build, ".interrupted")
        return path if path.exists() else None

    def _path(self, build: BuildId, suffix: str) -> Path:
        name = encode_name(build.project, build.stage, build.static[:16], build.key[:16])
        return self.directory / f"{name}{suffix}"
