"""What the ready-made nodes have in common: they know their name and inode."""

from __future__ import annotations

import itertools

from datakit_core.vfs.node import Node, inode_of

__all__ = ["Named"]

_serials = itertools.count()


class Named(Node):
    """A node whose name and inode are given when it is made.

    A node object that its owner keeps needs no ``inode``: it gets one of its own. A node that is
    made anew by each walk must be given one that depends on what it shows (``inode_of(path)``),
    or a client would see another file each time.
    """

    def __init__(self, name: str, *, inode: int | None = None) -> None:
        """Call the node ``name``, its last path component."""
        self._name = name
        self._inode = inode_of("serial", next(_serials)) if inode is None else inode

    @property
    def name(self) -> str:
        """Last path component."""
        return self._name

    @property
    def inode(self) -> int:
        """Unique and stable, 64 bits."""
        return self._inode
