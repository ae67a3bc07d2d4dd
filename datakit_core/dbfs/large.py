"""Reading a large blob through an open file: in pieces, as they come."""

from __future__ import annotations

from datakit_core.errors import DatakitError, InvalidArgument
from datakit_core.store import BlobId, BlobSpool, LargeBlobs
from datakit_core.vfs import Answer, Deferred

__all__ = ["LargeReader"]


class LargeReader:
    """One open file's share in the spool of a blob, which goes with the last of its readers.

    The spool is made by the first read: opening a file costs nothing.
    """

    __slots__ = ("_blob", "_large", "_size", "_spool")

    def __init__(self, large: LargeBlobs, blob: BlobId, size: int) -> None:
        """Read ``blob``, which has ``size`` bytes."""
        self._large, self._blob, self._size = large, blob, size
        self._spool: BlobSpool | None = None

    def read(self, offset: int, count: int) -> Answer[bytes]:
        """Up to ``count`` bytes from ``offset``, when they are there.

        Raises:
            InvalidArgument: ``offset`` is beyond the end.
            NoSpace: There is no room to unpack the blob.
        """
        if offset > self._size:
            raise InvalidArgument(f"Offset {offset} beyond end-of-file (len = {self._size})")
        end = min(offset + count, self._size)
        if self._spool is None:
            self._spool = self._large.open(self._blob, self._size)
        if self._spool.ready(end):
            return self._spool.read(offset, end - offset)
        return _wait(self._spool, offset, end)

    def close(self) -> None:
        """The file is closed; who still waits for a read cancels it."""
        if self._spool is not None:
            self._spool.close()
            self._spool = None


def _wait(spool: BlobSpool, offset: int, end: int) -> Deferred[bytes]:
    later: Deferred[bytes] = Deferred(lambda: forget(), promised=end - offset)

    def arrived() -> None:
        try:
            later.resolve(spool.read(offset, end - offset))
        except DatakitError as error:
            later.fail(error)

    forget = spool.when_ready(end, arrived)
    return later
