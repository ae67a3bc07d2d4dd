"""The code of the service's own pipeline as a tree: that is how it gets to the workers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from datakit_ci.executors.dask.folder import Content, Item, look
from datakit_core.client.api import Database, Entry, FileMode, TreeId

__all__ = ["PipelineCode"]

_DAY = 24 * 60 * 60.0
"""Seconds after which all is stored again: nothing refers to it, so the database drops it some
day after it was last written."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """What is in the database.

    Attributes:
        look: Which look at the files has found it.
        items: The files.
        origin: The tree that holds them, and the pipeline's path in it.
        moment: When all of it was stored, by the clock that never goes back.
    """

    look: int
    items: Mapping[str, Item]
    origin: str
    moment: float


class PipelineCode:
    """The directory of the pipeline: its file, modules, packages and data beside it."""

    def __init__(self, database: Database, pipeline: Path) -> None:
        """Put the directory of ``pipeline`` into ``database`` when it is asked for."""
        self._database = database
        self._pipeline = pipeline
        self._stored: _Stored | None = None
        self._looks = 0
        self._looking = asyncio.Lock()

    async def origin(self) -> str:
        """Where the code is: ``TREE:PATH``, as a stage's ``origin`` says it.

        The files are looked at anew each time, since they may have changed; a build that was asked
        for with the code before notices by its fingerprint. Builds that ask at the same time share
        a look that has begun after they asked.

        Raises:
            ConfigError: They cannot be read, or are too large.
        """
        asked = self._looks
        async with self._looking:
            if self._stored is None or self._stored.look <= asked:
                self._stored = await self._store(self._stored)
            return self._stored.origin

    async def _store(self, before: _Stored | None) -> _Stored:
        self._looks += 1
        number, now = self._looks, time.monotonic()
        if before is not None and now - before.moment > _DAY:
            before = None
        known = {} if before is None else before.items
        pipeline = await asyncio.to_thread(self._pipeline.resolve)
        items, read = await asyncio.to_thread(look, pipeline, known)
        if before is not None and _entries(items) == _entries(before.items):
            return replace(before, look=number, items=items)
        origin = f"{await self._import(items, read)}:{_shown(pipeline)}"
        return _Stored(number, items, origin, now if before is None else before.moment)

    async def _import(self, items: Mapping[str, Item], read: Content) -> TreeId:
        """Store what was read, and then the tree, which may name it by its ids."""
        if read:
            tree = await self._database.import_tree(dict(read))
            if read.keys() == items.keys() and _are_normal(items):
                return tree
        return await self._database.import_tree(_entries(items))


def _shown(pipeline: Path) -> str:
    """The pipeline below a directory that is called as it is here, so that errors name it so."""
    folder = pipeline.parent.name
    return f"{folder if folder.isprintable() and folder else 'pipeline'}/{pipeline.name}"


def _entries(items: Mapping[str, Item]) -> dict[str, Entry | bytes]:
    return {name: Entry(item.mode, item.blob) for name, item in items.items()}


def _are_normal(items: Mapping[str, Item]) -> bool:
    return all(item.mode is FileMode.NORMAL for item in items.values())
