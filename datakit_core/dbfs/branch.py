"""``/branch``, and what is in the directory of a branch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from datakit_core.dbfs.contents import Contents
from datakit_core.dbfs.diff import diff_directory, diff_text
from datakit_core.dbfs.layout import Layout, Makers
from datakit_core.dbfs.listing import Listing
from datakit_core.dbfs.transaction import TransactionsDirectory
from datakit_core.dbfs.tree import TreeDirectory
from datakit_core.dbfs.view import Branch, View
from datakit_core.dbfs.watch import WatchDirectory, head_line, head_stream, reflog_stream
from datakit_core.errors import NoEntry, NotPermitted
from datakit_core.store import EMPTY_TREE, CommitId, Store, TreeId, parse_id
from datakit_core.store.slices import in_slices
from datakit_core.vfs import (
    Answer,
    CommandFile,
    Directory,
    Kind,
    Named,
    Node,
    Stat,
    TextFile,
    inode_of,
)

__all__ = ["BranchDirectory", "BranchesDirectory"]


@dataclass(frozen=True, slots=True)
class _HeadTree:
    """The tree of a branch's head, whatever the head is when it is asked for."""

    view: View
    branch: Branch
    version: int = 0

    @property
    def store(self) -> Store:
        return self.view.store

    @property
    def contents(self) -> Contents:
        return self.view.contents

    @property
    def inode(self) -> int:
        return inode_of(self.branch.inode, "ro")

    def root(self) -> TreeId:
        head = self.view.head(self.branch)
        return EMPTY_TREE if head is None else self.store.commit(head).tree


class BranchesDirectory(Named, Directory):
    """All branches of the repository, and those that this connection has made.

    A name may hold a ``/``; the session shows and reads it as its client can take it.
    """

    def __init__(self, view: View) -> None:
        """Show the branches that ``view`` sees."""
        super().__init__("branch", inode=inode_of("branch"))
        self._view = view

    def stat(self) -> Answer[Stat]:
        """A directory."""
        return Stat(self.name, Kind.DIRECTORY, self.inode)

    def lookup(self, name: str) -> Answer[Node]:
        """The branch ``name``."""
        branch = self._view.existing(name)
        if branch is None:
            raise NoEntry
        return BranchDirectory(self._view, branch)

    def list(self) -> Answer[Sequence[Stat]]:
        """The branches, sorted by name."""
        return Listing(self._view.branches(), self._describe)

    def create(self, name: str, kind: Kind, target: str = "") -> Answer[Node]:
        """Make a branch without commits; one that exists is no error, clients rely on it."""
        if kind is not Kind.DIRECTORY:
            raise NotPermitted("Can only contain directories")
        return BranchDirectory(self._view, self._view.make_branch(name))

    def _describe(self, name: str) -> Stat:
        return Stat(name, Kind.DIRECTORY, self._view.branch_inode(name))


class BranchDirectory(Layout):
    """One branch."""

    def __init__(self, view: View, branch: Branch) -> None:
        """Show ``branch``."""
        self._view = view
        self._branch = branch
        hidden: Makers = {"diff": self._differences}
        super().__init__(branch.name, self._makers(), branch.inode, hidden=hidden)

    @property
    def name(self) -> str:
        """The branch's name now."""
        return self._branch.name

    def stat(self) -> Answer[Stat]:
        """A directory, unless the branch has gone."""
        self._view.head(self._branch)
        return super().stat()

    def rename(self, name: str) -> Answer[None]:
        """Rename the branch and its ref."""
        return self._view.rename_branch(self._branch, name)

    def remove(self) -> Answer[None]:
        """Delete the branch, whatever is in it."""
        return self._view.remove_branch(self._branch)

    def _makers(self) -> Makers:
        view, branch = self._view, self._branch
        return {
            "ro": lambda: TreeDirectory(_HeadTree(view, branch)),
            "transactions": lambda: TransactionsDirectory(view, branch),
            "watch": lambda: WatchDirectory(view, branch),
            "head.live": lambda: head_stream(view.store, branch),
            "fast-forward": self._fast_forward_file,
            "reflog": lambda: reflog_stream(view.store, branch),
            "head": self._head_file,
        }

    def _differences(self) -> Node:
        """What differs from a commit to the head; clients compare listings, so it is in none."""
        view, branch = self._view, self._branch

        async def diff_from(old: TreeId) -> bytes:
            head = view.head(branch)
            new = EMPTY_TREE if head is None else view.store.commit(head).tree
            return await in_slices(diff_text(await view.store.diff_in_slices(old, new)))

        return diff_directory(view.store, inode_of(branch.inode, "diff"), diff_from)

    def _head_file(self) -> TextFile:
        inode = inode_of(self._branch.inode, "head")
        return TextFile("head", lambda: head_line(self._view.head(self._branch)), inode=inode)

    def _fast_forward_file(self) -> CommandFile:
        inode = inode_of(self._branch.inode, "fast-forward")
        return CommandFile("fast-forward", self._fast_forward, inode=inode)

    async def _fast_forward(self, command: str) -> bytes:
        store, branch = self._view.store, self._branch.name
        match command.split(" "):
            case ["create", commit]:
                await store.create_branch(branch, CommitId(parse_id(commit)))
            case _:
                await store.fast_forward(branch, CommitId(parse_id(command)))
        return b""
