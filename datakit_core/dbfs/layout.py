"""A directory whose names are fixed and whose children are made when somebody walks to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from datakit_core.errors import NoEntry, ReadOnly
from datakit_core.vfs import Answer, Directory, Kind, Named, Node, Stat, collect, then

__all__ = ["Layout", "Makers"]

Makers = Mapping[str, Callable[[], Node]]
"""Names of children, in the order in which they are listed, and what makes each."""


class Layout(Named, Directory):
    """Children by name, each made by a function.

    A branch has seven children and most walks want one of them, so nothing is made in advance.
    """

    def __init__(
        self, name: str, children: Makers, inode: int, *, hidden: Makers | None = None
    ) -> None:
        """Show ``children`` in a directory called ``name``.

        Args:
            name: Last path component.
            children: What is listed.
            inode: Of the directory.
            hidden: What can be walked to but is not listed.
        """
        super().__init__(name, inode=inode)
        self._children = children
        self._hidden = hidden or {}

    def stat(self) -> Answer[Stat]:
        """A directory."""
        return Stat(self.name, Kind.DIRECTORY, self.inode)

    def lookup(self, name: str) -> Answer[Node]:
        """Make the child ``name``."""
        make = self._children.get(name) or self._hidden.get(name)
        if make is None:
            raise NoEntry
        return make()

    def create(self, name: str, kind: Kind, target: str = "") -> Answer[Node]:
        """Nothing can be added; a file that is there is emptied and opened, as by a shell.

        Some clients create whatever they are about to write.
        """
        if kind in (Kind.FILE, Kind.EXECUTABLE) and name in self._children:
            node = self._children[name]()
            if not node.is_directory:
                return then(node.truncate(0), lambda _: node)
        raise ReadOnly.directory()

    def list(self) -> Answer[Sequence[Stat]]:
        """Every child that is not hidden, in the order given."""
        return collect([make().stat() for make in self._children.values()])
