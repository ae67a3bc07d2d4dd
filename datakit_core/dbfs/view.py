"""What one connection sees and owns.

Branches, commits and trees belong to all. Transactions, remotes and branches that were made but
have no commit yet belong to a connection, are invisible to the others, and go with it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakValueDictionary

from datakit_core.budget import Budget
from datakit_core.dbfs.access import Access
from datakit_core.dbfs.contents import Contents
from datakit_core.dbfs.edit import Edit
from datakit_core.dbfs.remote import Remote
from datakit_core.dbfs.tree import FixedTree
from datakit_core.errors import (
    AlreadyExists,
    InvalidName,
    IsDirectory,
    NoEntry,
    NotPermitted,
    TooMany,
)
from datakit_core.store import CommitId, Store, TreeId
from datakit_core.store.names import check_branch
from datakit_core.vfs import inode_of

__all__ = ["Branch", "Limits", "View"]


_LOOK_EVERY = 1_000_000
"""Nanoseconds for which a head on disk is taken to stay; no Git process can tell the difference."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one connection may own, so that none can fill the memory.

    Attributes:
        transactions: Open transactions, on all branches together.
        branches: Branches that were made and have no commit yet.
        remotes: Remotes.
    """

    transactions: int = 1_000
    branches: int = 1_000
    remotes: int = 100


class _Checked(NamedTuple):
    """A look at a branch's head on disk.

    Attributes:
        name: The branch's name then.
        head: What was there.
        known: What the store knew without looking; all moves of our own change it.
        until: When to look again, in nanoseconds of the monotonic clock.
    """

    name: str
    head: CommitId | None
    known: CommitId | None
    until: int


class Branch:
    """A branch as one connection knows it.

    All its nodes share this object, so that they follow when the branch is renamed.

    Attributes:
        name: Its name now.
        inode: Kept when it is renamed.
        transactions: Those that this connection has open, by name.
        checked: The last look at the head on disk.
    """

    __slots__ = ("__weakref__", "checked", "inode", "name", "transactions")

    def __init__(self, name: str, inode: int) -> None:
        """A branch without transactions."""
        self.name = name
        self.inode = inode
        self.transactions: dict[str, Edit] = {}
        self.checked: _Checked | None = None


class View:
    """One connection's view of the database.

    Attributes:
        store: The database.
        contents: Where blobs are read.
        limits: How much the connection may own.
        access: What it may see, change and fetch.
        remotes: Its remotes, by name.
    """

    def __init__(
        self,
        store: Store,
        contents: Contents,
        limits: Limits,
        access: Access,
        budget: Budget | None = None,
    ) -> None:
        """A view of ``store`` that owns nothing yet; edits take their memory from ``budget``."""
        self._budget = budget
        self.store = store
        self.contents = contents
        self.limits = limits
        self.access = access
        self.remotes: dict[str, Remote] = {}
        self._made: dict[str, Branch] = {}
        self._editing: dict[Branch, int] = {}
        self._known: WeakValueDictionary[str, Branch] = WeakValueDictionary()
        self._by_inode: WeakValueDictionary[int, Branch] = WeakValueDictionary()
        self._serials = itertools.count()

    @property
    def transactions(self) -> int:
        """How many transactions are open."""
        return sum(self._editing.values())

    def close(self) -> None:
        """The connection has gone: forget what was not committed."""
        for branch in tuple(self._editing):
            for edit in tuple(branch.transactions.values()):
                edit.close()
        self.remotes.clear()
        self._made.clear()

    def head(self, branch: Branch) -> CommitId | None:
        """The branch's head now; none before the first commit.

        Raises:
            NoEntry: There is no such branch any more.
        """
        head = self._look_at_head(branch)
        if head is None and branch.name not in self._made:
            raise NoEntry
        return head

    def exists(self, name: str) -> bool:
        """Whether this connection sees a branch called ``name``; false for what is no name."""
        return self.existing(name) is not None

    def existing(self, name: str) -> Branch | None:
        """The branch ``name``, if this connection sees it; it knows that it was looked at."""
        made = self._made.get(name)
        if made is not None:
            return made
        if not self.access.serves(name):
            return None
        branch = self.branch(name)
        try:
            return None if self._look_at_head(branch) is None else branch
        except InvalidName:
            return None

    def branches(self) -> list[str]:
        """The names of all branches that this connection sees, sorted."""
        return sorted({*self.heads(), *self._made})

    def heads(self) -> Mapping[str, CommitId]:
        """The branches with a head that this connection sees, as the store knows them."""
        heads = self.store.heads()
        if not self.access.limited:
            return heads
        return {name: head for name, head in heads.items() if self.access.serves(name)}

    def branch(self, name: str) -> Branch:
        """The branch ``name``, which need not exist."""
        branch = self._known.get(name)
        if branch is None:
            branch = Branch(name, self._free_inode(name))
            self._known[name] = branch
            self._by_inode[branch.inode] = branch
        return branch

    def branch_inode(self, name: str) -> int:
        """The inode of :meth:`branch`, without making one that a listing would drop again."""
        branch = self._known.get(name)
        return self._free_inode(name) if branch is None else branch.inode

    def make_branch(self, name: str) -> Branch:
        """A branch without commits; an existing one is taken as it is.

        Raises:
            InvalidName: Git would not accept the name.
            NotPermitted: The connection is limited to others.
            TooMany: The connection has made too many.
        """
        branch = self.branch(self._check_new(name))
        if not self.exists(name):
            self._drop_committed(self.limits.branches)
            if len(self._made) >= self.limits.branches:
                raise TooMany(
                    f"this connection has made {len(self._made)} branches without a commit; "
                    "commit to some of them or remove them"
                )
            self._made[name] = branch
        return branch

    async def remove_branch(self, branch: Branch) -> None:
        """Delete the branch, whatever is in it."""
        has_head = self.head(branch) is not None
        self._made.pop(branch.name, None)
        if has_head:
            await self.store.remove_branch(branch.name)

    async def rename_branch(self, branch: Branch, name: str) -> None:
        """Call the branch ``name``, in all nodes that show it.

        Raises:
            IsDirectory: There is a branch of that name.
            NotPermitted: The connection is limited to others.
        """
        old, has_head = branch.name, self.head(branch) is not None
        if self._check_new(name) == old:
            return
        if self.exists(name):
            raise IsDirectory
        if has_head:
            await self._rename_ref(old, name)
        if self._made.pop(old, None) is not None:
            self._made[name] = branch
        del self._known[old]
        self._known[name] = branch
        branch.name = name
        for edit in branch.transactions.values():
            edit.transaction.branch = name

    def begin(self, branch: Branch, name: str) -> Edit:
        """Start the transaction ``name`` from the branch's head.

        Raises:
            AlreadyExists: The connection has one of that name on the branch.
            TooMany: It has too many.
        """
        self.head(branch)
        if name in branch.transactions:
            raise AlreadyExists
        if self.transactions >= self.limits.transactions:
            raise TooMany(
                f"this connection has {self.limits.transactions} open transactions; "
                "commit or close some of them"
            )

        def finished() -> None:
            del branch.transactions[name]
            self._editing[branch] -= 1
            if not self._editing[branch]:
                del self._editing[branch]

        inode = inode_of("transaction", branch.inode, name, next(self._serials))
        edit = Edit(self.store, self.contents, branch.name, inode, finished, self._budget)
        branch.transactions[name] = edit
        self._editing[branch] = self._editing.get(branch, 0) + 1
        return edit

    def fixed_tree(self, tree: TreeId, inode: int) -> FixedTree:
        """The origin of nodes for a tree that never changes."""
        return FixedTree(self.store, self.contents, tree, inode)

    def _check_new(self, name: str) -> str:
        check_branch(name)
        if not self.access.serves(name):
            raise NotPermitted
        return name

    def _look_at_head(self, branch: Branch) -> CommitId | None:
        """The head on disk, at which we look once for a walk and not at each of its steps."""
        known = self.store.heads().get(branch.name)
        now = time.monotonic_ns()
        checked = branch.checked
        if (
            checked is None
            or now >= checked.until
            or checked.known != known
            or checked.name != branch.name
        ):
            head = self.store.head(branch.name)
            checked = _Checked(branch.name, head, known, now + _LOOK_EVERY)
            branch.checked = checked
        return checked.head

    async def _rename_ref(self, old: str, new: str) -> None:
        try:
            await self.store.rename_branch(old, new)
        except AlreadyExists:
            raise IsDirectory from None

    def _drop_committed(self, limit: int) -> None:
        """Forget that branches were made here which have a ref by now, when memory is short."""
        if len(self._made) >= limit:
            heads = self.store.heads()
            for name in [name for name in self._made if name in heads]:
                del self._made[name]

    def _free_inode(self, name: str) -> int:
        """By name, but not one that a renamed branch has taken along."""
        return next(
            inode
            for serial in itertools.count()
            if (inode := inode_of("branch", name, serial)) not in self._by_inode
        )
