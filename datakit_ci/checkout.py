"""The Git repository around a directory: where it is, and what is checked out."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from datakit_ci.target import Target, TargetKind
from datakit_core.errors import ConfigError

__all__ = ["Checkout", "Source"]

_TIMEOUT = 30.0

_STATE = ".datakit"

_REFS = {TargetKind.BRANCH: "refs/heads/", TargetKind.TAG: "refs/tags/"}


@dataclass(frozen=True, slots=True)
class Source:
    """Something to test.

    Attributes:
        short: What it is called: ``heads/NAME`` or ``tags/NAME``.
        ref: What to fetch: a full ref name, or a commit.
    """

    short: str
    ref: str


@dataclass(frozen=True, slots=True)
class Checkout:
    """A repository with a working tree.

    Attributes:
        root: Its top directory.
    """

    root: Path

    @classmethod
    def around(cls, directory: Path) -> Self:
        """Find the repository that ``directory`` is in.

        Raises:
            ConfigError: It is in none, or Git is not installed.
        """
        root = _git(directory, "rev-parse", "--show-toplevel")
        if root is None:
            raise ConfigError(f"{directory} is not in a Git repository; go to one, or: git init")
        return cls(Path(root))

    def make_state(self) -> Path:
        """The directory in it that is DataKit's own, made if it is missing; Git ignores it.

        Raises:
            ConfigError: It cannot be made.
        """
        directory = self.root / _STATE
        ignore = directory / ".gitignore"
        try:
            directory.mkdir(exist_ok=True)
            if not ignore.exists():
                ignore.write_text("*\n")
        except OSError as error:
            raise ConfigError(f"cannot keep state in {directory}: {error.strerror}") from error
        return directory

    def source(self, short: str) -> Source:
        """What to fetch for ``short``; empty: what is checked out.

        Raises:
            ConfigError: There is no such branch or tag, or no commit yet.
        """
        if not short:
            return self._current()
        target = Target.parse("any/project", short)
        if target.kind not in _REFS:
            raise ConfigError(f"{short}: a checkout has branches and tags; write heads/NAME")
        ref = _REFS[target.kind] + target.name
        if self._commit(ref) is None:
            raise ConfigError(f"there is no {short} in {self.root}; git branch --list shows some")
        return Source(short, ref)

    def _current(self) -> Source:
        commit = self._commit("HEAD")
        if commit is None:
            raise ConfigError(f"{self.root} has no commit yet; commit something first")
        ref = _git(self.root, "symbolic-ref", "--quiet", "HEAD")
        if ref is None:  # detached
            return Source(f"heads/{commit[:12]}", commit)
        return Source(f"heads/{ref.removeprefix('refs/heads/')}", ref)

    def _commit(self, name: str) -> str | None:
        return _git(self.root, "rev-parse", "--quiet", "--verify", f"{name}^{{commit}}")


def _git(directory: Path, *arguments: str) -> str | None:
    """Git's answer without the newline; none if it says no."""
    try:
        done = subprocess.run(
            ("git", *arguments), cwd=directory, capture_output=True, check=False, timeout=_TIMEOUT
        )
    except FileNotFoundError as error:
        raise ConfigError("git is not installed; install the package git") from error
    if done.returncode:
        return None
    return done.stdout.decode(errors="surrogateescape").removesuffix("\n")
