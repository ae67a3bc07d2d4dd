"""The root of the tree, and what makes one for each connection."""

from __future__ import annotations

from weakref import WeakSet

from datakit_core.budget import Budget
from datakit_core.dbfs.access import Access
from datakit_core.dbfs.branch import BranchesDirectory
from datakit_core.dbfs.contents import Contents
from datakit_core.dbfs.debug import debug_directory
from datakit_core.dbfs.layout import Layout
from datakit_core.dbfs.objects import programs_directory, trees_directory
from datakit_core.dbfs.remote import RemotesDirectory
from datakit_core.dbfs.snapshot import commits_directory, snapshots_directory
from datakit_core.dbfs.view import Limits, View
from datakit_core.store import Store
from datakit_core.vfs import inode_of

__all__ = ["DatabaseFiles", "DatabaseRoot"]


class DatabaseFiles:
    """A database as a file system, for any number of connections."""

    def __init__(self, store: Store, limits: Limits | None = None) -> None:
        """Serve ``store``; each connection may own up to ``limits``."""
        self._store = store
        self._limits = limits or Limits()
        self._contents = Contents(store)
        self._views: WeakSet[View] = WeakSet()

    @property
    def transactions(self) -> int:
        """How many transactions are open, of all connections."""
        return sum(view.transactions for view in self._views)

    def connect(self, access: Access | None = None, budget: Budget | None = None) -> DatabaseRoot:
        """The root for a new connection, to be closed when the connection ends.

        Args:
            access: What the connection may do; by default everything.
            budget: Where the memory for what it owns is taken from.
        """
        view = View(self._store, self._contents, self._limits, access or Access(), budget)
        self._views.add(view)
        return DatabaseRoot(view)


class DatabaseRoot(Layout):
    """The root directory as one connection sees it."""

    def __init__(self, view: View) -> None:
        """Show what the connection sees that owns ``view``."""
        self._view = view
        super().__init__(
            "/",
            {
                "branch": lambda: BranchesDirectory(view),
                "trees": lambda: trees_directory(view),
                "commits": lambda: commits_directory(view),
                "snapshots": lambda: snapshots_directory(view),
                "remotes": lambda: RemotesDirectory(
                    view.store, view.remotes, view.access, view.limits.remotes
                ),
                "debug": lambda: debug_directory(writable=not view.access.limited),
            },
            inode_of("/"),
            hidden={".datakit": lambda: programs_directory(view)},
        )

    def close(self) -> None:
        """The connection has ended: forget what it owns."""
        self._view.close()
