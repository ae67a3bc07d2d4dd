"""Repositories on this machine: where their refs are, what these point at, and waiting for them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from watchfiles import awatch

from datakit_ci.target import Target
from datakit_core.client.api import CommitId, ObjectId
from datakit_core.errors import ConfigError, DatakitError

__all__ = [
    "LocalRepository",
    "Place",
    "git_directory",
    "list_refs",
    "place_of",
    "ref_folders",
    "until_it_may_be_there",
]

_REF_FORMAT = (
    "%(if)%(*objectname)%(then)%(*objectname) %(*objecttype)"  # what a tag object tags
    "%(else)%(objectname) %(objecttype)%(end) %(refname)"
)

_GIT_TIMEOUT = 60.0
"""Seconds for one Git command; listing refs takes milliseconds."""


@dataclass(frozen=True, slots=True)
class LocalRepository:
    """A repository to watch.

    Attributes:
        project: ``USER/REPO``, its name in the database.
        path: Any directory in its work tree, or a bare repository.
    """

    project: str
    path: Path

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``USER/REPO:PATH``.

        Raises:
            ConfigError: Another form.
        """
        project, colon, path = text.partition(":")
        if not colon or not path or len([part for part in project.split("/") if part]) != 2:
            raise ConfigError(f"{text!r} is not of the form USER/REPO:PATH")
        return cls(project, Path(path).expanduser().absolute())


@dataclass(frozen=True, slots=True)
class Place:
    """A repository as it is on disk just now; one that was removed and made again is another.

    Attributes:
        folder: Its Git directory, shared by its worktrees.
        nodes: What tells its directories from others: path, device and inode.
    """

    folder: Path
    nodes: tuple[tuple[str, int, int], ...]

    @property
    def is_there(self) -> bool:
        """Whether it still is that one, and keeps its refs as it did."""
        return self.nodes == _nodes(self.folder)


async def place_of(repository: LocalRepository) -> Place:
    """Where a repository is.

    Raises:
        ConfigError: Nowhere yet.
    """
    folder = await git_directory(repository.path)
    return Place(folder, _nodes(folder))


def _nodes(folder: Path) -> tuple[tuple[str, int, int], ...]:
    found = []
    for path in (folder, *ref_folders(folder)):
        with suppress(OSError):
            status = path.stat()
            found.append((str(path), status.st_dev, status.st_ino))
    return tuple(found)


async def until_it_may_be_there(path: Path, patience: float) -> None:
    """Wait for a change where a repository would come to be, but not longer than ``patience``.

    What is watched is the nearest directory that exists, and a ``.git`` that is being made. A
    change before the watch begins is not missed for longer than ``patience`` seconds.
    """
    places = [_nearest(path), *(each for each in (path / ".git",) if each.is_dir())]
    with suppress(TimeoutError, FileNotFoundError):
        async with asyncio.timeout(patience):
            async for _ in awatch(*places, watch_filter=None, debounce=30, step=5, recursive=False):
                return


def _nearest(path: Path) -> Path:
    """The directory itself, or the first above it that exists."""
    candidates: Collection[Path] = (path, *path.parents)
    return next(each for each in candidates if each.is_dir())


async def list_refs(repository: LocalRepository) -> dict[Target, CommitId]:
    """The branches and tags that point at commits."""
    out = await _git(
        repository.path, "for-each-ref", f"--format={_REF_FORMAT}", "refs/heads", "refs/tags"
    )
    refs: dict[Target, CommitId] = {}
    for line in out.splitlines():
        commit, kind, ref = line.split(" ", 2)
        if kind == "commit":
            _, group, name = ref.split("/", 2)
            refs[Target(repository.project, group, name)] = CommitId(ObjectId(commit))
    return refs


def ref_folders(folder: Path) -> list[Path]:
    """The directories below a repository's that hold refs, as files or as a reftable."""
    return [path for path in (folder / "refs", folder / "reftable") if path.is_dir()]


async def git_directory(path: Path) -> Path:
    """Where the refs of the repository at ``path`` live (shared by its worktrees).

    Raises:
        ConfigError: It is in no repository.
    """
    try:
        out = await _git(path, "rev-parse", "--path-format=absolute", "--git-common-dir")
    except (DatakitError, OSError) as error:
        raise ConfigError(f"{path} is not a Git repository ({error})") from error
    return Path(out.strip())


async def _git(path: Path, *args: str) -> str:
    """Run one Git command in ``path`` and return what it prints."""
    process = await asyncio.create_subprocess_exec(
        "git", "-C", str(path), *args,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_GIT_TIMEOUT):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise ConfigError(err.decode(errors="replace").strip() or f"git {args[0]} failed")
    return out.decode(errors="surrogateescape")
