"""The files below a repository's directory, as far as the writer changes them.

Everything that must survive a crash goes through :class:`Disk`, so that a test can record what
was written and what was synced, and lose the rest. Names are relative to the repository, with
slashes.

Other processes see a file wholly or not at all, but nothing is on disk before it was synced.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from datakit_core.errors import DatakitError, NoSpace, RepositoryError

__all__ = ["Disk", "Log", "RepositoryFiles", "sync_file_system", "write_failure"]

_WRITER = "datakit.writer"
_PATIENCE = 60.0
"""Seconds for which a writer whose server was killed may finish what it does."""

_PAUSE = 0.02

_AHEAD = 1 << 20
"""Bytes of zeros that a log is extended by: syncing an append that lengthens a file costs more."""


class Log(Protocol):
    """A file that grows at its end."""

    def append(self, data: bytes) -> None:
        """Put ``data`` at the end; not synced."""
        ...

    def sync(self) -> None:
        """Return when all that was appended is on disk."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class Disk(Protocol):
    """Files of one repository. Every method may raise ``OSError``."""

    def read(self, name: str) -> bytes | None:
        """A file's content; none if absent, or a directory."""
        ...

    def names(self, prefix: str) -> list[str]:
        """The files directly in the repository's directory that begin with ``prefix``, sorted."""
        ...

    def loose_objects(self, since: float) -> list[str]:
        """The files of loose objects that were written after ``since``, in seconds since 1970."""
        ...

    def touch(self, name: str) -> bool:
        """Let a file count as written now; false if absent."""
        ...

    def replace(self, name: str, content: bytes, *, synced: bool = False) -> None:
        """Give a file its content, in one step; ``synced`` if no journal could restore it."""
        ...

    def append(self, name: str, content: bytes) -> None:
        """Add to a file's end."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file; absent is no error."""
        ...

    def lock(self, name: str) -> bool:
        """Make the lock file of ``name``, as Git does; false if somebody has it."""
        ...

    def unlock(self, name: str) -> None:
        """Remove a lock file that :meth:`lock` made, and directories left empty."""
        ...

    def release_locks(self) -> None:
        """Remove all lock files that a writer of DataKit has left."""
        ...

    def create_log(self, name: str, header: bytes) -> Log:
        """Make a log that begins with ``header``; it is on disk on return."""
        ...

    def sync_all(self) -> None:
        """Return when everything that was written before the call is on disk."""
        ...


class RepositoryFiles:
    """A :class:`Disk`: the real one.

    Whoever holds it is the only writer of refs: it has an flock(2) on a file of its own, and its
    lock files are hard links of that file, so that they can be told from those of others after
    a crash, without waiting.
    """

    def __init__(self, repository: Path) -> None:
        """Become the writer of ``repository``.

        Raises:
            RepositoryError: Another writer is at work, and does not end.
        """
        self._root = os.fspath(repository) + "/"
        path = self._root + _WRITER
        self._writer = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _take(self._writer, path)
        except BaseException:
            os.close(self._writer)
            raise

    def close(self) -> None:
        """Let another process be the writer."""
        os.close(self._writer)

    def read(self, name: str) -> bytes | None:
        """As :meth:`Disk.read`."""
        try:
            return Path(self._root + name).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def names(self, prefix: str) -> list[str]:
        """As :meth:`Disk.names`."""
        return sorted(name for name in os.listdir(self._root) if name.startswith(prefix))  # noqa: PTH208

    def loose_objects(self, since: float) -> list[str]:
        """As :meth:`Disk.loose_objects`."""
        objects = Path(self._root, "objects")
        return [
            f"objects/{folder.name}/{file.name}"
            for folder in objects.iterdir()
            if len(folder.name) == 2
            for file in os.scandir(folder)
            if len(file.name) == 38 and file.stat().st_mtime > since
        ]

    def touch(self, name: str) -> bool:
        """As :meth:`Disk.touch`."""
        try:
            os.utime(self._root + name)
        except FileNotFoundError:
            return False
        return True

    def replace(self, name: str, content: bytes, *, synced: bool = False) -> None:
        """As :meth:`Disk.replace`."""
        # Git takes such a name for an object that is being written.
        folder = "objects/tmp_obj_datakit" if name.startswith("objects/") else "datakit.tmp"
        temporary = f"{self._root}{folder}-{os.getpid()}"
        mode = 0o444 if name.startswith("objects/") else 0o644
        with suppress(FileNotFoundError):
            os.unlink(temporary)  # noqa: PTH108  # here and below: hot paths
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            # Else ext4 would start to write the file out as soon as it replaces another one.
            if content:
                os.posix_fallocate(descriptor, 0, len(content))
            _write(descriptor, content)
            if synced:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._rename(temporary, self._root + name)

    def append(self, name: str, content: bytes) -> None:
        """As :meth:`Disk.append`."""
        path = self._root + name
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        with Path(path).open("ab") as file:
            file.write(content)

    def remove(self, name: str) -> None:
        """As :meth:`Disk.remove`."""
        with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            os.unlink(self._root + name)  # noqa: PTH108

    def lock(self, name: str) -> bool:
        """As :meth:`Disk.lock`."""
        path = f"{self._root}{name}.lock"
        for _ in range(3):  # Git removes directories that are empty
            try:
                os.link(self._root + _WRITER, path)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
            except FileExistsError:
                return False
            else:
                return True
        return False

    def unlock(self, name: str) -> None:
        """As :meth:`Disk.unlock`."""
        lock = Path(f"{self._root}{name}.lock")
        lock.unlink(missing_ok=True)
        if name.count("/") > 2:  # refs/heads itself stays
            with suppress(OSError):  # not empty
                for parent in lock.parents:
                    if parent == Path(self._root, "refs/heads"):
                        break
                    parent.rmdir()

    def release_locks(self) -> None:
        """As :meth:`Disk.release_locks`."""
        own = os.fstat(self._writer)
        if own.st_nlink == 1:
            return
        for lock in (
            *Path(self._root, "refs").rglob("*.lock"),
            Path(self._root, "packed-refs.lock"),
        ):
            with suppress(FileNotFoundError):
                if lock.stat().st_ino == own.st_ino:
                    lock.unlink()

    def create_log(self, name: str, header: bytes) -> Log:
        """As :meth:`Disk.create_log`."""
        log = _LogFile(self._root + name)
        try:
            log.append(header)
            log.sync()
            _sync_directory(self._root)
        except OSError:
            log.close()
            self.remove(name)
            raise
        return log

    def sync_all(self) -> None:
        """As :meth:`Disk.sync_all`."""
        sync_file_system(self._root)

    def _rename(self, temporary: str, path: str) -> None:
        try:
            os.rename(temporary, path)  # noqa: PTH104
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
            os.rename(temporary, path)  # noqa: PTH104
        except IsADirectoryError:
            _remove_empty(Path(path))
            os.rename(temporary, path)  # noqa: PTH104


class _LogFile:
    """A new file, written ahead with zeros."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self._end = self._allocated = 0

    def append(self, data: bytes) -> None:
        end = self._end + len(data)
        if end > self._allocated:
            # Alone, so that on a full disk no part of the data is there.
            allocated = end + -end % _AHEAD
            _write_at(self._file, bytes(allocated - self._end), self._end)
            self._allocated = allocated
        _write_at(self._file, data, self._end)
        self._end = end

    def sync(self) -> None:
        os.fdatasync(self._file)

    def close(self) -> None:
        os.close(self._file)


def write_failure(path: str | Path, error: Exception) -> DatakitError:
    """What clients are told of a write that the disk did not take."""
    full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
    if full or os.strerror(errno.ENOSPC) in str(error):  # libgit2 gives a text only
        return NoSpace()
    return RepositoryError(f"cannot write to {path}: {error}")


def sync_file_system(path: str | Path) -> None:
    """Write everything of the file system that holds ``path`` to disk (syncfs(2)).

    Raises:
        OSError: The disk has failed.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        # ctypes lets go of the interpreter's lock meanwhile.
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), os.fspath(path))
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise RepositoryError(
                    f"{path} is locked by the writer process of a DataKit that has gone; "
                    "end that process (fuser shows it), then try again"
                ) from None
            time.sleep(_PAUSE)
        else:
            return


def _write(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _write_at(descriptor: int, content: bytes, position: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, position)
        position += written
        view = view[written:]


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_empty(directory: Path) -> None:
    """Remove directories that hold nothing; raises ``OSError`` if one holds something."""
    for folder, _, _ in os.walk(directory, topdown=False):
        Path(folder).rmdir()
