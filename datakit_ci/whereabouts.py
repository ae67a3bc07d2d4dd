"""Whereabouts: which targets there are, and at which commits, as whoever knows says it.

Keeps the roster of what is tested in step with that, and tells the engine what has moved. What is
not tested is known as well, since other targets may point at it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from datakit_ci.edits import Edits, compare
from datakit_ci.heads import HeadsSource, read_title
from datakit_ci.roster import Roster, Watched
from datakit_ci.target import Target, TargetKind
from datakit_core.client.api import Commit, CommitId, Database
from datakit_core.errors import DatakitError

__all__ = ["Told", "Whereabouts"]


@dataclass(frozen=True, slots=True)
class Told:
    """Who is told what.

    Attributes:
        moved: A tested target is new, or at another commit.
        gone: One is not there any more, or not tested.
        changed: One is called otherwise; nothing of it depends on that.
        head: Where any target is now, tested or not; none: it is gone.
        said: Of which commits, with their projects, other CIs may say otherwise now; none: of any.
    """

    moved: Callable[[Target], None]
    gone: Callable[[Watched], None]
    changed: Callable[[Target], None]
    head: Callable[[Target, CommitId | None], None]
    said: Callable[[Collection[tuple[str, CommitId]] | None], None]


class Whereabouts:
    """Follows the heads of targets; :meth:`follow` is its task.

    Attributes:
        projects: The projects that are tested.
        metadata: The commit of ``github-metadata`` that was read last; none: there is none.
        is_loaded: Whether the heads are known at all.
    """

    def __init__(
        self,
        database: Database,
        source: HeadsSource,
        roster: Roster,
        canaries: Collection[Target],
        told: Told,
        edits: Edits,
    ) -> None:
        """Know of no target yet.

        Args:
            database: Where commits and titles are read.
            source: Says where targets are.
            roster: Kept in step.
            canaries: Test only these; none: all.
            told: Told what has changed.
            edits: Told what differs between the trees that a target was at and is at.
        """
        self.projects: Collection[str] = ()
        self.metadata: CommitId | None = None
        self.is_loaded = False
        self._database = database
        self._source = source
        self._roster = roster
        self._canaries = frozenset(canaries)
        self._told = told
        self._edits = edits
        self._commits: Mapping[Target, CommitId] = {}

    def head(self, target: Target) -> CommitId | None:
        """Where a target is, tested or not; none if there is none of that name."""
        return self._commits.get(target)

    async def follow(self, settled: Callable[[], None]) -> None:
        """Keep in step for ever; ``settled`` is called after each reading."""
        async for heads in self._source.watch():
            self.metadata = heads.metadata
            moved = heads.moved
            if moved is None:
                moved = frozenset(self._commits.keys() | heads.commits.keys())
            self._commits = heads.commits
            for target in moved:
                await self._follow(target, heads.commits.get(target))
            self._told.said(heads.said)
            self.is_loaded = True
            settled()

    def leave_others(self) -> None:
        """Let go of the targets of projects that are not tested any more."""
        for watched in self._roster.watched():
            if watched.target.project not in self.projects:
                self._drop(watched)

    async def join_new(self) -> None:
        """Test the targets of projects that were not tested before."""
        for target, head in self._commits.items():
            if self._wants(target) and target not in self._roster:
                await self._move(target, head)
                await self._entitle(target)

    async def _follow(self, target: Target, head: CommitId | None) -> None:
        """``target`` may have moved to ``head``; none: it is gone."""
        watched = self._roster.get(target)
        if head is None and watched is not None:
            self._drop(watched)
        elif head is not None and self._wants(target) and (watched is None or watched.head != head):
            await self._move(target, head)
        await self._entitle(target)
        self._told.head(target, head)

    async def _entitle(self, target: Target) -> None:
        """Show what a pull request is called now."""
        watched = self._roster.get(target)
        if watched is None or target.kind is not TargetKind.PULL_REQUEST:
            return
        title = await read_title(self._database, self.metadata, target)
        if title != watched.title:
            watched.title = title
            watched.state = replace(watched.state, title=title)
            self._told.changed(target)

    def _wants(self, target: Target) -> bool:
        """Whether this engine tests ``target``."""
        canary = not self._canaries or target in self._canaries
        return canary and target.project in self.projects

    async def _move(self, target: Target, head: CommitId) -> None:
        """``target``, which is tested, is new or is at another commit."""
        try:
            commit = await self._database.commit(head)
        except DatakitError:
            commit = None  # the evaluation asks for its tree, and says so
        await self._compare(self._roster.get(target), commit)
        self._roster.move(target, head, commit)
        self._told.moved(target)

    async def _compare(self, watched: Watched | None, commit: Commit | None) -> None:
        """Find out what differs from where a target was evaluated; that only saves work."""
        if watched is None or watched.evaluator is None or watched.commit is None or commit is None:
            return
        old, new = watched.commit.tree, commit.tree
        if old == new or self._edits.between(old, new) is not None:
            return
        try:
            edit = await compare(self._database, old, new)
        except DatakitError:  # a part of the old tree is gone
            return
        if edit is not None:
            self._edits.note(old, new, edit)

    def _drop(self, watched: Watched) -> None:
        """A target is gone; what was built only for it is stopped."""
        self._roster.remove(watched)
        self._told.gone(watched)
