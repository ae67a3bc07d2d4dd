"""Ready-made files with content: one that is read, one that is also written."""

from __future__ import annotations

from collections.abc import Callable

from datakit_core.budget import Budget
from datakit_core.errors import InvalidArgument, TooLarge
from datakit_core.vfs.answer import Answer, then
from datakit_core.vfs.named import Named
from datakit_core.vfs.node import File, Handle, Kind, Stat

__all__ = ["BytesHandle", "MemoryFile", "TextFile", "read_range", "resized", "written"]

DEFAULT_LIMIT = 1 << 20


def read_range(content: bytes | bytearray, offset: int, count: int) -> bytes:
    """The bytes that a read returns; none at the very end.

    Raises:
        InvalidArgument: ``offset`` is beyond the end; clients know the text.
    """
    if offset > len(content):
        raise InvalidArgument(f"Offset {offset} beyond end-of-file (len = {len(content)})")
    return bytes(content[offset : offset + count])


def written(content: bytes, offset: int, data: bytes, limit: int) -> bytes:
    """``content`` after a write; a gap before ``offset`` becomes zero bytes.

    Raises:
        TooLarge: It would exceed ``limit`` bytes; nothing has been allocated then.
    """
    _check_size(offset + len(data), limit)
    return content[:offset].ljust(offset, b"\0") + data + content[offset + len(data) :]


def resized(content: bytes, length: int, limit: int) -> bytes:
    """``content`` cut to ``length`` bytes, or extended with zero bytes.

    Raises:
        TooLarge: It would exceed ``limit`` bytes; nothing has been allocated then.
    """
    _check_size(length, limit)
    return content[:length].ljust(length, b"\0")


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise TooLarge(f"File too large: {size} bytes, and the limit is {limit}")


class BytesHandle(Handle):
    """Reads content that does not change any more."""

    def __init__(self, content: bytes) -> None:
        """Read from ``content``."""
        self._content = content

    @property
    def held(self) -> int:
        """All of it."""
        return len(self._content)

    def read(self, offset: int, count: int) -> Answer[bytes]:
        """A part of the content."""
        return read_range(self._content, offset, count)


class TextFile(Named, File):
    """A read-only file whose content is looked up, and fixed, each time it is opened.

    A reader that needs several reads thus sees one state and not a mixture.
    """

    def __init__(
        self,
        name: str,
        content: bytes | Callable[[], Answer[bytes]],
        *,
        inode: int | None = None,
        version: int = 0,
    ) -> None:
        """Show ``content``, or what it returns.

        Args:
            name: Last path component.
            content: The bytes, or a function that gives them.
            inode: See :class:`~datakit_core.vfs.named.Named`.
            version: Non-zero promises that the content never changes (:class:`Stat`).
        """
        super().__init__(name, inode=inode)
        self._load = content if callable(content) else lambda: content
        self._version = version

    @property
    def version(self) -> int:
        """As promised when the node was made."""
        return self._version

    def stat(self) -> Answer[Stat]:
        """A normal file with the length of the content as it is now."""
        return then(self._load(), self._stat)

    def open(self) -> Answer[Handle]:
        """Fix the content."""
        return then(self._load(), BytesHandle)

    def _stat(self, content: bytes) -> Stat:
        return Stat(self.name, Kind.FILE, self.inode, len(content), version=self._version)


class MemoryFile(Named, File):
    """A small file that lives in memory and can be read and written.

    All who have it open see every write at once.

    Attributes:
        content: The bytes; the owner may look at them and replace them at any time.
    """

    def __init__(
        self,
        name: str,
        content: bytes = b"",
        *,
        limit: int = DEFAULT_LIMIT,
        inode: int | None = None,
        budget: Budget | None = None,
    ) -> None:
        """Start with ``content``; refuse to grow beyond ``limit`` bytes, or the ``budget``."""
        super().__init__(name, inode=inode)
        self.content = content
        self._limit = limit
        self._budget = budget

    def stat(self) -> Answer[Stat]:
        """A normal file with its present length."""
        return Stat(self.name, Kind.FILE, self.inode, len(self.content))

    def open(self) -> Answer[Handle]:
        """A handle on the live content."""
        return _MemoryHandle(self)

    def write(self, offset: int, data: bytes) -> int:
        """Change the content; override to check or to act on it."""
        end = min(max(len(self.content), offset + len(data)), self._limit)
        self._resize(end, lambda: written(self.content, offset, data, self._limit))
        return len(data)

    def truncate(self, length: int) -> Answer[None]:
        """Cut the content, or extend it with zero bytes."""
        self._resize(min(length, self._limit), lambda: resized(self.content, length, self._limit))
        return None

    def _resize(self, length: int, make: Callable[[], bytes]) -> None:
        """Take the memory before it is used, and give back what is not needed any more."""
        before = len(self.content)
        if self._budget is not None:
            self._budget.take(max(length - before, 0))
        try:
            self.content = make()
        finally:
            if self._budget is not None:
                self._budget.give(max(length, before) - len(self.content))


class _MemoryHandle(Handle):
    def __init__(self, file: MemoryFile) -> None:
        self._file = file

    def read(self, offset: int, count: int) -> Answer[bytes]:
        return read_range(self._file.content, offset, count)

    def write(self, offset: int, data: bytes) -> Answer[int]:
        return self._file.write(offset, data)
