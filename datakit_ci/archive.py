"""The archive: all that is recorded of builds, to be read and never changed.

A build's :class:`Dossier` has what it came to and the trees that it was given and has made, with
what reads them. Whoever has a dossier may read these trees and what is in them; an id that comes
from somewhere else proves nothing, so pages begin with a dossier and go down from there by name.

A stage's history is that of its branch: each result is a commit, also one that was made again
under the same key. So one build may have several dossiers, told apart by their commits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Generic, Protocol, TypeVar, cast

from datakit_ci.cache import Cache
from datakit_ci.state import BuildId, BuildState
from datakit_ci.trace import Observation
from datakit_core.client.api import BlobId, Change, Commit, CommitId, Database, Entry, Tree, TreeId
from datakit_core.errors import FileError, StoreError

__all__ = ["Archive", "Dossier", "Objects"]

_MOST_COMMITS, _MOST_DOSSIERS = 20_000, 5_000
"""What is remembered: which results each commit has added, and what they are."""

_FAR = 2_000
"""Results of a stage among which one that was made again is looked for."""

_NEVER = datetime.min.replace(tzinfo=UTC)

K = TypeVar("K")
V = TypeVar("V")


class Objects(Protocol):
    """The part of a database that reads objects; see :class:`~datakit_core.client.api.Database`."""

    async def tree(self, tree: TreeId) -> Tree:
        """Read one directory."""
        ...

    async def entry(self, tree: TreeId, path: str) -> Entry | None:
        """What is at ``path`` below ``tree``; the root is its own entry; none if absent."""
        ...

    async def blob_size(self, blob: BlobId) -> int:
        """A blob's length in bytes, without reading it."""
        ...

    def stream_blob(
        self, blob: BlobId, offset: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        """A blob, or a part of it, in pieces of at most 1 MiB."""
        ...

    async def diff(self, old: TreeId, new: TreeId) -> Sequence[Change]:
        """The files that differ, sorted by path; equal subtrees are never read."""
        ...


async def _unknown() -> Sequence[Observation] | None:
    return None


@dataclass(frozen=True, slots=True)
class Dossier:
    """What there is about one build.

    Attributes:
        state: Where it stands, or what it came to.
        objects: Reads its trees: ``state.input``, ``state.output`` and ``reports``.
        reports: The tree of its JUnit files; none if it left none.
        log: All that it printed, also of a result that was replaced; none before there is one.
        commit: A commit of its stage's branch that has it: of a stage's results, the one that has
            recorded it; none: it has no result yet.
        observe: Reads what it looked at; none if that is not recorded.
    """

    state: BuildState
    objects: Objects = field(repr=False)
    reports: TreeId | None = None
    log: BlobId | None = None
    commit: CommitId | None = None
    observe: Callable[[], Awaitable[Sequence[Observation] | None]] = field(
        default=_unknown, repr=False, compare=False
    )


class _Recent(Generic[K, V]):
    """Remembers values that never change, the most recently used."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        if key in self._known:
            self._known.move_to_end(key)
        return self._known.get(key)

    def put(self, key: K, value: V) -> V:
        self._known[key] = value
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        return value


class Archive:
    """Finds dossiers, as of now or as of any moment; remembers what commits say."""

    def __init__(
        self,
        database: Database,
        head: Callable[[str], Awaitable[CommitId | None]] | None = None,
    ) -> None:
        """Look at ``database``.

        Args:
            database: Where results are.
            head: Where a branch is; by default where it is now.
        """
        self._database = database
        self._head = head or database.head
        self._cache = Cache(database)
        self._added: _Recent[CommitId, tuple[BuildId, ...]] = _Recent(_MOST_COMMITS)
        self._dossiers: _Recent[tuple[CommitId, BuildId], Dossier] = _Recent(_MOST_DOSSIERS)

    def as_of(self, head: Callable[[str], Awaitable[CommitId | None]]) -> Archive:
        """The same with other heads, such as those of a moment; what is remembered is shared."""
        other = Archive(self._database, head)
        other._added, other._dossiers = self._added, self._dossiers
        return other

    def under_way(self, state: BuildState) -> Dossier:
        """The dossier of a build that has no result yet: it has its input only."""
        return Dossier(state, self._database)

    async def find(self, build: BuildId, commit: CommitId | None = None) -> Dossier | None:
        """A recorded build; none if it is not there, or damaged.

        Args:
            build: Which.
            commit: The result that this commit of the stage's branch has recorded; none: the
                newest.
        """
        if commit is not None:
            return await self._find_made(build, commit)
        head = await self._head(build.branch)
        return (
            None if head is None else await self._dossier(await self._database.commit(head), build)
        )

    async def _find_made(self, build: BuildId, commit: CommitId) -> Dossier | None:
        """Among the stage's own results, so that a commit of another branch shows nothing."""
        looked = 0
        async with aclosing(self.results(build.project, build.stage)) as results:
            async for dossier in results:
                looked += 1
                if dossier.commit == commit and dossier.state.id == build:
                    return dossier
                if looked >= _FAR:
                    break
        return None

    async def results(self, project: str, stage: str) -> AsyncGenerator[Dossier, None]:
        """The results of a stage in the order in which they were recorded, the newest first.

        One that was made again is there several times. Before the first commit since retention
        dropped results, they are in the order of their ends.
        """
        head = await self._head(BuildId(project, stage, "", "").branch)
        if head is None:
            return
        history = self._database.history(head)
        async with aclosing(cast("AsyncGenerator[Commit, None]", history)):
            async for commit in history:
                for build in await self._builds_added(commit, project, stage):
                    dossier = await self._dossier(commit, build)
                    if dossier is not None:
                        yield dossier

    async def _dossier(self, commit: Commit, build: BuildId) -> Dossier | None:
        """What a commit's tree says of a build; ``commit`` of the dossier is this one."""
        known = self._dossiers.get((commit.id, build))
        if known is not None:
            return known
        state = await self._cache.read_in(commit.tree, build)
        if state is None:
            return None
        reports = await self._database.entry(commit.tree, f"{build.directory}/reports")
        log = await self._database.entry(commit.tree, f"{build.directory}/log")
        is_tree = reports is not None and reports.is_directory
        found = Dossier(
            state,
            self._database,
            TreeId(reports.id) if reports and is_tree else None,
            BlobId(log.id) if log is not None and log.mode.is_file else None,
            commit.id,
            lambda: self._cache.observations_in(commit.tree, build),
        )
        return self._dossiers.put((commit.id, build), found)

    async def _builds_added(self, commit: Commit, project: str, stage: str) -> Sequence[BuildId]:
        """The builds that a commit of a stage's branch has recorded, the newest first."""
        known = self._added.get(commit.id)
        if known is not None:
            return known
        try:
            before = None
            if commit.parents:
                before = (await self._database.commit(commit.parents[0])).tree
            found = [
                BuildId(project, stage, static, key)
                async for static, key in self._runs_added(before, commit.tree)
            ]
        except (StoreError, FileError):  # damaged by hand; the rest of the history is not
            return ()
        if len(found) > 1:
            found = [build for _, build in sorted(await self._aged(commit, found), reverse=True)]
        return self._added.put(commit.id, tuple(found))

    async def _aged(
        self, commit: Commit, builds: Sequence[BuildId]
    ) -> Sequence[tuple[datetime, BuildId]]:
        states = [await self._cache.read_in(commit.tree, build) for build in builds]
        return [(each.finished or _NEVER, each.id) for each in states if each is not None]

    async def _runs_added(self, old: TreeId | None, new: TreeId) -> AsyncIterator[tuple[str, str]]:
        """STATIC and KEY of each run that another tree is recorded for; see :mod:`cache`."""
        async for _, two, was in self._changed(old, new):
            async for static, code, before in self._changed(was, two):
                runs = await self._directory(code, "runs")
                if runs is not None:
                    earlier = None if before is None else await self._directory(before, "runs")
                    async for key, _, _ in self._changed(earlier, runs):
                        yield static, key

    async def _directory(self, tree: TreeId, name: str) -> TreeId | None:
        entry = (await self._database.tree(tree)).get(name)
        return None if entry is None or not entry.is_directory else TreeId(entry.id)

    async def _changed(
        self, old: TreeId | None, new: TreeId
    ) -> AsyncIterator[tuple[str, TreeId, TreeId | None]]:
        """The directories in ``new`` that are new or other ones than in ``old``."""
        if old == new:
            return
        before: Tree = {} if old is None else await self._database.tree(old)
        for name, entry in (await self._database.tree(new)).items():
            was = before.get(name)
            if entry.is_directory and entry != was:
                is_tree = was is not None and was.is_directory
                yield name, TreeId(entry.id), TreeId(was.id) if was and is_tree else None
