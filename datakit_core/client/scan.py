"""What is in a directory of this machine, as far as a tree can hold it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from datakit_core.errors import IoFailed
from datakit_core.store import FileMode

__all__ = ["Found", "read_target", "scan"]


@dataclass(frozen=True, slots=True)
class Found:
    """A file or link.

    Attributes:
        path: Below the scanned directory, ``/``-separated.
        mode: How a tree would hold it.
    """

    path: str
    mode: FileMode


def scan(directory: Path) -> Iterator[Found]:
    """The files and links below ``directory``; the same ones that a store imports.

    Left out are empty directories, sockets and the like, and everything called ``.git``: a
    checkout's own Git data is not its content.

    Raises:
        IoFailed: A directory could not be read; named by its path below ``directory``.
    """
    for folder, folders, files in os.walk(directory, onerror=_raise(directory)):
        folders[:] = [name for name in folders if name != ".git"]
        for name in [*files, *folders]:
            if name == ".git":
                continue
            path = Path(folder, name)
            mode = _mode(path)
            if mode is not None:
                yield Found(path.relative_to(directory).as_posix(), mode)


def read_target(directory: Path, found: Found) -> bytes:
    """The target of a link.

    Raises:
        IoFailed: It cannot be read.
    """
    try:
        return os.readlink(os.fsencode(directory / found.path))  # noqa: PTH115  # its bytes
    except OSError as error:
        raise IoFailed(f"cannot read {found.path}: {error.strerror}") from error


def _mode(path: Path) -> FileMode | None:
    try:
        status = path.lstat()
    except OSError as error:
        raise IoFailed(f"cannot read {path.name}: {error.strerror}") from error
    if stat.S_ISLNK(status.st_mode):
        return FileMode.LINK
    if not stat.S_ISREG(status.st_mode):
        return None
    return FileMode.EXECUTABLE if status.st_mode & 0o100 else FileMode.NORMAL


def _raise(directory: Path) -> Callable[[OSError], None]:
    def on_error(error: OSError) -> None:
        shown = os.path.relpath(error.filename, directory)
        raise IoFailed(f"cannot read {shown}: {error.strerror}") from error

    return on_error
