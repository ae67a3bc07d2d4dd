"""The Git repository around a directory: where it is, and what is checked out."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from datakit_ci.target import Target, TargetKind
from datakit_core.errors import ConfigError

__all__ = ["Checkout", "Source", "git_environment"]

_TIMEOUT = 30.0

_STATE = ".datakit"

_REFS = {TargetKind.BRANCH: "refs/heads/", TargetKind.TAG: "refs/tags/"}


_LOCAL = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_NAMESPACE",
)  # fmt: skip
"""What a hook is told of its repository (git-rev-parse(1), --local-env-vars). The repository that
counts here is the one around the directory."""


@dataclass(frozen=True, slots=True)
class Source:
    """Something to test.

    Attributes:
        short: What it is called: ``heads/NAME`` or ``tags/NAME``.
        commit: The commit; of a working tree the one that is checked out, or empty.
        tree: The commit's tree; empty if there is no commit.
        is_working_tree: Whether to take the files as they are instead of the commit's.
    """

    short: str
    commit: str
    tree: str
    is_working_tree: bool = False


@dataclass(frozen=True, slots=True)
class Checkout:
    """A repository with a working tree.

    Attributes:
        root: Its top directory.
        index: Its index; the file may be absent.
        objects: Where its objects are.
        is_shallow: Whether it has not all of its history.
    """

    root: Path
    index: Path
    objects: Path
    is_shallow: bool

    @classmethod
    def around(cls, directory: Path) -> Self:
        """Find the repository that ``directory`` is in.

        Raises:
            ConfigError: It is in none, or in one that cannot be used, or Git is not installed.
        """
        said = _git(
            directory, "rev-parse", "--path-format=absolute", "--show-toplevel",
            "--git-path", "index", "--git-path", "objects",
            "--is-shallow-repository", "--show-object-format",
        )  # fmt: skip
        if said is None:
            raise ConfigError(f"{directory} is not in a Git repository; go to one, or: git init")
        root, index, objects, shallow, kind = said.splitlines()
        if kind != "sha1":
            raise ConfigError(f"{root} has {kind} object ids; DataKit needs sha1")
        return cls(Path(root), Path(index), Path(objects), shallow == "true")

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

    def working_tree(self) -> Source:
        """The files as they are now, on what is checked out."""
        found = self._ids("HEAD", "--symbolic-full-name", "HEAD")
        if found is None:  # nothing is committed yet
            ref = _git(self.root, "symbolic-ref", "--quiet", "HEAD") or "refs/heads/main"
            return Source(f"heads/{ref.removeprefix('refs/heads/')}", "", "", is_working_tree=True)
        return Source(_current(found), found[0], found[1], is_working_tree=True)

    def committed(self, short: str) -> Source:
        """The commit at ``short``; empty: what is checked out.

        Raises:
            ConfigError: There is no such branch or tag, or no commit yet.
        """
        if not short:
            found = self._ids("HEAD", "--symbolic-full-name", "HEAD")
            if found is None:
                raise ConfigError(f"{self.root} has no commit yet; commit something first")
            return Source(_current(found), found[0], found[1])
        target = Target.parse("any/project", short)
        if target.kind not in _REFS:
            raise ConfigError(f"{short}: a checkout has branches and tags; write heads/NAME")
        found = self._ids(_REFS[target.kind] + target.name)
        if found is None:
            raise ConfigError(f"there is no {short} in {self.root}; git branch --list shows some")
        return Source(short, found[0], found[1])

    def _ids(self, name: str, *more: str) -> list[str] | None:
        """The commit that ``name`` is, its tree, and what else is asked; none if it is not one."""
        said = _git(self.root, "rev-parse", f"{name}^{{commit}}", f"{name}^{{tree}}", *more, "--")
        return None if said is None else said.splitlines()[: 2 + len(more) // 2]


def git_environment() -> dict[str, str]:
    """The environment, without what a hook of another repository may have been told."""
    return {name: value for name, value in os.environ.items() if name not in _LOCAL}


def _current(found: list[str]) -> str:
    """What is checked out, by the name of its branch, or by its commit where there is none."""
    commit, _, ref = found
    return f"heads/{commit[:12] if ref == 'HEAD' else ref.removeprefix('refs/heads/')}"


def _git(directory: Path, *arguments: str) -> str | None:
    """Git's answer without the newline; none if it says no."""
    try:
        done = subprocess.run(
            ("git", *arguments),
            cwd=directory,
            env=git_environment(),
            capture_output=True,
            check=False,
            timeout=_TIMEOUT,
        )
    except FileNotFoundError as error:
        raise ConfigError("git is not installed; install the package git") from error
    if done.returncode:
        return None
    return done.stdout.decode(errors="surrogateescape").removesuffix("\n")
