"""A file system in memory that allows everything, for tests of what is above the nodes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from datakit_core.errors import AlreadyExists, InvalidArgument, IsDirectory, NoEntry, NotPermitted
from datakit_core.vfs import (
    Answer,
    Directory,
    File,
    Handle,
    Kind,
    Node,
    Stat,
    inode_of,
    read_range,
    resized,
    written,
)

__all__ = ["LIMIT", "TreeDirectory", "TreeFile"]

LIMIT = 1 << 24

_serials = itertools.count()


class _Item(Node):
    """A file or directory with a place in the tree."""

    def __init__(self, name: str = "/", parent: TreeDirectory | None = None) -> None:
        self.name = name
        self.parent = parent
        self._inode = inode_of("tree", next(_serials))

    @property
    def inode(self) -> int:
        return self._inode

    def rename(self, name: str) -> Answer[None]:
        children = self._siblings()
        if isinstance(children.get(name), TreeDirectory):
            raise IsDirectory
        children[name] = children.pop(self.name)
        self.name = name
        return None

    def move(self, directory: Directory, name: str) -> Answer[None]:
        assert isinstance(directory, TreeDirectory)
        children = self._siblings()
        if isinstance(directory.children.get(name), TreeDirectory):
            raise IsDirectory
        if not isinstance(self, TreeFile):
            raise NotPermitted
        directory.children[name] = self
        del children[self.name]
        self.name, self.parent = name, directory
        return None

    def remove(self) -> Answer[None]:
        del self._siblings()[self.name]
        self.parent = None
        return None

    def _siblings(self) -> dict[str, TreeDirectory | TreeFile]:
        if self.parent is None:
            raise NoEntry
        return self.parent.children


class TreeFile(_Item, File):
    """A file, executable or link; its content is there for all who have it open."""

    def __init__(
        self,
        name: str,
        parent: TreeDirectory,
        kind: Kind = Kind.FILE,
        content: bytes = b"",
        target: str = "",
    ) -> None:
        super().__init__(name, parent)
        self.kind, self.content, self.target = kind, content, target

    def stat(self) -> Answer[Stat]:
        if self.parent is None:
            raise NoEntry
        return Stat(self.name, self.kind, self.inode, len(self.content), self.target)

    def open(self) -> Answer[Handle]:
        return TreeHandle(self)

    def chmod(self, kind: Kind, target: str = "") -> Answer[None]:
        self.kind, self.target = kind, target
        return None

    def truncate(self, length: int) -> Answer[None]:
        self.content = resized(self.content, length, LIMIT)
        return None


class TreeHandle(Handle):
    """Reads and writes the file's content.

    Attributes:
        closed: How often it has been closed.
    """

    def __init__(self, file: TreeFile) -> None:
        self.file = file
        self.closed = 0

    def read(self, offset: int, count: int) -> Answer[bytes]:
        return read_range(self.file.content, offset, count)

    def write(self, offset: int, data: bytes) -> Answer[int]:
        self.file.content = written(self.file.content, offset, data, LIMIT)
        return len(data)

    def close(self) -> None:
        self.closed += 1


class TreeDirectory(_Item, Directory):
    """A directory; names with a slash are refused."""

    def __init__(self, name: str = "/", parent: TreeDirectory | None = None) -> None:
        super().__init__(name, parent)
        self.children: dict[str, TreeDirectory | TreeFile] = {}

    def stat(self) -> Answer[Stat]:
        return Stat(self.name, Kind.DIRECTORY, self.inode)

    def lookup(self, name: str) -> Answer[Node]:
        try:
            return self.children[name]
        except KeyError:
            raise NoEntry from None

    def list(self) -> Answer[Sequence[Stat]]:
        stats = [child.stat() for child in self.children.values()]
        return [stat for stat in stats if isinstance(stat, Stat)]

    def create(self, name: str, kind: Kind, target: str = "") -> Answer[Node]:
        if "/" in name:
            raise InvalidArgument(f"{name!r} holds a slash")
        old = self.children.get(name)
        if kind is Kind.DIRECTORY:
            if old is not None:
                raise AlreadyExists
            return self.add_directory(name)
        if isinstance(old, TreeDirectory):
            raise IsDirectory
        return self.add_file(name, b"", kind, target)

    def add_directory(self, name: str) -> TreeDirectory:
        """A new directory in this one."""
        made = TreeDirectory(name, self)
        self.children[name] = made
        return made

    def add_file(
        self, name: str, content: bytes = b"", kind: Kind = Kind.FILE, target: str = ""
    ) -> TreeFile:
        """A new file in this directory, in place of an old one."""
        made = TreeFile(name, self, kind, content, target)
        self.children[name] = made
        return made
