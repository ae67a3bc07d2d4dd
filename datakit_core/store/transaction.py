"""A transaction: edits of one branch that nobody else sees until they are committed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from datakit_core.budget import Budget
from datakit_core.errors import (
    Busy,
    InvalidArgument,
    UnknownObject,
)
from datakit_core.store.branch import Branches
from datakit_core.store.commits import Commits, NewCommit
from datakit_core.store.freezing import freeze_overlay
from datakit_core.store.largeblobs import LargeBlobs
from datakit_core.store.objects import (
    EMPTY_TREE,
    CommitId,
    ObjectKind,
    TreeId,
    parse_id,
)
from datakit_core.store.reader import Reader
from datakit_core.store.tree import Overlay

__all__ = ["Transaction", "parse_parents"]

_MAX_PARENTS = 256


class Transaction:
    """Edits of one branch that are not committed yet.

    Attributes:
        branch: Where a commit goes.
        base: The branch's head when the transaction began.
        begun: When that was, by the monotonic clock.
        parents: The parents of the commit to be, one hash a line; checked when committing.
        message: Its message.
        tree: The edited tree, which begins as that of ``base``.
    """

    def __init__(
        self,
        reader: Reader,
        branches: Branches,
        commits: Commits,
        large: LargeBlobs,
        branch: str,
        budget: Budget | None = None,
    ) -> None:
        """Begin at the branch's present head; memory is taken from ``budget``."""
        self._reader, self._commits, self._large = reader, commits, large
        self.branch = branch
        self.begun = time.monotonic()
        self.base = branches.head(branch)
        self.parents = "" if self.base is None else f"{self.base}\n"
        self.message = ""
        base = None if self.base is None else reader.commit(self.base)
        self.tree = Overlay(
            reader, base.tree if base is not None else None, space=large.space, budget=budget
        )
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
            commit = await self.prepare()
            head = await self._commits.land(self.branch, commit)
            self._end(commit.tree)
            return head

    async def commit_if(self, head: CommitId | None) -> CommitId:
        """Commit the edits as they are now, if that simply moves the branch from ``head``.

        Raises:
            NotFastForward: The branch has another head, or ``head`` is no ancestor of the commit;
                the transaction stays.
        """
        with self._ending():
            commit = await self.prepare()
            landed = await self._commits.land_if(self.branch, head, commit)
            self._end(commit.tree)
            return landed

    async def prepare(self) -> NewCommit:
        """The commit of the edits as they are now; it is on no branch, and not stored."""
        parents = parse_parents(self._reader, self.parents)
        tree, objects = await freeze_overlay(self.tree, self._large)
        return self._commits.new(tree, parents, self.message, objects)

    def close(self) -> None:
        """Give the edits up, and all that they hold; does nothing after a commit."""
        if not self._closed:
            base = self.base
            self._end(EMPTY_TREE if base is None else self._reader.commit(base).tree)

    def _end(self, tree: TreeId) -> None:
        """What is open shows ``tree`` from now on."""
        self._closed = True
        self.tree.end(tree)

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
