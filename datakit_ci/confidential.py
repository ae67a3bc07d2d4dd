"""Files that are for the service's own user alone: read with care, replaced whole."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datakit_core.errors import ConfigError

__all__ = ["make_directory", "read_confidential", "update_lock", "write_confidential"]

_LARGEST = 64 * 2**20


def make_directory(path: Path) -> None:
    """Make a directory that nobody else can look into, unless it is there."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def read_confidential(file: Path) -> bytes | None:
    """The contents of a file; none if it is not there.

    Raises:
        ConfigError: It is open to others, who may have read or changed it; or cannot be read.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", str(file)) from error
    with os.fdopen(descriptor, "rb") as opened:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError("is not a file", str(file))
        if status.st_uid not in (os.geteuid(), 0) or status.st_mode & 0o077:
            raise ConfigError(
                f"is open to other users; make it yours alone with: chmod 600 {file}", str(file)
            )
        return opened.read(_LARGEST)


def write_confidential(file: Path, data: bytes) -> None:
    """Replace a file, or make it; whoever reads meanwhile sees the old one or the new one.

    Raises:
        ConfigError: It cannot be written.
    """
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(data)
                opened.flush()
                os.fsync(descriptor)
            Path(name).replace(file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror}", str(file)) from error


@contextmanager
def update_lock(directory: Path) -> Iterator[None]:
    """Between reading and replacing what is in a directory: one process at a time."""
    make_directory(directory)
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
