"""The local-Git bridge: the branches and tags of repositories on this machine become targets.

For each watched repository it keeps ``USER/REPO/ref/{heads,tags}/NAME/head`` on the
``github-metadata`` branch equal to the repository's refs, and brings the commits into the
database first, so that whoever sees a head can read its tree. Changes are noticed by watching
the repository's ref files. A repository that is not there yet, or goes and comes back, is waited
for; while it is away its heads stay as they were, since a disk may just not be mounted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from watchfiles import Change, awatch

from datakit_ci.bridges.local_refs import (
    LocalRepository,
    Place,
    git_directory,
    list_refs,
    place_of,
    ref_folders,
    until_it_may_be_there,
)
from datakit_ci.heads import MetadataHeads
from datakit_ci.metadata import BRANCH, field, head_path, monitor_path, target_path
from datakit_ci.target import Target, TargetKind
from datakit_core.client.api import CommitId, Database, Transaction
from datakit_core.errors import ConfigError, DatakitError, Disconnected, NotFastForward

__all__ = ["ItIsTheDatabaseError", "LocalGitBridge", "LocalRepository", "git_directory"]

_log = logging.getLogger(__name__)

_DEBOUNCE = 30
"""Milliseconds in which several changes of ref files count as one (a push, a rebase)."""


_NOT_FOLDERS = frozenset({"HEAD", "index", "ORIG_HEAD", "FETCH_HEAD", "COMMIT_EDITMSG"})

_PATIENCE = 10.0
"""Seconds; what is looked at then are a few directories' inodes."""

_FAR_ENOUGH = 100
"""Commits of the metadata among which a watched branch's is looked for, if it is a mirror."""


class ItIsTheDatabaseError(ConfigError):
    """The repository to watch is the database: each commit of the bridge would be news to it."""


class LocalGitBridge:
    """Copies refs of local repositories into a database, until cancelled."""

    def __init__(
        self,
        database: Database,
        repositories: Sequence[LocalRepository],
        *,
        patience: float = _PATIENCE,
    ) -> None:
        """Prepare; :meth:`run` does the work.

        Args:
            database: Where the heads go.
            repositories: What to watch.
            patience: Seconds after which a repository that is away, or has been put elsewhere
                without a change of its own, is looked for again.
        """
        self._database = database
        self._heads = MetadataHeads(database)
        self._patience = patience
        self.repositories = tuple(repositories)

    async def run(self) -> None:
        """Keep all repositories in step; those that are not there yet are waited for."""
        async with asyncio.TaskGroup() as tasks:
            for repository in self.repositories:
                tasks.create_task(self._keep(repository))

    async def _keep(self, repository: LocalRepository) -> None:
        """Follow a repository whenever it is there."""
        while True:
            place = await self._found(repository)
            try:
                await self._follow(repository, place)
            except* FileNotFoundError:
                _log.debug("%s went before it could be watched", place.folder)

    async def _found(self, repository: LocalRepository) -> Place:
        """Wait until there is a repository; say once that there is none."""
        said = False
        while True:
            try:
                return await place_of(repository)
            except ConfigError as error:
                if not said:
                    _log.warning("%s: %s; waiting for it", repository.project, error)
                said = True
            await until_it_may_be_there(repository.path, self._patience)

    async def _follow(self, repository: LocalRepository, place: Place) -> None:
        """Sync now and after each change, until the repository goes."""
        changed = asyncio.Event()
        changed.set()
        async with asyncio.TaskGroup() as tasks:
            watching = [
                tasks.create_task(_watch(changed, *ref_folders(place.folder), recursive=True)),
                tasks.create_task(_watch(changed, place.folder, recursive=False)),  # packed-refs
            ]
            # Both watch from their first step on, so no change falls between them and this look.
            await asyncio.sleep(0)
            while place.is_there:
                if changed.is_set():
                    changed.clear()
                    await self._try(repository, place, changed)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._patience):
                        await changed.wait()
            for each in watching:
                each.cancel()

    async def _try(self, repository: LocalRepository, place: Place, changed: asyncio.Event) -> None:
        """Sync; what failed is tried again at the next change."""
        try:
            await self.sync(repository)
        except Disconnected:
            changed.set()  # the database goes on waiting for its server
        except ItIsTheDatabaseError as error:
            _log.warning("%s is not watched: %s", repository.project, error)
            await asyncio.Event().wait()  # the other repositories go on
        except DatakitError as error:
            if place.is_there:
                _log.error("cannot copy the refs of %s: %s", repository.project, error)

    async def sync(self, repository: LocalRepository) -> bool:
        """Make the database's heads equal to the repository's refs, once.

        Returns:
            Whether anything differed; if not, no commit was made.

        Raises:
            ItIsTheDatabaseError: The repository is the database, or a mirror of it.
            ConfigError: It is no repository.
        """
        while True:
            refs = await list_refs(repository)
            await self._refuse_database(repository, refs)
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

    async def _refuse_database(
        self, repository: LocalRepository, refs: Mapping[Target, CommitId]
    ) -> None:
        """See whether the repository's branch of metadata is the database's own.

        By what is in it, not by its path: the database may be at a server, or the repository a
        mirror that the server pushes to, which would make the same loop.
        """
        theirs = refs.get(Target(repository.project, TargetKind.BRANCH.value, BRANCH))
        head = await self._database.head(BRANCH)
        if theirs is None or head is None:
            return
        looked = 0
        async for commit in self._database.history(head):
            if commit.id == theirs:
                raise ItIsTheDatabaseError(
                    f"{repository.path} is the database itself, or a mirror of it; "
                    "give the repository with the sources"
                )
            looked += 1
            if looked >= _FAR_ENOUGH:
                return

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


async def _watch(changed: asyncio.Event, *paths: Path, recursive: bool) -> None:
    async for _ in awatch(
        *paths, watch_filter=_is_ref, debounce=_DEBOUNCE, step=5, recursive=recursive
    ):
        changed.set()


def _is_ref(change: Change, path: str) -> bool:
    """Whether a changed file matters: refs do; lock files, HEAD and the index do not."""
    file = Path(path)
    inside = "refs" in file.parts or "reftable" in file.parts
    if change is Change.deleted and file.name not in _NOT_FOLDERS and file.suffix != ".lock":
        return True  # perhaps the repository's own directory
    return file.suffix != ".lock" and (inside or file.name == "packed-refs")
