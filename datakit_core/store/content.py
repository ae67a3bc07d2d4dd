"""The bytes of a file that is being edited: in memory while they are few, else in a spool."""

from __future__ import annotations

from datakit_core.store.objects import BlobId, NewObject, ObjectKind, new_object
from datakit_core.store.spool import Spool, SpoolSpace

__all__ = ["IN_MEMORY", "FileContent"]

IN_MEMORY = 256 << 10
"""Bytes up to which content is kept in memory; what is longer would block while it is written."""


class FileContent:
    """Content that can be changed in place.

    Attributes:
        stored: The blob that holds it, if it was spooled and stored and is as it was then.
    """

    __slots__ = ("_data", "_frozen", "_space", "_spool", "stored")

    def __init__(self, data: bytes = b"", space: SpoolSpace | None = None) -> None:
        """Begin with ``data``; without ``space``, all of it stays in memory."""
        self._data = bytearray()
        self._space = space
        self._spool: Spool | None = None
        self._frozen: NewObject | None = None
        self.stored: BlobId | None = None
        self.write(0, data)

    @classmethod
    def spooled(cls, spool: Spool, blob: BlobId) -> FileContent:
        """Content that is in ``spool``, and as yet that of ``blob``."""
        content = cls()
        content._spool, content.stored = spool, blob
        return content

    @property
    def length(self) -> int:
        """Bytes."""
        return len(self._data) if self._spool is None else self._spool.length

    @property
    def held(self) -> int:
        """Bytes that are in memory."""
        return len(self._data)

    @property
    def spool(self) -> Spool | None:
        """Where the bytes are if they are too many for memory."""
        return self._spool

    def held_with(self, length: int) -> int:
        """Bytes that would be in memory if the content had ``length``."""
        return 0 if self._spool is not None or self._too_long(length) else length

    def read(self, offset: int, count: int) -> bytes:
        """Up to ``count`` bytes from ``offset``, which is not beyond the end."""
        if self._spool is not None:
            count = min(count, self._spool.length - offset)
            return self._spool.read(offset, count).ljust(count, b"\0")  # a hole at the end
        return bytes(memoryview(self._data)[offset : offset + count])

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write at ``offset``; a gap is filled with zero bytes.

        Raises:
            NoSpace: There is no room for a spool.
        """
        end = offset + len(data)
        self._change(end)
        if self._spool is not None:
            self._spool.write(offset, data)
            return
        if offset > len(self._data):
            self._data.extend(bytes(offset - len(self._data)))
        self._data[offset:end] = data

    def truncate(self, length: int) -> None:
        """Cut to ``length`` bytes, or extend with zero bytes."""
        self._change(length)
        if self._spool is not None:
            self._spool.truncate(length)
            return
        del self._data[length:]
        self._data.extend(bytes(length - len(self._data)))

    def freeze(self) -> NewObject | BlobId:
        """The content as an object to be written, or the one that holds it already."""
        if self.stored is not None:
            return self.stored
        if self._frozen is None:
            self._frozen = new_object(ObjectKind.BLOB, self.read(0, self.length))
        return self._frozen

    def _change(self, length: int) -> None:
        self._frozen = self.stored = None
        if self._spool is None and self._space is not None and self._too_long(length):
            spool = self._space.create()
            spool.write(0, self._data)
            self._spool = spool
            self._data = bytearray()

    def _too_long(self, length: int) -> bool:
        return self._space is not None and length > IN_MEMORY
