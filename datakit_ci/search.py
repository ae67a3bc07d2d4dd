"""Searching the cache for very many needs: what two of them share is looked for once.

Thousands of targets ask for the same stage on trees that differ only where the stage cannot look.
What a build can see is what its stage has declared, so needs whose declared inputs are equal have
one answer, for as long as nothing has changed in the stage's part of its branch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from datakit_ci.cache import Cache
from datakit_ci.lookup import find_entry
from datakit_ci.need import Build
from datakit_ci.spec import StageSpec
from datakit_ci.state import BuildId, BuildState
from datakit_ci.tally import Found, Tally
from datakit_ci.trace import declared
from datakit_core.client.api import CommitId, Database, Entry, TreeId

__all__ = ["Finding", "Search"]

_MOST = 10_000
"""Answers of one stage, and stages, that are remembered."""

_ENTRIES = 100_000
"""Of all directories that are remembered."""

_Seen: TypeAlias = tuple[Entry | None, ...]
"""What is at each path that a stage has declared."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to a need.

    Attributes:
        build: Its name: that of the recorded build, or of one that has yet to run.
        recorded: The build that saw what a new one would see; none if there is no such.
    """

    build: BuildId
    recorded: BuildState | None = None


@dataclass(slots=True)
class _Place:
    """Where the results of one stage of a project are.

    Attributes:
        branch: In which branch.
        directory: At which path.
        paths: What the stage has declared to look at.
        tree: What was there when ``found`` was looked up.
        found: What was found there.
    """

    branch: str
    directory: str
    paths: tuple[str, ...]
    tree: TreeId | None = None
    found: dict[_Seen, Finding] = field(default_factory=dict)


@dataclass(slots=True)
class _View:
    """The branches as they were at one time, as far as they have been looked at.

    Attributes:
        roots: The tree of each branch.
        trees: Below that, what is about one stage of a project.
        heads: Of all branches, read at once; none: each is read when it is wanted.
        is_wide: Whether so many are wanted that they are to be read at once.
    """

    roots: dict[str, TreeId | None] = field(default_factory=dict)
    trees: dict[tuple[str, StageSpec], TreeId | None] = field(default_factory=dict)
    heads: Mapping[str, CommitId] | None = None
    is_wide: bool = False


class Search:
    """Finds builds, with a memory that changes no answer.

    The branches are those of the last :meth:`refresh`: a result that came later may be missed.
    """

    def __init__(self, database: Database, cache: Cache, tally: Tally | None = None) -> None:
        """Read inputs from ``database``, results from ``cache``; count look-ups in ``tally``."""
        self._tally = tally or Tally()
        self._cache = cache
        self._database = database
        self._inputs = _Directories(database)
        self._places: dict[tuple[str, StageSpec], _Place] = {}
        self._view = _View()

    def refresh(self, *, many: bool = False) -> None:
        """Look at the branches again from now on; ``many``: at all of them at once.

        That asks the database once, and leaves its files alone: it answers from memory, where
        what another program has done in the last milliseconds may be missing.
        """
        self._view = _View(is_wide=many)

    async def find(self, need: Build) -> Finding:
        """The build that answers ``need``, whether it was ever run or not."""
        with self._tally.lookup() as outcome:
            found = await self._find(need)
            outcome.append(Found.MISS if found.recorded is None else Found.HIT)
            return found

    async def _find(self, need: Build) -> Finding:
        place = self._place(need)
        root, tree = await self._where(need, place)
        if tree != place.tree:
            place.tree = tree
            place.found.clear()
        seen = await self._seen(need.input, place.paths)
        found = place.found.get(seen)
        if found is None:
            recorded = None if root is None else await self._cache.find_in(root, need)
            if recorded is None and self._cache.borrows:
                recorded = await self._cache.find(need)
                self.refresh()
            found = Finding(recorded.id if recorded else await self._cache.name(need), recorded)
            if place.tree == tree and len(place.found) < _MOST:
                place.found[seen] = found
        return found

    def _place(self, need: Build) -> _Place:
        key = need.project, need.spec
        place = self._places.get(key)
        if place is None:
            if len(self._places) >= _MOST:
                self._places.clear()
            build = BuildId(need.project, need.spec.name, need.spec.static_digest(need.project), "")
            paths = tuple(question.path for question in declared(need.spec).questions)
            directory = build.directory.partition("/runs/")[0]
            place = self._places[key] = _Place(build.branch, directory, paths)
        return place

    async def _where(self, need: Build, place: _Place) -> tuple[TreeId | None, TreeId | None]:
        """The tree of the stage's branch, and what of it is about this very stage."""
        view, key = self._view, (need.project, need.spec)
        if place.branch not in view.roots:
            view.roots[place.branch] = await self._root(view, place.branch)
        root = view.roots[place.branch]
        if key not in view.trees:
            entry = None if root is None else await self._database.entry(root, place.directory)
            view.trees[key] = None if entry is None else TreeId(entry.id)
        return root, view.trees[key]

    async def _root(self, view: _View, branch: str) -> TreeId | None:
        if not view.is_wide:
            return await self._cache.root(branch)
        if view.heads is None:
            view.heads = await self._database.branches()
        return await self._cache.root_at(view.heads.get(branch))

    async def _seen(self, tree: TreeId, paths: tuple[str, ...]) -> _Seen:
        return tuple([await find_entry(self._inputs, tree, path) for path in paths])


class _Directories:
    """Remembers directories, up to a number of entries."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[TreeId, Mapping[str, Entry]] = {}
        self._entries = 0

    async def tree(self, tree: TreeId) -> Mapping[str, Entry]:
        known = self._known.get(tree)
        if known is None:
            known = await self._database.tree(tree)
            self._entries += len(known) + 1
            if self._entries > _ENTRIES:
                self._known.clear()
                self._entries = len(known) + 1
            self._known[tree] = known
        return known
