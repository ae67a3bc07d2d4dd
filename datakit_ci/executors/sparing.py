"""Outputs on their way to a database elsewhere: only what is new is sent.

Much of what a build leaves is often what it was given: a formatter changes three files of ten
thousand. The database has the inputs of builds that run, so of these files their ids will do.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Protocol

from datakit_core.client.api import BlobId, Entry, FileMode, ObjectId, TreeId
from datakit_core.client.scan import scan

__all__ = ["Sparing", "TreeStore"]

_PIECE = 1 << 20


class TreeStore(Protocol):
    """Takes directories, and trees made of what it has: any ``Database`` will do."""

    async def import_directory(self, path: Path) -> TreeId:
        """Store a directory of this machine."""
        ...

    async def import_tree(self, files: Mapping[str, Entry | bytes]) -> TreeId:
        """Store a tree made of contents and of entries that are there."""
        ...


class Sparing:
    """Takes directories, and sends only those files that are not there yet."""

    def __init__(self, store: TreeStore, held: Callable[[], Set[BlobId]], scratch: Path) -> None:
        """Send to ``store``.

        Args:
            store: The database.
            held: Says which files it has for certain.
            scratch: A directory on the same file system as those that are sent.
        """
        self._store = store
        self._held = held
        self._scratch = scratch

    async def import_directory(self, path: Path) -> TreeId:
        """Store a directory of this machine; nobody may change it meanwhile."""
        entries = await asyncio.to_thread(_entries, path)
        held = self._held()
        known = {name: entry for name, entry in entries.items() if entry.id in held}
        if not known:
            return await self._store.import_directory(path)
        new = entries.keys() - known.keys()
        if new:
            with tempfile.TemporaryDirectory(dir=self._scratch) as scratch:
                await asyncio.to_thread(_link, path, new, Path(scratch))
                await self._store.import_directory(Path(scratch))
        return await self._store.import_tree(dict(entries))


def _entries(directory: Path) -> dict[str, Entry]:
    """Every file and link, with the id that it has in Git."""
    return {
        found.path: Entry(found.mode, _blob_id(directory / found.path, found.mode))
        for found in scan(directory)
    }


def _blob_id(path: Path, mode: FileMode) -> BlobId:
    """A file's id: that of its length and its content (gitformat-loose(5))."""
    if mode is FileMode.LINK:
        target = os.fsencode(path.readlink())
        return _digest(hashlib.sha1(b"blob %d\0" % len(target) + target, usedforsecurity=False))
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        while piece := file.read(_PIECE):
            digest.update(piece)
    return _digest(digest)


def _digest(digest: hashlib._Hash) -> BlobId:
    return BlobId(ObjectId(digest.hexdigest()))


def _link(directory: Path, names: Set[str], into: Path) -> None:
    """Give files a second name each, at the same paths."""
    for name in names:
        place = into / name
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(directory / name, place, follow_symlinks=False)
