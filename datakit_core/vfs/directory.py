"""Ready-made directories: one with fixed children, one that asks two functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from datakit_core.errors import NoEntry
from datakit_core.vfs.answer import Answer, collect
from datakit_core.vfs.named import Named
from datakit_core.vfs.node import Directory, Kind, Node, Stat

__all__ = ["DynamicDirectory", "StaticDirectory"]


class _NamedDirectory(Named, Directory):
    def stat(self) -> Answer[Stat]:
        return Stat(self.name, Kind.DIRECTORY, self.inode)


class StaticDirectory(_NamedDirectory):
    """A directory whose children are the same for ever; it lists them in the given order."""

    def __init__(self, name: str, children: Iterable[Named], *, inode: int | None = None) -> None:
        """Hold ``children`` under the names that they have."""
        super().__init__(name, inode=inode)
        self._children = {child.name: child for child in children}

    def lookup(self, name: str) -> Answer[Node]:
        """The child ``name``."""
        try:
            return self._children[name]
        except KeyError:
            raise NoEntry from None

    def list(self) -> Answer[Sequence[Stat]]:
        """The children's stats, which must not be Deferreds."""
        return collect(child.stat() for child in self._children.values())


def _nothing() -> Sequence[Stat]:
    return ()


class DynamicDirectory(_NamedDirectory):
    """A directory that asks functions what it holds.

    Without ``entries`` it lists as empty and yet can be walked, as fits a directory with one
    child for every commit there is.
    """

    def __init__(
        self,
        name: str,
        lookup: Callable[[str], Answer[Node]],
        entries: Callable[[], Answer[Sequence[Stat]]] = _nothing,
        *,
        inode: int | None = None,
    ) -> None:
        """Find children with ``lookup``, which raises ``NoEntry``; list them with ``entries``."""
        super().__init__(name, inode=inode)
        self._lookup = lookup
        self._entries = entries

    def lookup(self, name: str) -> Answer[Node]:
        """What the function finds."""
        return self._lookup(name)

    def list(self) -> Answer[Sequence[Stat]]:
        """What the function lists."""
        return self._entries()
