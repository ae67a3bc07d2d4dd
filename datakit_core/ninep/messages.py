"""The message table: every message of 9P2000, its number and its fields in wire order.

Sources: the manual pages intro(5) to wstat(5) of Plan 9 for 9P2000, and the "9P2000.u" extension
(Van Hensbergen) for the fields marked :data:`UNIX`. What only 9P2000.L has is in
:mod:`datakit_core.ninep.linux_messages`. A message knows neither its tag nor its
dialect; :mod:`datakit_core.ninep.codec` turns it into bytes, after what is declared here.

A T-message is a request, the R-message with the next number its reply.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from typing import Annotated, ClassVar, Final, TypeAlias, TypeVar, dataclass_transform

from datakit_core.ninep import wire
from datakit_core.ninep.wire import NO_UID, Fid, Qid, Tag

__all__ = [
    "ANY",
    "CLASSIC",
    "KEEP",
    "NAMES_PER_WALK",
    "UNIX",
    "Mode",
    "OpenMode",
    "Rattach",
    "Rauth",
    "Rclunk",
    "Rcreate",
    "Record",
    "Rerror",
    "Rflush",
    "Ropen",
    "Rread",
    "Rremove",
    "Rstat",
    "Rversion",
    "Rwalk",
    "Rwrite",
    "Rwstat",
    "Tattach",
    "Tauth",
    "Tclunk",
    "Tcreate",
    "Tflush",
    "Topen",
    "Tread",
    "Tremove",
    "Tstat",
    "Tversion",
    "Twalk",
    "Twrite",
    "Twstat",
    "UnixField",
    "WireStat",
    "declare",
]


class UnixField(enum.Enum):
    """The mark of a field that only some dialects have; always the last ones of a message."""

    UNIX = enum.auto()


UNIX: Final = UnixField.UNIX

U8: TypeAlias = Annotated[int, wire.U8]
U16: TypeAlias = Annotated[int, wire.U16]
U32: TypeAlias = Annotated[int, wire.U32]
U64: TypeAlias = Annotated[int, wire.U64]
FidField: TypeAlias = Annotated[Fid, wire.U32]
TagField: TypeAlias = Annotated[Tag, wire.U16]
String: TypeAlias = Annotated[str, wire.STRING]
Strings: TypeAlias = Annotated[tuple[str, ...], wire.STRINGS]
Data: TypeAlias = Annotated[bytes, wire.DATA]
QidField: TypeAlias = Annotated[Qid, wire.QID]
Qids: TypeAlias = Annotated[tuple[Qid, ...], wire.QIDS]

ANY: Final = {1: 0xFF, 2: 0xFFFF, 4: 0xFFFFFFFF, 8: 0xFFFFFFFFFFFFFFFF}
"""By size in bytes, the number that leaves a field alone in Twstat."""

NAMES_PER_WALK: Final = 16
"""More names than these make a Twalk an error (walk(5))."""


class Mode(enum.IntFlag):
    """The bits of ``perm`` and ``mode`` that matter here (stat(5), 9P2000.u)."""

    DIRECTORY = 0x80000000
    LINK = 0x02000000
    DEVICE = 0x00800000
    PIPE = 0x00200000
    SOCKET = 0x00100000
    EXECUTABLE = 0o100


class OpenMode(enum.IntFlag):
    """The ``mode`` of Topen and Tcreate (open(5)); who may do what is never checked."""

    READ = 0
    WRITE = 1
    READ_WRITE = 2
    EXECUTE = 3
    TRUNCATE = 0x10
    REMOVE_ON_CLOSE = 0x40


class Record:
    """What all messages and :class:`WireStat` are: frozen values with fields in wire order.

    Attributes:
        number: The message's type on the wire; 0 for a record inside of messages.
    """

    __slots__ = ()
    number: ClassVar[int] = 0

    def __str__(self) -> str:
        """One line for logs: contents are shortened."""
        fields = ((name, getattr(self, name)) for name in type(self).__match_args__)  # type: ignore[attr-defined]  # every subclass is a dataclass
        shown = (f"{name}={_shortened(value)}" for name, value in fields)
        return f"{type(self).__name__}({', '.join(shown)})"


def _shortened(value: object) -> str:
    if isinstance(value, bytes) and len(value) > 40:
        return f"{value[:40]!r}... {len(value)} bytes"
    return repr(value)


CLASSIC: Final[dict[int, type[Record]]] = {}
"""The messages of 9P2000 and 9P2000.u by number."""

R = TypeVar("R", bound=Record)


@dataclass_transform(frozen_default=True)
def _record(kind: type[R]) -> type[R]:
    return dataclasses.dataclass(frozen=True, slots=True)(kind)


@dataclass_transform(frozen_default=True)
def declare(number: int, table: dict[int, type[Record]] = CLASSIC) -> Callable[[type[R]], type[R]]:
    """Make a class the message ``number``: a frozen dataclass that is entered in ``table``."""

    def register(kind: type[R]) -> type[R]:
        made = _record(kind)
        made.number = number
        table[number] = made
        return made

    return register


@_record
class WireStat(Record):
    """A file's attributes (stat(5)), in Rstat, in Twstat and in what reading a directory gives.

    In Twstat a number of all ones (:data:`ANY`) and an empty string mean "leave it".

    Attributes:
        type: For the kernel of Plan 9; 0.
        dev: As ``type``.
        qid: Which file it is.
        mode: Bits of :class:`Mode` and permissions.
        atime: Seconds since 1970 of the last access.
        mtime: Seconds since 1970 of the last change.
        length: Bytes; 0 for directories.
        name: Last path component; ``/`` for the root.
        uid: Owner.
        gid: Group.
        muid: Who changed it last.
        extension: Target of a symbolic link.
        n_uid: Owner, as a number.
        n_gid: Group, as a number.
        n_muid: Who changed it last, as a number.
    """

    type: U16
    dev: U32
    qid: QidField
    mode: U32
    atime: U32
    mtime: U32
    length: U64
    name: String
    uid: String
    gid: String
    muid: String
    extension: Annotated[String, UNIX] = ""
    n_uid: Annotated[U32, UNIX] = NO_UID
    n_gid: Annotated[U32, UNIX] = NO_UID
    n_muid: Annotated[U32, UNIX] = NO_UID


StatField: TypeAlias = Annotated[WireStat, WireStat]

KEEP: Final = WireStat(
    type=ANY[2], dev=ANY[4], qid=Qid(ANY[1], ANY[4], ANY[8]), mode=ANY[4], atime=ANY[4],
    mtime=ANY[4], length=ANY[8], name="", uid="", gid="", muid="",
)  # fmt: skip
"""The Twstat that changes nothing; ``dataclasses.replace`` makes the others from it."""


@declare(100)
class Tversion(Record):
    """Begin a session, or begin it anew: all fids and requests are forgotten (version(5)).

    Attributes:
        msize: The longest message that the client can take, with its header.
        version: The dialect that it would like to speak.
    """

    msize: U32
    version: String


@declare(101)
class Rversion(Record):
    """What the session will use; version ``unknown`` means that it cannot begin."""

    msize: U32
    version: String


@declare(102)
class Tauth(Record):
    """Ask for a file to authenticate on; refused, as access is decided by the listener."""

    afid: FidField
    uname: String
    aname: String
    n_uname: Annotated[U32, UNIX] = NO_UID


@declare(103)
class Rauth(Record):
    """The file to authenticate on."""

    aqid: QidField


@declare(104)
class Tattach(Record):
    """Bind ``fid`` to the root (attach(5)).

    Attributes:
        fid: The fid to bind.
        afid: :data:`~datakit_core.ninep.wire.NO_FID`, as there is no authentication.
        uname: The user; it proves nothing.
        aname: Which tree, or how to show it.
        n_uname: The user as a number; Linux gives one for all but the first attach of a mount.
    """

    fid: FidField
    afid: FidField
    uname: String
    aname: String
    n_uname: Annotated[U32, UNIX] = NO_UID


@declare(105)
class Rattach(Record):
    """The root."""

    qid: QidField


@declare(107)
class Rerror(Record):
    """The request failed; there is no Terror (error(5)).

    Attributes:
        ename: What went wrong, which clients compare.
        errno: The same as a Linux error number.
    """

    ename: String
    errno: Annotated[U32, UNIX] = 0


@declare(108)
class Tflush(Record):
    """Give up the request ``oldtag``: after Rflush its reply will not come (flush(5))."""

    oldtag: TagField


@declare(109)
class Rflush(Record):
    """The tag is free again."""


@declare(110)
class Twalk(Record):
    """Ask to move from ``fid`` along ``names`` and bind the end to ``newfid`` (walk(5)).

    Attributes:
        fid: Where to start.
        newfid: The fid to bind; may equal ``fid``.
        names: Path components, at most 16; none of them clones ``fid``.
    """

    fid: FidField
    newfid: FidField
    names: Strings


@declare(111)
class Rwalk(Record):
    """One qid for each name; servers other than ours send fewer when a later name is absent."""

    qids: Qids


@declare(112)
class Topen(Record):
    """Prepare ``fid`` for reading and writing (open(5)); ``mode`` is an :class:`OpenMode`."""

    fid: FidField
    mode: U8


@declare(113)
class Ropen(Record):
    """The fid is open; an ``iounit`` of 0 sets no limit but msize."""

    qid: QidField
    iounit: U32


@declare(114)
class Tcreate(Record):
    """Make ``name`` in the directory ``fid``, which then means the new file, open (open(5)).

    Attributes:
        fid: A directory that is not open.
        name: The new name.
        perm: Bits of :class:`Mode`.
        mode: An :class:`OpenMode`.
        extension: The target, when ``perm`` says that it is a link.
    """

    fid: FidField
    name: String
    perm: U32
    mode: U8
    extension: Annotated[String, UNIX] = ""


@declare(115)
class Rcreate(Record):
    """The file exists and is open."""

    qid: QidField
    iounit: U32


@declare(116)
class Tread(Record):
    """Ask for up to ``count`` bytes at ``offset`` (read(5)); of a directory, for whole stats."""

    fid: FidField
    offset: U64
    count: U32


@declare(117)
class Rread(Record):
    """What was read; nothing at the end of the file."""

    data: Data


@declare(118)
class Twrite(Record):
    """Write ``data`` at ``offset`` (read(5))."""

    fid: FidField
    offset: U64
    data: Data


@declare(119)
class Rwrite(Record):
    """How many bytes were written."""

    count: U32


@declare(120)
class Tclunk(Record):
    """Forget ``fid`` (clunk(5))."""

    fid: FidField


@declare(121)
class Rclunk(Record):
    """The fid is free again."""


@declare(122)
class Tremove(Record):
    """Remove the file and forget ``fid``, the latter even if the former fails (remove(5))."""

    fid: FidField


@declare(123)
class Rremove(Record):
    """The file is gone."""


@declare(124)
class Tstat(Record):
    """Ask for the attributes (stat(5))."""

    fid: FidField


@declare(125)
class Rstat(Record):
    """The attributes."""

    stat: StatField


@declare(126)
class Twstat(Record):
    """Change those attributes that :data:`KEEP` does not leave alone (stat(5))."""

    fid: FidField
    stat: StatField


@declare(127)
class Rwstat(Record):
    """The attributes are changed."""
