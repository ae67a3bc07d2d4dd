"""Nodes' attributes as 9P shows them: qids, stats, permissions, names.

Most of a 9P stat has no meaning for a file server of this kind. What is not listed in
:class:`~datakit_core.vfs.node.Stat` is the same for every file, and changes to it are accepted
and forgotten: a client that sets an owner or a time after writing must not fail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from datakit_core.errors import InvalidArgument, NotPermitted
from datakit_core.ninep.messages import ANY, Mode, WireStat
from datakit_core.ninep.wire import Qid
from datakit_core.vfs.node import Directory, Kind, Node, Stat

__all__ = [
    "Change",
    "Chmod",
    "Rename",
    "Truncate",
    "change_of",
    "check_name",
    "escape",
    "kind_of",
    "qid_of",
    "unescape",
    "wire_qid",
    "wire_stat",
]

_DIRECTORY_QID = 0x80
_FILE_QID = 0
"""Links too: clients refuse to read what is flagged as one."""

_MODES = {
    Kind.DIRECTORY: Mode.DIRECTORY | 0o775,
    Kind.FILE: Mode(0o664),
    Kind.EXECUTABLE: Mode(0o775),
    Kind.LINK: Mode.LINK | 0o775,
}
_SPECIAL = Mode.DEVICE | Mode.PIPE | Mode.SOCKET


def qid_of(node: Node) -> Qid:
    """The qid of a node, without asking for its stat."""
    kind = _DIRECTORY_QID if isinstance(node, Directory) else _FILE_QID
    return Qid(kind, node.version, node.inode)


def wire_qid(stat: Stat) -> Qid:
    """The qid of a node whose stat is there."""
    kind = _DIRECTORY_QID if stat.kind is Kind.DIRECTORY else _FILE_QID
    return Qid(kind, stat.version, stat.inode)


def wire_stat(stat: Stat, *, escaped: bool = False, owner: int = 0) -> WireStat:
    """A node's stat as it is sent.

    Args:
        stat: What the node says.
        escaped: Whether the client cannot do with ``/`` in a name.
        owner: The number of the user to whom it is sent.
    """
    return WireStat(
        type=0,
        dev=0,
        qid=wire_qid(stat),
        mode=_MODES[stat.kind].value,
        atime=0,
        mtime=0,
        length=stat.length,
        name=escape(stat.name) if escaped and stat.name != "/" else stat.name,
        uid=str(owner) if owner else "root",
        gid="root",
        muid="none",
        extension=stat.target,
        n_uid=owner,
        n_gid=0,
        n_muid=0,
    )


def kind_of(mode: int, extension: str) -> Kind:
    """What to create, or to turn a file into, for the ``perm`` of a request.

    Raises:
        NotPermitted: Devices, pipes and sockets do not exist here.
        InvalidArgument: A link needs a target.
    """
    if mode & Mode.DIRECTORY:
        return Kind.DIRECTORY
    if mode & Mode.LINK:
        if not extension:
            raise InvalidArgument("Missing target for symlink!")
        return Kind.LINK
    if mode & _SPECIAL:
        raise NotPermitted
    return Kind.EXECUTABLE if mode & Mode.EXECUTABLE else Kind.FILE


@dataclass(frozen=True, slots=True)
class Rename:
    """A Twstat that changes the name."""

    name: str


@dataclass(frozen=True, slots=True)
class Truncate:
    """A Twstat that changes the length."""

    length: int


@dataclass(frozen=True, slots=True)
class Chmod:
    """A Twstat that changes what kind of file it is."""

    mode: int
    target: str


Change: TypeAlias = Rename | Truncate | Chmod


def change_of(stat: WireStat) -> Change | None:
    """The one thing that a Twstat changes; none when it changes nothing that we keep.

    Raises:
        InvalidArgument: It changes more, which could not be done as one step.
    """
    changes: list[Change] = []
    if stat.name:
        changes.append(Rename(check_name(stat.name)))
    if stat.length != ANY[8]:
        changes.append(Truncate(stat.length))
    if stat.mode != ANY[4]:
        changes.append(Chmod(stat.mode, stat.extension))
    if len(changes) > 1:
        raise InvalidArgument("Can't rename/truncate/chmod at the same time")
    return changes[0] if changes else None


def check_name(name: str) -> str:
    """``name``, if a file can be called so; whether it may hold a slash is up to the directory.

    Raises:
        InvalidArgument: It is empty, holds a NUL, or is ``.`` or ``..``.
    """
    if name == ".":
        raise InvalidArgument("'.' is not valid in 9p")
    if name in {"", ".."} or "\0" in name:
        raise InvalidArgument(f"{name!r} is not a valid file name")
    return name


def escape(name: str) -> str:
    """A name without ``/``, for clients that would not show a directory which holds one."""
    return name.replace("%", "%25").replace("/", "%2F")


def unescape(name: str) -> str:
    """The inverse of :func:`escape`, which also accepts a ``%`` that means itself."""
    return name.replace("%2F", "/").replace("%2f", "/").replace("%25", "%")
