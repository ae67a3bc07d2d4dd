"""Spools: what is too large for memory, in files beside the repository.

A spool is a scratch file that is read and written in pieces. It has a name, and no descriptor is
kept open, so that thousands of them do not use up the process's open files. All of them together
are bounded in number and bytes. They go with their last user; what a server that was killed has
left goes when the next one starts.

Reading and writing are calls on the page cache: tens of microseconds for a message of 9P.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from pathlib import Path

from datakit_core.errors import IoFailed, NoSpace

__all__ = ["Spool", "SpoolSpace"]

_DIRECTORY = "datakit.spool"
_MOST_BYTES = 16 << 30
_MOST_FILES = 10_000
_KEPT_FREE = 256 << 20
"""Bytes of the disk that spools leave to others, the database first of all."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class SpoolSpace:
    """The spools of one store, and what they may use."""

    def __init__(
        self, repository: Path, *, most_bytes: int = _MOST_BYTES, most_files: int = _MOST_FILES
    ) -> None:
        """Keep spools in ``repository``; nothing is touched before :meth:`clear`.

        Args:
            repository: Its directory; the caller has its lock.
            most_bytes: Bytes of all spools together, holes included.
            most_files: Spools at a time.
        """
        self._directory = repository / _DIRECTORY
        self._most_bytes, self._most_files = most_bytes, most_files
        self._numbers = itertools.count(1)
        self._bytes = self._files = 0

    @property
    def used(self) -> int:
        """Bytes of all spools."""
        return self._bytes

    @property
    def files(self) -> int:
        """How many spools there are."""
        return self._files

    def clear(self) -> None:
        """Remove what a server that did not end in good order has left."""
        shutil.rmtree(self._directory, ignore_errors=True)

    def create(self) -> Spool:
        """A new, empty spool.

        Raises:
            NoSpace: There are too many.
        """
        if self._files >= self._most_files:
            raise NoSpace(f"No space left on device: {self._files} large files are in use")
        self._directory.mkdir(mode=0o700, exist_ok=True)
        spool = Spool(self, self._directory / str(next(self._numbers)))
        self._files += 1
        return spool

    def reserve(self, count: int) -> None:
        """Account for ``count`` more bytes.

        Raises:
            NoSpace: They would be too many, or the disk is nearly full.
        """
        if self._bytes + count > self._most_bytes:
            raise NoSpace(f"No space left on device: large files use {self._bytes} bytes")
        disk = os.statvfs(self._directory)
        if disk.f_bavail * disk.f_frsize - count < _KEPT_FREE:
            raise NoSpace
        self._bytes += count

    def give_back(self, count: int) -> None:
        """Account for bytes that are not used any more."""
        self._bytes -= count

    def forget(self, length: int) -> None:
        """Account for a spool that has gone."""
        self._bytes -= length
        self._files -= 1


class Spool:
    """One scratch file; made by :meth:`SpoolSpace.create`.

    It is removed by :meth:`close`, or at the latest when nobody refers to it any more: edited
    files are replaced and removed in many places.

    Attributes:
        path: The file, for whoever fills it or reads it as a whole.
        length: Bytes that are accounted for; those that were never written are zero.
    """

    __slots__ = ("_closed", "_space", "length", "path")

    def __init__(self, space: SpoolSpace, path: Path) -> None:
        """Make the file."""
        self._closed = True
        self._space, self.path, self.length = space, path, 0
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        self._closed = False

    def read(self, offset: int, count: int) -> bytes:
        """Up to ``count`` bytes from ``offset``; fewer only at the end."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            parts = []
            while count > 0 and (data := os.pread(descriptor, count, offset)):
                parts.append(data)
                offset, count = offset + len(data), count - len(data)
            return parts[0] if len(parts) == 1 else b"".join(parts)
        finally:
            os.close(descriptor)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write at ``offset``; a gap is filled with zero bytes, which take no room on the disk.

        Raises:
            NoSpace: The disk, or what may be used of it, is full.
        """
        end = offset + len(data)
        self.extend(end)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            view = memoryview(data)
            while view:
                written = os.pwrite(descriptor, view, offset)
                offset, view = offset + written, view[written:]
        except OSError as error:
            raise _translated(error) from error
        finally:
            os.close(descriptor)

    def extend(self, length: int) -> None:
        """Account for at least ``length`` bytes, which somebody is about to write."""
        if length > self.length:
            self._space.reserve(length - self.length)
            self.length = length

    def truncate(self, length: int) -> None:
        """Cut to ``length`` bytes, or extend with zero bytes."""
        self.extend(length)
        try:
            os.truncate(self.path, length)
        except OSError as error:
            raise _translated(error) from error
        self._space.give_back(self.length - length)
        self.length = length

    def close(self) -> None:
        """Remove the file; a second time does nothing."""
        if not self._closed:
            self._closed = True
            self._space.forget(self.length)
            self.path.unlink(missing_ok=True)

    def __del__(self) -> None:
        """Nobody has it any more."""
        self.close()


def _translated(error: OSError) -> NoSpace | IoFailed:
    if error.errno in _FULL:
        return NoSpace()
    return IoFailed(f"cannot spool a large file: {error.strerror}")
