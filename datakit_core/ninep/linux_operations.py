"""The requests of 9P2000.L: what a Linux kernel asks, answered with the same nodes.

A kernel checks names and rights before it asks, on what it saw last; what may have changed since
is checked again here. Names with a slash are shown with ``%2F``, since a directory that holds
one would look empty on a mount.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from datakit_core.errors import (
    AlreadyExists,
    InvalidArgument,
    IsDirectory,
    NoEntry,
    NotDirectory,
    NotPermitted,
    NotSupported,
)
from datakit_core.ninep.attributes import check_name, qid_of, unescape
from datakit_core.ninep.fids import BoundFid
from datakit_core.ninep.linux_attributes import PLENTY, Entries, kind_of_mode, linux_stat
from datakit_core.ninep.linux_messages import (
    OpenFlag,
    Rfsync,
    Rgetlock,
    Rlcreate,
    Rlock,
    Rlopen,
    Rmkdir,
    Rreaddir,
    Rreadlink,
    Rrename,
    Rrenameat,
    Rsetattr,
    Rsymlink,
    Runlinkat,
    SetAttr,
    Tfsync,
    Tgetattr,
    Tgetlock,
    Tlcreate,
    Tlink,
    Tlock,
    Tlopen,
    Tmkdir,
    Tmknod,
    Treaddir,
    Treadlink,
    Trename,
    Trenameat,
    Tsetattr,
    Tstatfs,
    Tsymlink,
    Tunlinkat,
    Txattrcreate,
    Txattrwalk,
)
from datakit_core.ninep.messages import Record, Tauth
from datakit_core.ninep.operations import MOST_OFFSET, Handlers, Operations, Outcome, when
from datakit_core.ninep.walking import Place
from datakit_core.vfs.answer import Answer, otherwise, then
from datakit_core.vfs.node import Directory, Handle, Kind, Node, Stat

__all__ = ["LinuxOperations"]

_EXCLUSIVE = OpenFlag.EXCLUSIVE.value  # ints: flags are slow to combine
_TRUNCATE = OpenFlag.TRUNCATE.value
_MODE = SetAttr.MODE.value
_SIZE = SetAttr.SIZE.value
_REMOVE_DIRECTORY = 0x200
"""AT_REMOVEDIR (unlinkat(2))."""
_UNLOCKED = 2
"""F_UNLCK (fcntl(2))."""


class LinuxOperations(Operations):
    """The requests of one session that speaks 9P2000.L."""

    escapes: ClassVar[bool] = True

    @property
    def handlers(self) -> Handlers:
        """What can be asked for, and what answers it."""
        return self.shared_handlers | {
            Tlopen: self.lopen,
            Tlcreate: self.lcreate,
            Tgetattr: self.getattr,
            Tsetattr: self.setattr,
            Treaddir: self.readdir,
            Tmkdir: self.mkdir,
            Tsymlink: self.symlink,
            Treadlink: self.readlink,
            Trename: self.rename,
            Trenameat: self.renameat,
            Tunlinkat: self.unlinkat,
            Tstatfs: self.statfs,
            Tfsync: self.fsync,
            Tlock: self.lock,
            Tgetlock: self.getlock,
            Tlink: self.refuse,
            Tmknod: self.refuse,
            Txattrwalk: self.refuse,
            Txattrcreate: self.refuse,
        }

    def auth(self, request: Tauth) -> Outcome:
        """There is nothing to authenticate with, and no need: diod's clients then attach."""
        raise NoEntry

    def lopen(self, request: Tlopen) -> Outcome:
        """Open a file, or take the listing of a directory; who may do what is not checked."""
        truncate = bool(request.flags & _TRUNCATE)
        return self._open(
            self.fids.get(request.fid), Rlopen, truncate=truncate, remove_on_close=False
        )

    def lcreate(self, request: Tlcreate) -> Outcome:
        """Make a file and open it; one that is there already is opened as open(2) says."""
        fid = self.fids.get(request.fid)
        self._check_unopened(fid)
        parent, name = self._directory(fid), self._new_name(request.name)
        kind = kind_of_mode(request.mode)

        def make() -> Answer[Node]:
            return parent.create(name, kind)

        if request.flags & _EXCLUSIVE:
            node = then(_absent(parent, name), lambda _: make())
        elif request.flags & _TRUNCATE:
            node = make()
        else:
            node = otherwise(lambda: parent.lookup(name), NoEntry, make)
        return self._create(fid, name, node, Rlcreate, remove_on_close=False)

    def getattr(self, request: Tgetattr) -> Outcome:
        """Describe a file."""
        place, mask = self.fids.get(request.fid).place, request.request_mask
        return when(place.node.stat(), lambda stat: linux_stat(stat, mask, owner=place.owner))

    def setattr(self, request: Tsetattr) -> Outcome:
        """Truncate or chmod; owners and times are accepted and have no effect."""
        node = self.fids.get(request.fid).place.node
        if request.valid & (_MODE | _SIZE):
            self._check_writable()
        if request.valid & _SIZE and request.size > MOST_OFFSET:
            raise InvalidArgument(f"Negative offset {request.size - (1 << 64)}")

        def resize(_: None) -> Answer[None]:
            return node.truncate(request.size) if request.valid & _SIZE else None

        chmod = _chmod(node, request.mode) if request.valid & _MODE else None
        return when(then(chmod, resize), lambda _: Rsetattr())

    def readdir(self, request: Treaddir) -> Outcome:
        """Entries of an open directory, as many as fit a message."""
        handle = self.fids.get(request.fid).handle
        if not isinstance(handle, Entries):
            raise NotDirectory
        return Rreaddir(handle.after(request.offset, min(request.count, self._most_read)))

    def mkdir(self, request: Tmkdir) -> Outcome:
        """Make a directory."""
        fid = self.fids.get(request.dfid)
        made = self._directory(fid).create(self._new_name(request.name), Kind.DIRECTORY)
        return when(made, lambda node: Rmkdir(qid_of(node)))

    def symlink(self, request: Tsymlink) -> Outcome:
        """Make a symbolic link, which replaces nothing."""
        fid = self.fids.get(request.fid)
        parent, name = self._directory(fid), self._new_name(request.name)
        if not request.target:
            raise NoEntry  # as symlink(2) says
        made = then(_absent(parent, name), lambda _: parent.create(name, Kind.LINK, request.target))
        return when(made, lambda node: Rsymlink(qid_of(node)))

    def readlink(self, request: Treadlink) -> Outcome:
        """Tell where a symbolic link points."""

        def target(stat: Stat) -> Record:
            if stat.kind is not Kind.LINK:
                raise InvalidArgument("not a symbolic link")
            return Rreadlink(stat.target)

        return when(self.fids.get(request.fid).place.node.stat(), target)

    def rename(self, request: Trename) -> Outcome:
        """Move the file of a fid."""
        fid, directory = self.fids.get(request.fid), self.fids.get(request.dfid)
        if fid.place.parent is None:
            raise NotPermitted("Can't rename /")
        source = fid.place.parent.node
        moved = self._move(source, fid.place.node, directory, request.name)
        return when(moved, lambda _: Rrename())

    def renameat(self, request: Trenameat) -> Outcome:
        """Move a file by its name."""
        old, new = self.fids.get(request.olddirfid), self.fids.get(request.newdirfid)
        source = self._directory(old)
        found = source.lookup(unescape(check_name(request.oldname)))
        moved = then(found, lambda node: self._move(source, node, new, request.newname))
        return when(moved, lambda _: Rrenameat())

    def unlinkat(self, request: Tunlinkat) -> Outcome:
        """Remove a file, or an empty directory, by its name."""
        parent = self._directory(self.fids.get(request.dfid))
        self._check_writable()
        found = parent.lookup(unescape(check_name(request.name)))
        directory = bool(request.flags & _REMOVE_DIRECTORY)
        return when(then(found, lambda node: _unlink(node, directory)), lambda _: Runlinkat())

    def statfs(self, request: Tstatfs) -> Outcome:
        """Tell that there is room."""
        self.fids.get(request.fid)
        return PLENTY

    def fsync(self, request: Tfsync) -> Outcome:
        """Nothing to do: a node keeps what it promises to keep before it answers the write."""
        self.fids.get(request.fid)
        return Rfsync()

    def lock(self, request: Tlock) -> Outcome:
        """Grant the lock: the kernel has seen that nobody on its mount holds it.

        Nobody else can: what a connection may lock and write, a transaction, is its own.
        """
        self.fids.get(request.fid)
        return Rlock(0)

    def getlock(self, request: Tgetlock) -> Outcome:
        """Nobody holds a lock that the kernel does not know of."""
        self.fids.get(request.fid)
        return Rgetlock(
            _UNLOCKED, request.start, request.length, request.proc_id, request.client_id
        )

    def refuse(self, request: Record) -> Outcome:
        """What Git cannot keep: hard links, devices, extended attributes."""
        raise NotSupported

    def _listing(self, stats: Sequence[Stat], place: Place) -> Handle:
        return Entries(stats)

    def _new_name(self, name: str) -> str:
        """The name of something to be made."""
        self._check_writable()
        return unescape(check_name(name))

    @staticmethod
    def _directory(fid: BoundFid) -> Directory:
        node = fid.place.node
        if not isinstance(node, Directory):
            raise NotDirectory
        return node

    def _move(self, source: Node, node: Node, target: BoundFid, name: str) -> Answer[None]:
        """Move a node, and with it all fids that stand for it.

        A kernel keeps the fid that it had before and uses it for the file's new path.
        """
        directory, name = self._directory(target), self._new_name(name)
        fids = self.fids.on(node.inode)
        acting = fids[0].place.node if fids else node
        here = source.inode == directory.inode
        moved = acting.rename(name) if here else acting.move(directory, name)

        def follow(_: None) -> None:
            place = target.place.child(name, acting)
            for fid in fids:
                fid.place = place

        return then(moved, follow)


def _absent(parent: Directory, name: str) -> Answer[None]:
    """Nothing, if ``name`` is free; ``AlreadyExists`` otherwise."""

    def taken(_: Node) -> Answer[None]:
        raise AlreadyExists

    return otherwise(lambda: then(parent.lookup(name), taken), NoEntry, lambda: None)


def _unlink(node: Node, directory: bool) -> Answer[None]:
    if not isinstance(node, Directory):
        if directory:
            raise NotDirectory
        return node.remove()
    if not directory:
        raise IsDirectory
    return node.remove_empty()


def _chmod(node: Node, mode: int) -> Answer[None]:
    if node.is_directory:
        return None  # forgotten as owners are, or programs that copy trees would complain
    return node.chmod(kind_of_mode(mode))
