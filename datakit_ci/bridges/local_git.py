"""The local-Git bridge: the branches and tags of repositories on this machine become targets.

For each watched repository it keeps ``USER/REPO/ref/{heads,tags}/NAME/head`` on the
``github-metadata`` branch equal to the repository's refs, and brings the commits into the
database first, so that whoever sees a head can read its tree. Changes are noticed by watching
the repository's ref files; nothing is polled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from watchfiles import awatch

from datakit_ci.heads import MetadataHeads
from datakit_ci.metadata import BRANCH, field, head_path, monitor_path, target_path
from datakit_ci.target import Target, TargetKind
from datakit_core.client.api import CommitId, Database, ObjectId, Transaction
from datakit_core.errors import ConfigError, DatakitError, Disconnected, NotFastForward

__all__ = ["LocalGitBridge", "LocalRepository", "git_directory"]

_log = logging.getLogger(__name__)

_REF_FORMAT = (
    "%(if)%(*objectname)%(then)%(*objectname) %(*objecttype)"  # what a tag object tags
    "%(else)%(objectname) %(objecttype)%(end) %(refname)"
)

_GIT_TIMEOUT = 60.0
"""Seconds for one Git command; listing refs takes milliseconds."""

_DEBOUNCE = 30
"""Milliseconds in which several changes of ref files count as one (a push, a rebase)."""


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


class LocalGitBridge:
    """Copies refs of local repositories into a database, until cancelled."""

    def __init__(self, database: Database, repositories: Sequence[LocalRepository]) -> None:
        """Prepare; :meth:`run` does the work."""
        self._database = database
        self._heads = MetadataHeads(database)
        self.repositories = tuple(repositories)

    async def run(self) -> None:
        """Keep all repositories in step.

        Raises:
            ConfigError: A path is not a Git repository; raised at once.
        """
        folders = [await git_directory(each.path) for each in self.repositories]
        async with asyncio.TaskGroup() as tasks:
            for repository, folder in zip(self.repositories, folders, strict=True):
                tasks.create_task(self._follow(repository, folder))

    async def _follow(self, repository: LocalRepository, folder: Path) -> None:
        """Sync now and after each change; a failed sync is tried again at the next one."""
        changed = asyncio.Event()
        changed.set()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_watch(changed, *_ref_folders(folder), recursive=True))
            tasks.create_task(_watch(changed, folder, recursive=False))  # packed-refs
            # Both watch from their first step on, so no change falls between them and this look.
            await asyncio.sleep(0)
            while True:
                await changed.wait()
                changed.clear()
                try:
                    await self.sync(repository)
                except Disconnected:
                    changed.set()  # the database goes on waiting for its server
                except DatakitError as error:
                    _log.error("cannot copy the refs of %s: %s", repository.project, error)

    async def sync(self, repository: LocalRepository) -> bool:
        """Make the database's heads equal to the repository's refs, once.

        Returns:
            Whether anything differed; if not, no commit was made.
        """
        while True:
            refs = await _list_refs(repository)
            known = await self._known(repository.project)
            if refs == known:
                return False
            for target, head in refs.items():
                if known.get(target) != head:  # it may move again: what was fetched counts
                    url = str(repository.path)
                    refs[target] = await self._database.fetch(url, f"refs/{target.short}")
            try:
                await self._write(repository.project, refs, known)
            except NotFastForward:
                continue  # another writer of the metadata was quicker: look again
            return True

    async def _known(self, project: str) -> dict[Target, CommitId]:
        head = await self._database.head(BRANCH)
        if head is None:
            return {}
        tree = (await self._database.commit(head)).tree
        return {
            target: commit
            for target, commit in (await self._heads.read(tree)).items()
            if target.project == project and target.kind is not TargetKind.PULL_REQUEST
        }

    async def _write(
        self, project: str, refs: Mapping[Target, CommitId], known: Mapping[Target, CommitId]
    ) -> None:
        message = _describe(refs, known)
        async with self._database.transaction(BRANCH) as transaction:
            for target in known.keys() - refs.keys():
                await transaction.remove(target_path(target))
            for target, head in refs.items():
                if known.get(target) != head:
                    await transaction.write(head_path(target), field(head))
            await _mark_monitored(transaction, project)
            await transaction.commit_if(transaction.base, f"{project}: {message}")
        _log.info("%s: %s", project, message)


async def _mark_monitored(transaction: Transaction, project: str) -> None:
    marker = monitor_path(project)
    if await transaction.entry(marker) is None:
        await transaction.write(marker, b"")


def _describe(refs: Mapping[Target, CommitId], known: Mapping[Target, CommitId]) -> str:
    """What moved, appeared and went, in one line."""
    moved = sorted(target for target in refs.keys() & known.keys() if refs[target] != known[target])
    added = sorted(refs.keys() - known.keys())
    gone = sorted(known.keys() - refs.keys())
    changes = [f"{target.short} is {refs[target][:12]}" for target in (*moved, *added)]
    changes += [f"{target.short} is gone" for target in gone]
    return ", ".join(changes) if len(changes) <= 3 else f"{len(changes)} refs changed"


async def _list_refs(repository: LocalRepository) -> dict[Target, CommitId]:
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


async def _watch(changed: asyncio.Event, *paths: Path, recursive: bool) -> None:
    async for _ in awatch(
        *paths, watch_filter=_is_ref, debounce=_DEBOUNCE, step=5, recursive=recursive
    ):
        changed.set()


def _is_ref(_change: object, path: str) -> bool:
    """Whether a changed file matters: refs do; lock files, HEAD and the index do not."""
    file = Path(path)
    inside = "refs" in file.parts or "reftable" in file.parts
    return file.suffix != ".lock" and (inside or file.name == "packed-refs")


def _ref_folders(folder: Path) -> list[Path]:
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
