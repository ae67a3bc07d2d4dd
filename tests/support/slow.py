"""Nodes that answer later, and only when a test says so."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from datakit_core.errors import NoEntry
from datakit_core.vfs import (
    Answer,
    Deferred,
    Directory,
    File,
    Handle,
    Kind,
    Named,
    Node,
    Stat,
)

__all__ = ["LateFile", "SlowDirectory", "SlowFile"]

T = TypeVar("T")


async def _return(value: T) -> T:
    return value


def _later(value: T) -> Coroutine[Any, Any, T]:
    return _return(value)


class SlowHandle(Handle):
    """Reads and writes with coroutines.

    Attributes:
        closed: How often it has been closed.
    """

    def __init__(self) -> None:
        self.closed = 0

    def read(self, offset: int, count: int) -> Answer[bytes]:
        return _later(b"slow")

    def write(self, offset: int, data: bytes) -> Answer[int]:
        return _later(len(data))

    def close(self) -> None:
        self.closed += 1


class SlowFile(Named, File):
    """Everything it does takes time."""

    def stat(self) -> Answer[Stat]:
        return _later(Stat(self.name, Kind.FILE, self.inode))

    def open(self) -> Answer[Handle]:
        return _later(SlowHandle())

    def truncate(self, length: int) -> Answer[None]:
        return _later(None)

    def remove(self) -> Answer[None]:
        return _later(None)


class SlowDirectory(Named, Directory):
    """Everything it does takes time; it holds itself as ``d`` and a file as ``f``."""

    def __init__(self) -> None:
        super().__init__("/")
        self.file = SlowFile("f")

    def stat(self) -> Answer[Stat]:
        return _later(Stat(self.name, Kind.DIRECTORY, self.inode))

    def lookup(self, name: str) -> Answer[Node]:
        return _lookup({"d": self, "f": self.file, "a/b": self.file}, name)

    def list(self) -> Answer[Sequence[Stat]]:
        return _later(())

    def create(self, name: str, kind: Kind, target: str = "") -> Answer[Node]:
        return _later(self.file)


async def _lookup(children: dict[str, Node], name: str) -> Node:
    try:
        return children[name]
    except KeyError:
        raise NoEntry from None


class LateFile(Named, File, Handle):
    """A file whose reads and writes wait until the test answers them.

    Attributes:
        reads: The reads, in order.
        writes: The writes, in order.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.reads: list[Deferred[bytes]] = []
        self.writes: list[Deferred[int]] = []

    def stat(self) -> Answer[Stat]:
        return Stat(self.name, Kind.FILE, self.inode)

    def open(self) -> Answer[Handle]:
        return self

    def read(self, offset: int, count: int) -> Answer[bytes]:
        self.reads.append(Deferred())
        return self.reads[-1]

    def write(self, offset: int, data: bytes) -> Answer[int]:
        self.writes.append(Deferred())
        return self.writes[-1]
