"""Branches whose commits a test makes up, with any times."""

from __future__ import annotations

import itertools

from datakit_core.client.api import Commit, CommitId, ObjectId, Signature
from datakit_core.errors import UnknownObject
from datakit_core.store.objects import EMPTY_TREE

__all__ = ["MadeUpHistories"]


class MadeUpHistories:
    """Histories in memory.

    Attributes:
        heads: Where each branch is.
        reads: How many commits were read.
    """

    def __init__(self) -> None:
        self.heads: dict[str, CommitId] = {}
        self.reads = 0
        self._commits: dict[CommitId, Commit] = {}
        self._numbers = itertools.count(1)

    async def head(self, branch: str) -> CommitId | None:
        return self.heads.get(branch)

    async def commit(self, commit: CommitId) -> Commit:
        self.reads += 1
        if commit not in self._commits:
            raise UnknownObject(commit)
        return self._commits[commit]

    def add(self, branch: str, time: int, *, begins: bool = False) -> CommitId:
        """Commit to a branch; ``begins``: without a parent."""
        made = CommitId(ObjectId(f"{next(self._numbers):040x}"))
        head = self.heads.get(branch)
        who = Signature("me", "me@example.org", time)
        parents = () if head is None or begins else (head,)
        self._commits[made] = Commit(made, EMPTY_TREE, parents, who, who, "")
        self.heads[branch] = made
        return made

    def lose(self, commit: CommitId) -> None:
        """Forget a commit, as a shallow clone does."""
        del self._commits[commit]

    def walk(self, branch: str, moment: int) -> CommitId | None:
        """The newest commit not later than ``moment``, found by going back one by one."""
        at = self.heads.get(branch)
        while at is not None and at in self._commits:
            commit = self._commits[at]
            if commit.committer.time <= moment:
                return at
            at = commit.parents[0] if commit.parents else None
        return None
