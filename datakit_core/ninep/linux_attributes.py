"""Nodes' attributes and directories as 9P2000.L shows them: stat(2) and getdents(2)."""

from __future__ import annotations

import stat as unix
from collections.abc import Sequence
from struct import Struct
from typing import Final

from datakit_core.errors import InvalidArgument, IsDirectory
from datakit_core.ninep.attributes import escape, wire_qid
from datakit_core.ninep.linux_messages import Rgetattr, Rstatfs
from datakit_core.vfs.answer import Answer
from datakit_core.vfs.node import Handle, Kind, Stat

__all__ = ["PLENTY", "Entries", "kind_of_mode", "linux_stat"]

_STAT_FIELDS = 0x7FF
"""The bits of ``request_mask`` for what stat(2) tells; we have nothing beyond."""

_MODES = {
    Kind.DIRECTORY: unix.S_IFDIR | 0o775,
    Kind.FILE: unix.S_IFREG | 0o664,
    Kind.EXECUTABLE: unix.S_IFREG | 0o775,
    Kind.LINK: unix.S_IFLNK | 0o777,
}

_TYPES = {kind: unix.S_IFMT(mode) >> 12 for kind, mode in _MODES.items()}
"""The ``d_type`` of directory entries (readdir(3)) is the type of a mode, shifted."""

_BLOCK = 4096
_SECTOR = 512
_ENTRY = Struct("<BIQQBH")

PLENTY: Final = Rstatfs(
    type=0x01021997, bsize=_BLOCK, blocks=1 << 30, bfree=1 << 30, bavail=1 << 30,
    files=1 << 30, ffree=1 << 30, fsid=0, namelen=255,
)  # fmt: skip
"""What statfs(2) is told: nodes know no such numbers, and zeros would keep programs from writing.

The type is V9FS_MAGIC, as for any other 9P mount.
"""


def linux_stat(stat: Stat, request_mask: int, *, owner: int = 0) -> Rgetattr:
    """A node's stat as it is sent to a user; what was not asked for may be there as well."""
    return Rgetattr(
        valid=request_mask & _STAT_FIELDS,
        qid=wire_qid(stat),
        mode=_MODES[stat.kind],
        uid=owner,
        gid=0,
        nlink=1,
        rdev=0,
        size=stat.length,
        blksize=_BLOCK,
        blocks=-(-stat.length // _SECTOR),
    )


def kind_of_mode(mode: int) -> Kind:
    """What chmod(2) turns a file into; it cannot make it anything but a file.

    Raises:
        InvalidArgument: The mode says that it is a directory.
    """
    if unix.S_ISDIR(mode):
        raise InvalidArgument("Incorrect is_directory flag for chmod")
    return Kind.EXECUTABLE if mode & unix.S_IXUSR else Kind.FILE


class Entries(Handle):
    """An open directory: entries after the one whose cookie the client gives back.

    Cookies count the entries, which are those of the moment of the open, so nothing is lost or
    doubled when files come and go meanwhile. ``.`` and ``..`` are the client's affair.
    """

    MOST = 1 << 16
    """Bytes in one read: more would keep the other connections waiting for milliseconds."""

    def __init__(self, stats: Sequence[Stat]) -> None:
        """List ``stats``."""
        self._stats = stats

    @property
    def held(self) -> int:
        """Some bytes for each entry."""
        return 100 * len(self._stats)

    def read(self, offset: int, count: int) -> Answer[bytes]:
        """Refused: directories are read with Treaddir."""
        raise IsDirectory

    def write(self, offset: int, data: bytes) -> Answer[int]:
        """Refused: files are created, not written into a directory."""
        raise IsDirectory

    def after(self, cookie: int, count: int) -> bytes:
        """As many whole entries as fit ``count``; none at the end.

        Raises:
            InvalidArgument: Not even one entry fits.
        """
        room, found = min(count, self.MOST), bytearray()
        for index in range(cookie, len(self._stats)):
            entry = _encode(self._stats[index], index + 1)
            if len(found) + len(entry) > room:
                if not found:
                    raise InvalidArgument(f"{room} bytes are too few for an entry of {len(entry)}")
                break
            found += entry
        return bytes(found)


def _encode(stat: Stat, cookie: int) -> bytes:
    name = escape(stat.name).encode(errors="surrogateescape")
    return _ENTRY.pack(*wire_qid(stat), cookie, _TYPES[stat.kind], len(name)) + name
