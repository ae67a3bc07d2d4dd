"""Readers that wait as readers that do not, and the other way round.

A build's process reads objects from a repository without ever waiting, and without an event loop
if the stage has none.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from datakit_ci.executors.workspace import ObjectReader
from datakit_ci.lookup import TreeReader
from datakit_core.client.api import BlobId, Entry, TreeId

__all__ = ["Awaited", "Finished", "finish"]

T = TypeVar("T")


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never really waits, as those over :class:`Awaited` do not.

    Raises:
        RuntimeError: It waits.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError("a tree of another event loop cannot be read here")


class Awaited:
    """An object reader as the ``TreeReader`` that trees use."""

    def __init__(self, reader: ObjectReader) -> None:
        """Read from ``reader``."""
        self._reader = reader

    async def tree(self, tree: TreeId) -> Mapping[str, Entry]:
        """One directory."""
        return self._reader.tree(tree)

    async def blob(self, blob: BlobId) -> bytes:
        """A whole file."""
        return self._reader.blob(blob)


class Finished:
    """A ``TreeReader`` that never waits as an object reader."""

    def __init__(self, reader: TreeReader) -> None:
        """Read from ``reader``."""
        self._reader = reader

    def tree(self, tree: TreeId, /) -> Mapping[str, Entry]:
        """One directory."""
        return finish(self._reader.tree(tree))

    def blob(self, blob: BlobId, /) -> bytes:
        """A whole file."""
        return finish(self._reader.blob(blob))
