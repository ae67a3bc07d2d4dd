"""Commits: how they are made, and how they land on a branch that others commit to as well.

A commit lands by moving the branch, when the head is among its parents; else by a second commit
that merges head and commit by path. Losing a race means merging again with the new head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from datakit_core.errors import HeadMoved, MergeConflict, NotFastForward
from datakit_core.store.activity import Activity
from datakit_core.store.branch import Branches
from datakit_core.store.merge import merge_steps
from datakit_core.store.objects import (
    CommitId,
    NewObject,
    ObjectKind,
    Signature,
    TreeId,
    encode_commit,
    new_object,
)
from datakit_core.store.slices import in_slices

__all__ = ["Commits", "NewCommit"]

_ATTEMPTS = 1000
"""Lost races after which a commit is given up."""

_NO_MESSAGE = "(no commit message)"
_NEAR = 64
"""Commits of a branch that are looked through for a merge base before the writer is asked."""


@dataclass(frozen=True, slots=True)
class NewCommit:
    """A commit that is not stored yet, with all objects that it needs."""

    id: CommitId
    tree: TreeId
    parents: tuple[CommitId, ...]
    message: str
    objects: tuple[NewObject, ...]


class Commits:
    """Makes commits, and lands them on branches."""

    def __init__(self, branches: Branches, clock: Callable[[], float], activity: Activity) -> None:
        """Work on ``branches``.

        Args:
            branches: The branches to land on.
            clock: Seconds since 1970; may jump back, commit times do not.
            activity: Where to count.
        """
        self._branches, self._clock, self._activity = branches, clock, activity
        self._last = 0

    def new(
        self,
        tree: TreeId,
        parents: Sequence[CommitId],
        message: str,
        objects: Sequence[NewObject] = (),
    ) -> NewCommit:
        """Make a commit by DataKit itself; it is not stored yet.

        Its time is not before that of any commit made so far, nor of any parent.
        """
        self._last = max(self._last, int(self._clock()))
        known = [self._branches.staged.commit(parent).committer.time for parent in parents]
        who = Signature("datakit", "datakit@mobyproject.org", max([self._last, *known]))
        data = encode_commit(tree, parents, who, who, message or _NO_MESSAGE)
        commit = new_object(ObjectKind.COMMIT, data)
        return NewCommit(CommitId(commit.id), tree, tuple(parents), message, (*objects, commit))

    def stored(self, commit: CommitId, message: str) -> NewCommit:
        """A commit that is stored already; ``message`` is for the merge that it may need."""
        found = self._branches.staged.commit(commit)
        return NewCommit(commit, found.tree, found.parents, message, ())

    async def land(self, branch: str, commit: NewCommit) -> CommitId:
        """Bring ``commit`` into ``branch``; returns the new head.

        Raises:
            MergeConflict: Both sides changed a path.
            HeadMoved: The branch moved again and again meanwhile.
        """
        own = await self._ahead(commit)
        for _ in range(_ATTEMPTS):
            tip = self._branches.tip(branch)
            landed = await self._join(branch, tip, own)
            if landed is None or self._branches.tip(branch) != tip:
                continue
            if landed.id == tip:
                self._activity.moved += 1
                return landed.id
            try:
                await self._branches.move(branch, tip, landed.id, landed.objects)
            except HeadMoved:
                continue
            if landed.id == own.id:
                self._activity.moved += 1
            else:
                self._activity.merged += 1
            return landed.id
        raise HeadMoved(branch, commit.id, self._branches.head(branch))

    async def land_if(self, branch: str, head: CommitId | None, commit: NewCommit) -> CommitId:
        """Make ``commit`` the head of ``branch`` if its head is ``head`` and among its ancestors.

        Raises:
            NotFastForward: It is not.
        """
        try:
            landed = await self._move_from(branch, head, commit)
        except NotFastForward:
            self._activity.overtaken += 1
            raise
        self._activity.moved += 1
        return landed

    async def _move_from(self, branch: str, head: CommitId | None, commit: NewCommit) -> CommitId:
        own = await self._ahead(commit)
        if self._branches.tip(branch) != head:
            raise NotFastForward
        if head is not None and head not in own.parents:
            await self._branches.write(own.objects)
            if not await self._branches.is_ancestor(head, own.id):
                raise NotFastForward
        try:
            await self._branches.move(branch, head, own.id, own.objects)
        except HeadMoved:
            raise NotFastForward from None
        return own.id

    async def _ahead(self, commit: NewCommit) -> NewCommit:
        """Write what is large before the branch is looked at, so that nobody waits for it."""
        left = tuple(await self._branches.write_ahead(commit.objects))
        return NewCommit(commit.id, commit.tree, commit.parents, commit.message, left)

    async def _join(self, branch: str, tip: CommitId | None, own: NewCommit) -> NewCommit | None:
        """What the branch's head shall be, so that it has both ``tip`` and ``own``.

        None if the branch was moved meanwhile.
        """
        if tip is None or tip == own.id or tip in own.parents:
            return own
        base = self._near_base(tip, own)
        if base is None:
            await self._branches.settled(branch)
            if self._branches.tip(branch) != tip:
                return None
            await self._branches.write(own.objects)
            base = await self._branches.merge_base(tip, own.id)
        if base == tip:
            return own
        if base == own.id:
            return NewCommit(tip, own.tree, (), own.message, ())
        return await self._merge(base, tip, own)

    def _near_base(self, tip: CommitId, own: NewCommit) -> CommitId | None:
        """The only parent of ``own``, if it is a recent head of the branch.

        It is then the best common ancestor, since every other one is behind it.
        """
        if len(own.parents) != 1:
            return None
        at: CommitId | None = tip
        for _ in range(_NEAR):
            if at is None or at == own.parents[0]:
                return at
            parents = self._branches.staged.commit(at).parents
            at = parents[0] if parents else None
        return None

    async def _merge(self, base: CommitId | None, tip: CommitId, own: NewCommit) -> NewCommit:
        staged = self._branches.staged
        with staged.holding(own.objects):
            merged = await in_slices(
                merge_steps(
                    staged.whole_tree_steps,
                    staged.commit(base).tree if base is not None else None,
                    staged.commit(tip).tree,
                    own.tree,
                )
            )
            if merged.conflicts:
                self._activity.conflicts += 1
                raise MergeConflict(list(merged.conflicts))
            objects = (*own.objects, *merged.objects)
            return self.new(merged.tree, (tip, own.id), own.message, objects)
