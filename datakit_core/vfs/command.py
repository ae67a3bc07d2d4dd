"""Command files: write a command, read its result."""

from __future__ import annotations

import weakref
from collections.abc import Callable

from datakit_core.errors import InvalidArgument, ReadOnly
from datakit_core.vfs.answer import Answer, then
from datakit_core.vfs.named import Named
from datakit_core.vfs.node import File, Handle, Kind, Stat

__all__ = ["CommandFile", "weakly"]


class CommandFile(Named, File):
    """Each write is one command; what it results in is the file's content until it is read.

    The result belongs to the node, so the owner keeps one node per connection, and whoever has
    it open there may read the result. A command that fails answers the write with its error and
    leaves an older result alone.
    """

    def __init__(
        self, name: str, run: Callable[[str], Answer[bytes]], *, inode: int | None = None
    ) -> None:
        """Give each command, without white space around it, to ``run``, which may take its time."""
        super().__init__(name, inode=inode)
        self._run = run
        self._result = b""

    def stat(self) -> Answer[Stat]:
        """A normal file as long as the unread part of the result."""
        return Stat(self.name, Kind.FILE, self.inode, len(self._result))

    def open(self) -> Answer[Handle]:
        """A handle with offsets of its own on the shared result."""
        return _CommandHandle(self)

    def truncate(self, length: int) -> Answer[None]:
        """Shells truncate before they write, so 0 is accepted; it discards nothing."""
        if length:
            raise InvalidArgument("Can't extend command file")
        return None

    def execute(self, data: bytes) -> Answer[int]:
        """Run the command in ``data``; the number of bytes taken."""

        def finish(result: bytes) -> int:
            self._result = result
            return len(data)

        return then(self._run(data.decode(errors="surrogateescape").strip()), finish)

    def consume(self, count: int) -> bytes:
        """Take up to ``count`` bytes of the result."""
        taken, self._result = self._result[:count], self._result[count:]
        return taken


def weakly(run: Callable[[str], Answer[bytes]]) -> Callable[[str], Answer[bytes]]:
    """The method ``run`` of an object that owns the command file, without keeping that alive.

    Otherwise the two would keep each other until the collector of cycles comes by.
    """
    method = weakref.WeakMethod(run)

    def call(command: str) -> Answer[bytes]:
        found = method()
        if found is None:
            raise ReadOnly("What this command belongs to has gone")
        return found(command)

    return call


class _CommandHandle(Handle):
    """One open of a command file; reads and writes move the same offset.

    The first write may be anywhere: ``echo x >> ctl`` starts where an unread result ends. After a
    command that failed, the next one may begin where that one did: a kernel moves the offset of a
    file only by what was taken.
    """

    def __init__(self, file: CommandFile) -> None:
        self._file = file
        self._offset = 0
        self._failed: int | None = None
        self._used = False

    def read(self, offset: int, count: int) -> Answer[bytes]:
        self._move(offset)
        data = self._file.consume(count)
        self._offset += len(data)
        return data

    def write(self, offset: int, data: bytes) -> Answer[int]:
        if not self._used:
            self._offset = offset
        self._move(offset)
        self._offset += len(data)
        self._failed = offset  # unless it is taken

        def taken(count: int) -> int:
            self._failed = None
            return count

        return then(self._file.execute(data), taken)

    def _move(self, offset: int) -> None:
        if offset == self._failed:
            self._offset = offset
        if offset != self._offset:
            raise InvalidArgument("Attempt to seek in stream")
        self._used = True
