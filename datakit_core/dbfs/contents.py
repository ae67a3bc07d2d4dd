"""Blobs that were read lately, shared by all connections.

A client reads a file in pieces, and Git can only give a blob whole. Keeping the content with
every open file would let a client fill the memory by opening one file a thousand times, so the
bytes live here, within a budget. What is too large to be read on the event loop is no affair of
this: see :mod:`datakit_core.dbfs.large`.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from datakit_core.store import BlobId

__all__ = ["BlobReader", "Contents"]


_KEPT_SIZES = 100_000
"""Sizes that are remembered before all are forgotten; some 15 MB."""


class BlobReader(Protocol):
    """What has the blobs."""

    def blob(self, blob: BlobId) -> bytes:
        """Read a whole blob."""
        ...

    def size(self, blob: BlobId) -> int:
        """A blob's length in bytes, without reading it."""
        ...


class Contents:
    """The most recently used blobs, by id; they never change, so nothing gets stale."""

    def __init__(self, store: BlobReader, budget: int = 64 << 20) -> None:
        """Read from ``store`` what is not here; keep up to ``budget`` bytes.

        One blob above the budget is kept alone: reading it in pieces must not read it anew for
        each piece.
        """
        self._store = store
        self._budget = budget
        self._sizes: dict[BlobId, int] = {}
        self._used = 0
        self._blobs: OrderedDict[BlobId, bytes] = OrderedDict()

    @property
    def used(self) -> int:
        """Bytes that are held now."""
        return self._used

    def size(self, blob: BlobId) -> int:
        """The length of ``blob`` in bytes; does not read it, and asks once."""
        size = self._sizes.get(blob)
        if size is None:
            if len(self._sizes) >= _KEPT_SIZES:
                self._sizes.clear()
            size = self._sizes[blob] = self._store.size(blob)
        return size

    def get(self, blob: BlobId) -> bytes:
        """The content of ``blob``; raises ``UnknownObject``."""
        found = self._blobs.get(blob)
        if found is not None:
            self._blobs.move_to_end(blob)
            return found
        content = self._store.blob(blob)
        self._blobs[blob] = content
        self._used += len(content)
        while self._used > self._budget and len(self._blobs) > 1:
            _, dropped = self._blobs.popitem(last=False)
            self._used -= len(dropped)
        return content
