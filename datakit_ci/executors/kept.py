"""Checkouts that are kept from one build to the next, so that only what differs is written.

A build gets a tree that no other build has; what it did to it is found and undone before the next
one. A manifest beside the tree says how each file and directory was left: a file that still has
the same inode, size and time of change (``st_ctime``, which no program can set) is the same file,
byte for byte; all else is made anew. The time has the kernel's granularity, so a manifest is used
only once the clock has moved past the last write (the race that Git calls "racily clean").

Anything odd, and the whole tree is made anew: a manifest that is not there or not ours, an entry
that cannot be removed.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from datakit_ci.disk import write_file
from datakit_ci.executors.workspace import Checkout, ObjectReader
from datakit_ci.lookup import check_path
from datakit_core.client.api import BlobId, Entry, TreeId

__all__ = ["KeptCheckout"]

_VERSION = 1
_TICK = 0.001

Stamp: TypeAlias = tuple[int, int, int, int]
"""Mode, inode, size and time of change in nanoseconds."""


@dataclass(slots=True)
class _Manifest:
    """How a tree was left.

    Attributes:
        files: Git's mode and id, and the stamp, of every file, by path.
        directories: Mode and inode of every directory, by path; the root is the empty one.
    """

    files: dict[str, tuple[int, str, Stamp]] = field(default_factory=dict)
    directories: dict[str, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> _Manifest:
        """Read a manifest; an empty one if there is none, or if it is damaged."""
        try:
            found = json.loads(path.read_bytes())
            if found["version"] != _VERSION:
                return cls()
            files = {
                name: (mode, id_, (stamp[0], stamp[1], stamp[2], stamp[3]))
                for name, mode, id_, stamp in found["files"]
            }
            return cls(files, {name: (mode, inode) for name, mode, inode in found["directories"]})
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            return cls()

    def write(self, path: Path) -> None:
        """Write it, once no later change can have the time of an earlier one."""
        content = {
            "version": _VERSION,
            "files": [[name, *entry] for name, entry in self.files.items()],
            "directories": [[name, *entry] for name, entry in self.directories.items()],
        }
        path.write_text(json.dumps(content))
        latest = max((stamp[3] for *_, stamp in self.files.values()), default=0)
        while path.stat().st_ctime_ns <= latest:  # by the file system's clock, not by ours
            time.sleep(_TICK)
            os.utime(path)


class KeptCheckout(Checkout):
    """A checkout that begins with what an earlier one has left in the same directory.

    Attributes:
        written: How many files :meth:`prepare` had to write.
    """

    def __init__(self, reader: ObjectReader, tree: TreeId, directory: Path, manifest: Path) -> None:
        """Make ``directory`` hold ``tree``; ``manifest`` is the file that says how it was left."""
        super().__init__(reader, tree, directory)
        self.written = 0
        self._root = str(directory)
        self._file = manifest
        self._before = _Manifest()
        self._after = _Manifest()

    def prepare(self) -> None:
        """Write what differs.

        Raises:
            InvalidName: The tree has a name such as ``..`` or ``.git``.
        """
        self._before = _Manifest.read(self._file)
        self._file.unlink(missing_ok=True)
        try:
            self._begin()
        except OSError:
            self._before = _Manifest()
            self._begin()
        self._after.write(self._file)

    def _begin(self) -> None:
        self._after = _Manifest()
        if not self._before.directories:
            _remove(self.directory)
        self._directory("", self._tree)

    def _directory(self, path: str, tree: TreeId) -> None:
        """Make the directory ``path`` hold ``tree``, from the leaves to the root."""
        place = self.directory / path
        entries = self._reader.tree(tree)
        present = self._names(path, place)
        for name in present - entries.keys():
            _remove(place / name)
        for name, entry in entries.items():
            check_path(name)
            below = f"{path}/{name}" if path else name
            if entry.is_directory:
                self._directory(below, TreeId(entry.id))
            elif name not in present or not self._is_kept(below, entry):
                _remove(place / name)
                self._write(below, entry)
        status = place.lstat()
        self._after.directories[path] = (status.st_mode, status.st_ino)

    def _names(self, path: str, place: Path) -> set[str]:
        """What is in a directory, which is made if it is not there."""
        try:
            status = place.lstat()
        except FileNotFoundError:
            place.mkdir()
            return set()
        if not stat.S_ISDIR(status.st_mode):
            place.unlink()
            place.mkdir()
            return set()
        if self._before.directories.get(path) != (status.st_mode, status.st_ino):
            _remove(place)
            place.mkdir()
            return set()
        return {found.name for found in place.iterdir()}

    def _is_kept(self, path: str, entry: Entry) -> bool:
        """Whether a file is still what an earlier checkout wrote, and what is wanted now."""
        before = self._before.files.get(path)
        if before is None or before[:2] != (int(entry.mode), entry.id):
            return False
        # Not a Path, which would take longer than the call: there may be 10,000 of these.
        if _stamp_of(os.lstat(f"{self._root}/{path}")) != before[2]:
            return False
        self._after.files[path] = before
        return True

    def _write(self, path: str, entry: Entry) -> None:
        place = self.directory / path
        write_file(place, entry.mode, self._reader.blob(BlobId(entry.id)))
        self.written += 1
        self._after.files[path] = (int(entry.mode), entry.id, _stamp_of(place.lstat()))


def _stamp_of(status: os.stat_result) -> Stamp:
    return status.st_mode, status.st_ino, status.st_size, status.st_ctime_ns


def _remove(path: Path) -> None:
    """Remove whatever is at ``path``; links are not followed."""
    try:
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:
        return
