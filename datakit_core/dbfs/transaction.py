"""``transactions``, and what is in the directory of a transaction."""

from __future__ import annotations

from collections.abc import Sequence

from datakit_core.dbfs.diff import diff_directory
from datakit_core.dbfs.edit import Edit
from datakit_core.dbfs.edited import EditedDirectory
from datakit_core.dbfs.layout import Layout, Makers
from datakit_core.dbfs.listing import Listing
from datakit_core.dbfs.tree import TreeDirectory
from datakit_core.dbfs.view import Branch, View
from datakit_core.errors import NoEntry, NotPermitted
from datakit_core.store import TreeId
from datakit_core.vfs import Answer, Directory, Kind, Named, Node, Stat, TextFile, inode_of

__all__ = ["TransactionsDirectory"]


class TransactionsDirectory(Named, Directory):
    """The transactions that this connection has open on a branch."""

    def __init__(self, view: View, branch: Branch) -> None:
        """Show those of ``branch``."""
        super().__init__("transactions", inode=inode_of(branch.inode, "transactions"))
        self._view = view
        self._branch = branch

    def stat(self) -> Answer[Stat]:
        """A directory."""
        return Stat(self.name, Kind.DIRECTORY, self.inode)

    def lookup(self, name: str) -> Answer[Node]:
        """The transaction ``name``."""
        edit = self._branch.transactions.get(name)
        if edit is None:
            raise NoEntry
        return _node(self._view, edit, name)

    def list(self) -> Answer[Sequence[Stat]]:
        """The open ones, in the order in which they were started."""
        return Listing(
            list(self._branch.transactions.items()),
            lambda item: Stat(item[0], Kind.DIRECTORY, item[1].inode),
        )

    def create(self, name: str, kind: Kind, target: str = "") -> Answer[Node]:
        """Start a transaction from the branch's head."""
        if kind is not Kind.DIRECTORY:
            raise NotPermitted("Can only contain directories")
        head = self._view.head(self._branch)
        tree = None if head is None else self._view.store.commit(head).tree
        if tree is None or self._view.store.at_hand(tree):
            return self._begin(name)
        return self._begin_later(tree, name)

    def _begin(self, name: str) -> Node:
        return _node(self._view, self._view.begin(self._branch, name), name)

    async def _begin_later(self, tree: TreeId, name: str) -> Node:
        await self._view.store.load_tree(tree)
        return self._begin(name)


def _node(view: View, edit: Edit, name: str) -> Layout:
    return Layout(name, _makers(view, edit), edit.inode)


def _makers(view: View, edit: Edit) -> Makers:
    def origin() -> TextFile:
        return TextFile("origin", b"", inode=inode_of(edit.inode, "origin"))

    def diff() -> Node:
        return diff_directory(view.store, inode_of(edit.inode, "diff"), edit.diff_from)

    makers: Makers = {
        "ctl": lambda: edit.ctl,
        "diff": diff,
        "merge": lambda: edit.merge,
        "msg": lambda: edit.message,
        "origin": origin,
        "parents": lambda: edit.parents,
        "rw": lambda: EditedDirectory(edit),
    }
    return dict(sorted({**makers, **_merge_makers(view, edit)}.items()))


def _merge_makers(view: View, edit: Edit) -> Makers:
    """What a merge adds: the three trees, and the list of what is still in conflict."""
    merged = edit.merged
    if merged is None:
        return {}

    def tree(name: str, tree: TreeId) -> Node:
        inode = inode_of(edit.inode, name, tree)
        return TreeDirectory(view.fixed_tree(tree, inode), name=name)

    def conflicts() -> bytes:
        return "".join([f"{path}\n" for path in edit.conflicts]).encode(errors="surrogateescape")

    inode = inode_of(edit.inode, "conflicts")
    return {
        "base": lambda: tree("base", merged.base),
        "conflicts": lambda: TextFile("conflicts", conflicts, inode=inode),
        "ours": lambda: tree("ours", merged.ours),
        "theirs": lambda: tree("theirs", merged.theirs),
    }
