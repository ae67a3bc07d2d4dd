"""A transaction: edits of one branch, and how they become a commit of it.

Nobody else sees the edits. Committing makes a commit of them and merges it into the branch: the
branch is simply moved when its head is a parent of the commit; else a three-way merge by path
makes a second commit, whose parents are the head and the first one. Losing a race means merging
again with the new head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from datakit_core.errors import (
    Busy,
    HeadMoved,
    InvalidArgument,
    MergeConflict,
    NotFastForward,
    UnknownObject,
)
from datakit_core.store.branch import Branches
from datakit_core.store.merge import merge
from datakit_core.store.objects import (
    CommitId,
    NewObject,
    ObjectKind,
    Signature,
    TreeId,
    encode_commit,
    new_object,
    parse_id,
)
from datakit_core.store.reader import Reader
from datakit_core.store.tree import Overlay

__all__ = ["Commits", "NewCommit", "Transaction", "parse_parents"]

_ATTEMPTS = 1000
_NO_MESSAGE = "(no commit message)"
_MAX_PARENTS = 256
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

    def __init__(self, reader: Reader, branches: Branches, clock: Callable[[], float]) -> None:
        """Work on ``branches``.

        Args:
            reader: The stored objects.
            branches: The branches to land on.
            clock: Seconds since 1970; may jump back, commit times do not.
        """
        self._reader, self._branches, self._clock = reader, branches, clock
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
                return landed.id
            try:
                await self._branches.move(branch, tip, landed.id, landed.objects)
            except HeadMoved:
                continue
            return landed.id
        raise HeadMoved(branch, commit.id, self._branches.head(branch))

    async def land_if(self, branch: str, head: CommitId | None, commit: NewCommit) -> CommitId:
        """Make ``commit`` the head of ``branch`` if its head is ``head`` and among its ancestors.

        Raises:
            NotFastForward: It is not.
        """
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
        return self._merge(base, tip, own)

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

    def _merge(self, base: CommitId | None, tip: CommitId, own: NewCommit) -> NewCommit:
        staged = self._branches.staged
        with staged.holding(own.objects):
            merged = merge(
                staged.tree,
                staged.commit(base).tree if base is not None else None,
                staged.commit(tip).tree,
                own.tree,
            )
            if merged.conflicts:
                raise MergeConflict(list(merged.conflicts))
            objects = (*own.objects, *merged.objects)
            return self.new(merged.tree, (tip, own.id), own.message, objects)


class Transaction:
    """Edits of one branch that are not committed yet.

    Attributes:
        branch: Where a commit goes.
        base: The branch's head when the transaction began.
        parents: The parents of the commit to be, one hash a line; checked when committing.
        message: Its message.
        tree: The edited tree, which begins as that of ``base``.
    """

    def __init__(self, reader: Reader, branches: Branches, commits: Commits, branch: str) -> None:
        """Begin at the branch's present head."""
        self._reader, self._commits = reader, commits
        self.branch = branch
        self.base = branches.head(branch)
        self.parents = "" if self.base is None else f"{self.base}\n"
        self.message = ""
        base = None if self.base is None else reader.commit(self.base)
        self.tree = Overlay(reader, base.tree if base is not None else None)
        self._closed = False
        self._committing = False

    @property
    def closed(self) -> bool:
        """Whether it has been committed or given up."""
        return self._closed

    async def commit(self) -> CommitId:
        """Commit the edits as they are now, and merge them into the branch.

        Returns:
            The branch's new head: the commit, or the merge that has it as its second parent.

        Raises:
            MergeConflict: The head moved, and both sides changed a path; the transaction stays.
            InvalidHash: A line of :attr:`parents` is not a hash; the transaction stays.
            UnknownObject: A parent is not a commit here; the transaction stays.
            Busy: It is being committed already.
        """
        with self._ending():
            head = await self._commits.land(self.branch, self.prepare())
            self._closed = True
            return head

    async def commit_if(self, head: CommitId | None) -> CommitId:
        """Commit the edits as they are now, if that simply moves the branch from ``head``.

        Raises:
            NotFastForward: The branch has another head, or ``head`` is no ancestor of the commit;
                the transaction stays.
        """
        with self._ending():
            commit = await self._commits.land_if(self.branch, head, self.prepare())
            self._closed = True
            return commit

    def prepare(self) -> NewCommit:
        """The commit of the edits as they are now; it is on no branch, and not stored."""
        parents = parse_parents(self._reader, self.parents)
        tree, objects = self.tree.freeze()
        return self._commits.new(tree, parents, self.message, objects)

    def close(self) -> None:
        """Give the edits up; does nothing after a commit."""
        self._closed = True

    @contextmanager
    def _ending(self) -> Iterator[None]:
        if self._closed:
            raise InvalidArgument("the transaction is closed")
        if self._committing:
            raise Busy("the transaction is being committed")
        self._committing = True
        try:
            yield
        finally:
            self._committing = False


def parse_parents(reader: Reader, text: str) -> tuple[CommitId, ...]:
    """The commits that ``text`` names, one hash a line; empty lines are ignored, order is kept.

    Raises:
        InvalidHash: A line is not a hash.
        UnknownObject: A hash is not that of a stored commit.
        InvalidArgument: There are too many.
    """
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if len(lines) > _MAX_PARENTS:
        raise InvalidArgument(f"a commit may have at most {_MAX_PARENTS} parents")
    parents = [CommitId(parse_id(line)) for line in dict.fromkeys(lines)]
    for parent in parents:
        if reader.kind(parent) is not ObjectKind.COMMIT:
            raise UnknownObject(f"no commit {parent}")
    return tuple(parents)
