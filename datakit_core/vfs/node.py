"""What a file server serves: nodes, and handles on opened files.

A server is a tree of :class:`Directory` and :class:`File` nodes. Nodes are cheap views, made
when a client walks to them: two walks to one path may give two objects, and both must have the
same :attr:`Node.inode`. A node refuses by default: a subclass overrides what it allows.

**Answers.** An operation returns its value at once whenever it can: that is the fast path, and
four times as fast as a task for each request. What must wait returns a :class:`Deferred` (a
record in somebody's list of waiters, for blocked reads) or a coroutine (which the server runs
in the connection's task group, for Git writes). :data:`Answer` is the union.

**Concurrency.** Calls come from one event loop, so a method that returns at once is atomic.
Operations of one connection may overlap where they return a Deferred or a coroutine.
"""

from __future__ import annotations

import enum
import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from datakit_core.errors import CrossDevice, IsDirectory, NoEntry, NotPermitted, ReadOnly
from datakit_core.vfs.answer import Answer, Deferred

__all__ = [
    "Answer",
    "Deferred",
    "Directory",
    "File",
    "Handle",
    "Kind",
    "Node",
    "Stat",
    "inode_of",
]

_KEPT_INODES = 1 << 14
"""Inodes that are kept, since clients walk the same ways again and again; some 4 MB."""


class Kind(enum.Enum):
    """What a node is, as far as a client can tell."""

    DIRECTORY = "directory"
    FILE = "file"
    EXECUTABLE = "executable"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Stat:
    """What a client may know about a node.

    Attributes:
        name: Last path component; ``/`` for the root.
        kind: Directory, file, executable or symbolic link.
        inode: Unique for the object within a connection and stable, 64 bits (qid.path).
        length: Bytes; 0 for directories and streams, the unread length for command files.
        target: Where a symbolic link points; empty for everything else.
        version: 0 means "may change, do not cache"; non-zero only for immutable files.
    """

    name: str
    kind: Kind
    inode: int
    length: int = 0
    target: str = ""
    version: int = 0


def inode_of(*parts: str | bytes | int) -> int:
    """A 64-bit number that is the same for equal ``parts``: no table, nothing to forget."""
    return _inode_of(parts)


@functools.lru_cache(_KEPT_INODES)
def _inode_of(parts: tuple[str | bytes | int, ...]) -> int:
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        raw = part if isinstance(part, bytes) else str(part).encode(errors="surrogateescape")
        digest.update(len(raw).to_bytes(4, "little") + raw)
    return int.from_bytes(digest.digest(), "little")


class Handle:
    """An opened file. Offsets are bytes; the server caps counts before it calls."""

    @property
    def held(self) -> int:
        """Bytes that it keeps in memory until it is closed; looked at once, when it is opened."""
        return 0

    def read(self, offset: int, count: int) -> Answer[bytes]:
        """Up to ``count`` bytes from ``offset``; empty means end of file."""
        raise NotPermitted

    def write(self, offset: int, data: bytes) -> Answer[int]:
        """Write ``data`` at ``offset``; the number of bytes taken."""
        raise ReadOnly

    def close(self) -> None:
        """The fid is gone (clunk, remove, disconnect); called exactly once."""


class Node:
    """What files and directories share; everything is refused until overridden."""

    def stat(self) -> Answer[Stat]:
        """Describe the node; ``NoEntry`` when it has gone since the walk."""
        raise NotImplementedError

    @property
    def is_directory(self) -> bool:
        """Whether it can be walked; fixed for the life of the object."""
        return isinstance(self, Directory)

    @property
    def inode(self) -> int:
        """The inode that :meth:`stat` reports, without looking anything else up."""
        raise NotImplementedError

    @property
    def version(self) -> int:
        """The version that :meth:`stat` reports: 0 unless the content can never change."""
        return 0

    def rename(self, name: str) -> Answer[None]:
        """Give the node another name in the same directory."""
        raise NotPermitted

    def move(self, directory: Directory, name: str) -> Answer[None]:
        """Move the node to another directory; only nodes that hang together can do so."""
        raise CrossDevice

    def chmod(self, kind: Kind, target: str = "") -> Answer[None]:
        """Turn a file into ``kind`` (normal, executable or link)."""
        raise NotPermitted("Can't chmod special file")

    def truncate(self, length: int) -> Answer[None]:
        """Cut to ``length`` bytes, or extend with zero bytes."""
        raise ReadOnly

    def remove(self) -> Answer[None]:
        """Remove the node; a directory goes with its content."""
        raise NotPermitted


class File(Node):
    """A node with content."""

    def open(self) -> Answer[Handle]:
        """Start reading and writing. The mode of the request does not matter here."""
        raise NotImplementedError


class Directory(Node):
    """A node with children."""

    def lookup(self, name: str) -> Answer[Node]:
        """The child ``name``; raises ``NoEntry``. Never sees ``.``, ``..`` or an empty name."""
        raise NoEntry

    def list(self) -> Answer[Sequence[Stat]]:
        """The children as they are now, in the order in which they are shown."""
        raise NotImplementedError

    def create(self, name: str, kind: Kind, target: str = "") -> Answer[Node]:
        """Make a child and return it; an existing file is replaced by an empty one."""
        raise ReadOnly.directory()

    def remove_empty(self) -> Answer[None]:
        """Remove the directory as rmdir(2) does; ``NotEmpty`` where it is made of its content.

        By default the same as :meth:`remove`.
        """
        return self.remove()

    def truncate(self, length: int) -> Answer[None]:
        """A directory has no length: 0 is accepted, anything else is not (wstat(5))."""
        if length:
            raise IsDirectory("Can't set length of a directory")
        return None
