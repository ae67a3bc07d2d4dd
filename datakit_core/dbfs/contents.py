"""Blobs that were read lately, shared by all connections.

A client reads a file in pieces, and Git can only give a blob whole. Keeping the content with
every open file would let a client fill the memory by opening one big file a thousand times, so
the bytes of big blobs live here, within a budget.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from datakit_core.store import BlobId

__all__ = ["Contents"]


class Contents:
    """The most recently used blobs, by id; they never change, so nothing gets stale."""

    def __init__(self, read: Callable[[BlobId], bytes], budget: int = 64 << 20) -> None:
        """Read with ``read`` what is not here; keep up to ``budget`` bytes.

        One blob above the budget is kept alone: reading it in pieces must not read it anew for
        each piece.
        """
        self._read = read
        self._budget = budget
        self._used = 0
        self._blobs: OrderedDict[BlobId, bytes] = OrderedDict()

    @property
    def used(self) -> int:
        """Bytes that are held now."""
        return self._used

    def get(self, blob: BlobId) -> bytes:
        """The content of ``blob``; raises ``UnknownObject``."""
        found = self._blobs.get(blob)
        if found is not None:
            self._blobs.move_to_end(blob)
            return found
        content = self._read(blob)
        self._blobs[blob] = content
        self._used += len(content)
        while self._used > self._budget and len(self._blobs) > 1:
            _, dropped = self._blobs.popitem(last=False)
            self._used -= len(dropped)
        return content
