"""The message table of 9P2000.L: what it shares with 9P2000, and what only it has.

Source: the protocol's description in diod (protocol.md) and the constants of Linux's v9fs. The
requests are those of the kernel's virtual file system, so its flags and numbers appear as they
are: the O_ flags of open(2) (octal), AT_REMOVEDIR of unlinkat(2), the modes of inode(7).
"""

from __future__ import annotations

import enum
from typing import Annotated, Final

from datakit_core.ninep.messages import (
    CLASSIC,
    U8,
    U32,
    U64,
    UNIX,
    Data,
    FidField,
    QidField,
    Rattach,
    Rauth,
    Rclunk,
    Record,
    Rflush,
    Rread,
    Rremove,
    Rversion,
    Rwalk,
    Rwrite,
    String,
    declare,
)

__all__ = [
    "LINUX_MESSAGES",
    "OpenFlag",
    "Rfsync",
    "Rgetattr",
    "Rgetlock",
    "Rlcreate",
    "Rlerror",
    "Rlink",
    "Rlock",
    "Rlopen",
    "Rmkdir",
    "Rmknod",
    "Rreaddir",
    "Rreadlink",
    "Rrename",
    "Rrenameat",
    "Rsetattr",
    "Rstatfs",
    "Rsymlink",
    "Runlinkat",
    "Rxattrcreate",
    "Rxattrwalk",
    "SetAttr",
    "Tfsync",
    "Tgetattr",
    "Tgetlock",
    "Tlcreate",
    "Tlink",
    "Tlock",
    "Tlopen",
    "Tmkdir",
    "Tmknod",
    "Treaddir",
    "Treadlink",
    "Trename",
    "Trenameat",
    "Tsetattr",
    "Tstatfs",
    "Tsymlink",
    "Tunlinkat",
    "Txattrcreate",
    "Txattrwalk",
]

_SHARED = (Rversion, Rauth, Rattach, Rflush, Rwalk, Rread, Rwrite, Rclunk, Rremove)

LINUX_MESSAGES: Final[dict[int, type[Record]]] = {
    number: CLASSIC[number] for reply in _SHARED for number in (reply.number - 1, reply.number)
}
"""The messages of 9P2000.L by number."""


class OpenFlag(enum.IntFlag):
    """The ``flags`` of Tlopen and Tlcreate that matter here (open(2))."""

    WRITE = 0o1
    READ_WRITE = 0o2
    CREATE = 0o100
    EXCLUSIVE = 0o200
    TRUNCATE = 0o1000
    APPEND = 0o2000


class SetAttr(enum.IntFlag):
    """Which fields of Tsetattr count; owners and times are accepted and forgotten."""

    MODE = 0x1
    SIZE = 0x8


@declare(7, LINUX_MESSAGES)
class Rlerror(Record):
    """The request failed; there is no Tlerror and no text."""

    errno: U32


@declare(8, LINUX_MESSAGES)
class Tstatfs(Record):
    """Ask how much there is room for (statfs(2))."""

    fid: FidField


@declare(9, LINUX_MESSAGES)
class Rstatfs(Record):
    """What statfs(2) tells.

    Attributes:
        type: The file system's magic number.
        bsize: Bytes in a block.
        blocks: All of them.
        bfree: Those that are free.
        bavail: Those that are free for anybody.
        files: Inodes.
        ffree: Free ones.
        fsid: Which file system it is.
        namelen: The longest name in bytes.
    """

    type: U32
    bsize: U32
    blocks: U64
    bfree: U64
    bavail: U64
    files: U64
    ffree: U64
    fsid: U64
    namelen: U32


@declare(12, LINUX_MESSAGES)
class Tlopen(Record):
    """Prepare ``fid`` for reading and writing; ``flags`` is an :class:`OpenFlag`."""

    fid: FidField
    flags: U32


@declare(13, LINUX_MESSAGES)
class Rlopen(Record):
    """The fid is open; an ``iounit`` of 0 sets no limit but msize."""

    qid: QidField
    iounit: U32


@declare(14, LINUX_MESSAGES)
class Tlcreate(Record):
    """Make a file in the directory ``fid``, which then means the new file, open.

    Attributes:
        fid: A directory that is not open.
        name: The new name.
        flags: An :class:`OpenFlag`.
        mode: Permissions.
        gid: Group, which is forgotten.
    """

    fid: FidField
    name: String
    flags: U32
    mode: U32
    gid: U32


@declare(15, LINUX_MESSAGES)
class Rlcreate(Record):
    """The file exists and is open."""

    qid: QidField
    iounit: U32


@declare(16, LINUX_MESSAGES)
class Tsymlink(Record):
    """Make a symbolic link to ``target``; ``fid`` stays the directory."""

    fid: FidField
    name: String
    target: String
    gid: U32


@declare(17, LINUX_MESSAGES)
class Rsymlink(Record):
    """The link exists."""

    qid: QidField


@declare(18, LINUX_MESSAGES)
class Tmknod(Record):
    """Make a device; refused, as Git has none."""

    dfid: FidField
    name: String
    mode: U32
    major: U32
    minor: U32
    gid: U32


@declare(19, LINUX_MESSAGES)
class Rmknod(Record):
    """The device exists."""

    qid: QidField


@declare(20, LINUX_MESSAGES)
class Trename(Record):
    """Move the file ``fid`` to ``name`` in the directory ``dfid``."""

    fid: FidField
    dfid: FidField
    name: String


@declare(21, LINUX_MESSAGES)
class Rrename(Record):
    """It is there."""


@declare(22, LINUX_MESSAGES)
class Treadlink(Record):
    """Ask where a symbolic link points."""

    fid: FidField


@declare(23, LINUX_MESSAGES)
class Rreadlink(Record):
    """There."""

    target: String


@declare(24, LINUX_MESSAGES)
class Tgetattr(Record):
    """Ask for the attributes in ``request_mask``; 0x7ff are those of stat(2)."""

    fid: FidField
    request_mask: U64


@declare(25, LINUX_MESSAGES)
class Rgetattr(Record):
    """The attributes (stat(2)).

    Attributes:
        valid: Which of the fields count.
        qid: Which file it is.
        mode: Type and permissions (inode(7)).
        uid: Owner.
        gid: Group.
        nlink: Names of the file.
        rdev: Which device it is.
        size: Bytes.
        blksize: Bytes that should be read at a time.
        blocks: Units of 512 bytes.
        atime_sec: Last access.
        atime_nsec: Last access.
        mtime_sec: Last change of the content.
        mtime_nsec: Last change of the content.
        ctime_sec: Last change of the attributes.
        ctime_nsec: Last change of the attributes.
        btime_sec: Creation.
        btime_nsec: Creation.
        gen: Reserved.
        data_version: Reserved.
    """

    valid: U64
    qid: QidField
    mode: U32
    uid: U32
    gid: U32
    nlink: U64
    rdev: U64
    size: U64
    blksize: U64
    blocks: U64
    atime_sec: U64 = 0
    atime_nsec: U64 = 0
    mtime_sec: U64 = 0
    mtime_nsec: U64 = 0
    ctime_sec: U64 = 0
    ctime_nsec: U64 = 0
    btime_sec: U64 = 0
    btime_nsec: U64 = 0
    gen: U64 = 0
    data_version: U64 = 0


@declare(26, LINUX_MESSAGES)
class Tsetattr(Record):
    """Change attributes (chmod(2), truncate(2)).

    Attributes:
        fid: The file.
        valid: Which of the fields count; bits of :class:`SetAttr` and others.
        mode: Type and permissions.
        uid: Owner.
        gid: Group.
        size: Bytes.
        atime_sec: Last access.
        atime_nsec: Last access.
        mtime_sec: Last change.
        mtime_nsec: Last change.
    """

    fid: FidField
    valid: U32
    mode: U32 = 0
    uid: U32 = 0
    gid: U32 = 0
    size: U64 = 0
    atime_sec: U64 = 0
    atime_nsec: U64 = 0
    mtime_sec: U64 = 0
    mtime_nsec: U64 = 0


@declare(27, LINUX_MESSAGES)
class Rsetattr(Record):
    """They are changed."""


@declare(30, LINUX_MESSAGES)
class Txattrwalk(Record):
    """Ask for an extended attribute; refused, as Git has none.

    The kernel asks before the first write to any file, and is content to be refused.
    """

    fid: FidField
    newfid: FidField
    name: String


@declare(31, LINUX_MESSAGES)
class Rxattrwalk(Record):
    """The attribute's size."""

    size: U64


@declare(32, LINUX_MESSAGES)
class Txattrcreate(Record):
    """Set an extended attribute; refused, as Git has none."""

    fid: FidField
    name: String
    size: U64
    flags: U32


@declare(33, LINUX_MESSAGES)
class Rxattrcreate(Record):
    """The attribute may be written."""


@declare(40, LINUX_MESSAGES)
class Treaddir(Record):
    """Ask for entries of an open directory.

    Attributes:
        fid: The directory.
        offset: 0, or the ``offset`` of the last entry that is known.
        count: How many bytes of whole entries.
    """

    fid: FidField
    offset: U64
    count: U32


@declare(41, LINUX_MESSAGES)
class Rreaddir(Record):
    """Entries, each ``qid[13] offset[8] type[1] name[s]``; nothing at the end."""

    data: Data


@declare(50, LINUX_MESSAGES)
class Tfsync(Record):
    """Make sure that what was written stays (fsync(2)); older clients send no ``datasync``."""

    fid: FidField
    datasync: Annotated[U32, UNIX] = 0


@declare(51, LINUX_MESSAGES)
class Rfsync(Record):
    """It stays, as far as the file promises that at all."""


@declare(52, LINUX_MESSAGES)
class Tlock(Record):
    """Take or give up a lock on a range of a file (fcntl(2))."""

    fid: FidField
    type: U8
    flags: U32
    start: U64
    length: U64
    proc_id: U32
    client_id: String


@declare(53, LINUX_MESSAGES)
class Rlock(Record):
    """``status`` is 0 for success."""

    status: U8


@declare(54, LINUX_MESSAGES)
class Tgetlock(Record):
    """Ask who holds a lock that conflicts with this one."""

    fid: FidField
    type: U8
    start: U64
    length: U64
    proc_id: U32
    client_id: String


@declare(55, LINUX_MESSAGES)
class Rgetlock(Record):
    """The lock; of type 2 (F_UNLCK) when there is none."""

    type: U8
    start: U64
    length: U64
    proc_id: U32
    client_id: String


@declare(70, LINUX_MESSAGES)
class Tlink(Record):
    """Make a second name for a file; refused, as Git has no such thing."""

    dfid: FidField
    fid: FidField
    name: String


@declare(71, LINUX_MESSAGES)
class Rlink(Record):
    """The name exists."""


@declare(72, LINUX_MESSAGES)
class Tmkdir(Record):
    """Make a directory in ``dfid``."""

    dfid: FidField
    name: String
    mode: U32
    gid: U32


@declare(73, LINUX_MESSAGES)
class Rmkdir(Record):
    """It exists."""

    qid: QidField


@declare(74, LINUX_MESSAGES)
class Trenameat(Record):
    """Move a file by names, so that the kernel needs no fid for it."""

    olddirfid: FidField
    oldname: String
    newdirfid: FidField
    newname: String


@declare(75, LINUX_MESSAGES)
class Rrenameat(Record):
    """It is there."""


@declare(76, LINUX_MESSAGES)
class Tunlinkat(Record):
    """Remove ``name`` from a directory; ``flags`` is 0x200 for rmdir(2)."""

    dfid: FidField
    name: String
    flags: U32


@declare(77, LINUX_MESSAGES)
class Runlinkat(Record):
    """It is gone."""
