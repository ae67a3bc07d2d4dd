"""``/debug``: the log levels of the running server."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from datakit_core.dbfs.layout import Layout
from datakit_core.dbfs.listing import Listing
from datakit_core.errors import InvalidArgument, NoEntry, ReadOnly
from datakit_core.vfs import (
    Answer,
    DynamicDirectory,
    File,
    Handle,
    Kind,
    Named,
    Node,
    Stat,
    TextFile,
    inode_of,
    read_range,
)

__all__ = ["debug_directory"]

_QUIET = logging.CRITICAL + 10

_LEVELS = {
    "quiet": _QUIET,
    "app": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
"""The words that clients know. ``app`` is what a program says whatever its level."""

_PACKAGES = ("datakit_core", "datakit_ci")


def debug_directory(*, writable: bool = True) -> Layout:
    """``src``, with a directory for each of our loggers.

    Args:
        writable: Whether levels may be set; they are those of the whole server.
    """

    def sources() -> DynamicDirectory:
        inode = inode_of("debug", "src")
        return DynamicDirectory("src", lambda name: _lookup(name, writable), _list, inode=inode)

    return Layout("debug", {"src": sources}, inode_of("debug"))


def _names() -> list[str]:
    """Our loggers that exist, which is after their modules were imported."""
    loggers = logging.root.manager.loggerDict
    return sorted(
        name
        for name, logger in loggers.items()
        if name.partition(".")[0] in _PACKAGES and isinstance(logger, logging.Logger)
    )


def _list() -> Sequence[Stat]:
    return Listing(_names(), lambda name: Stat(name, Kind.DIRECTORY, inode_of("debug", name)))


def _lookup(name: str, writable: bool) -> Node:
    if name not in _names():
        raise NoEntry
    inode = inode_of("debug", name)
    doc = f"What {name} logs; level is one of: {' '.join(_LEVELS)}\n".encode()
    return Layout(
        name,
        {
            "doc": lambda: TextFile("doc", doc, inode=inode_of(inode, "doc")),
            "level": lambda: _LevelFile(
                logging.getLogger(name), inode_of(inode, "level"), writable
            ),
        },
        inode,
    )


class _LevelFile(Named, File):
    """A logger's level as a word; each write sets it, whatever the offset."""

    def __init__(self, logger: logging.Logger, inode: int, writable: bool) -> None:
        super().__init__("level", inode=inode)
        self._logger = logger
        self._writable = writable

    def stat(self) -> Answer[Stat]:
        return Stat(self.name, Kind.FILE, self.inode, len(self.content()))

    def open(self) -> Answer[Handle]:
        return _LevelHandle(self)

    def truncate(self, length: int) -> Answer[None]:
        """Shells truncate before they write; the level stays until then."""
        return None

    def content(self) -> bytes:
        """The word for the level in force, and a newline."""
        level = self._logger.getEffectiveLevel()
        word = next((word for word, at_least in _LEVELS.items() if level >= at_least), "debug")
        return f"{word}\n".encode()

    def set(self, data: bytes) -> None:
        """Set the level to the word in ``data``."""
        if not self._writable:
            raise ReadOnly
        word = data.decode(errors="replace").strip()
        if word not in _LEVELS:
            raise InvalidArgument(f'Unknown log level "{word}"; one of: {" ".join(_LEVELS)}')
        self._logger.setLevel(_LEVELS[word])


class _LevelHandle(Handle):
    def __init__(self, file: _LevelFile) -> None:
        self._file = file

    def read(self, offset: int, count: int) -> Answer[bytes]:
        return read_range(self._file.content(), offset, count)

    def write(self, offset: int, data: bytes) -> Answer[int]:
        self._file.set(data)
        return len(data)
