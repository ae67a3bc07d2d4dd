"""What each request does to the fids and the nodes behind them.

A method answers with the reply, or with :class:`Later` when a node answers later. The change to
the fid table is then made when the value comes (``settle``), or not at all when the client has
given the request up (``drop``): a walk that was flushed must not leave its fid bound.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar, final

from datakit_core.budget import Budget
from datakit_core.errors import InvalidArgument, NotDirectory, NotPermitted, NotSupported, ReadOnly
from datakit_core.ninep.attributes import (
    Chmod,
    Rename,
    Truncate,
    change_of,
    check_name,
    kind_of,
    qid_of,
    unescape,
    wire_stat,
)
from datakit_core.ninep.codec import READ_HEADER_SIZE, Codec
from datakit_core.ninep.fids import BoundFid, FidTable, Listing, unknown_fid
from datakit_core.ninep.messages import (
    NAMES_PER_WALK,
    Mode,
    OpenMode,
    Rattach,
    Rclunk,
    Rcreate,
    Record,
    Ropen,
    Rread,
    Rremove,
    Rstat,
    Rwalk,
    Rwrite,
    Rwstat,
    Tattach,
    Tauth,
    Tclunk,
    Tcreate,
    Topen,
    Tread,
    Tremove,
    Tstat,
    Twalk,
    Twrite,
    Twstat,
    WireStat,
)
from datakit_core.ninep.walking import Place, follow
from datakit_core.ninep.wire import NO_FID, NO_UID, Qid
from datakit_core.vfs.answer import Answer, Deferred, then
from datakit_core.vfs.node import Directory, File, Handle, Kind, Node, Stat

__all__ = ["MOST_OFFSET", "Handlers", "Later", "Operations", "Outcome", "when"]

T = TypeVar("T")

_LATER = (Deferred, Coroutine)
_TRUNCATE = OpenMode.TRUNCATE.value  # an int: flags are slow to combine
_REMOVE_ON_CLOSE = OpenMode.REMOVE_ON_CLOSE.value
MOST_OFFSET = (1 << 63) - 1
"""Offsets are signed for every client; a greater one is a negative number."""


@final
@dataclass(frozen=True, slots=True)
class Later(Generic[T]):
    """A reply that waits for a node.

    Attributes:
        answer: What it waits for.
        settle: Makes the reply from the value, and takes effect on the fids.
        drop: Called instead when the request failed (none) or was given up (the value, if it
            came nevertheless).
        fid: The open file whose clunk ends the wait, if it is one that can be ended.
    """

    answer: Deferred[T] | Coroutine[Any, Any, T]
    settle: Callable[[T], Record]
    drop: Callable[[T | None], None]
    fid: BoundFid | None = None


Outcome: TypeAlias = Record | Later[Any]
Handlers: TypeAlias = dict[type[Record], Callable[[Any], Outcome]]
"""What answers each request."""


def _nothing(value: object) -> None:
    """Most requests leave nothing behind when they are given up."""


def when(
    answer: Answer[T],
    settle: Callable[[T], Record],
    drop: Callable[[T | None], None] = _nothing,
    fid: BoundFid | None = None,
) -> Outcome:
    """The reply that ``settle`` makes of the answer's value, now or later."""
    if isinstance(answer, _LATER):
        return Later(answer, settle, drop, fid)
    return settle(answer)


class Operations:
    """The requests of one session on one root.

    Attributes:
        fids: The session's fids.
        escapes: Whether all clients of the dialect are shown ``%2F`` for ``/`` in names.
    """

    escapes: ClassVar[bool] = False

    def __init__(
        self,
        root: Directory,
        codec: Codec,
        msize: int,
        max_fids: int,
        *,
        read_only: bool = False,
        budget: Budget | None = None,
    ) -> None:
        """Serve ``root`` with replies of at most ``msize`` bytes."""
        self._read_only = read_only
        self.fids = FidTable(max_fids, budget)
        self._root = root
        self._codec = codec
        self._most_read = msize - READ_HEADER_SIZE

    @property
    def shared_handlers(self) -> Handlers:
        """The requests that every dialect has, but for attach."""
        return {
            Twalk: self.walk,
            Tread: self.read,
            Twrite: self.write,
            Tclunk: self.clunk,
            Tremove: self.remove,
        }

    @property
    def handlers(self) -> Handlers:
        """What can be asked for once there is a root, and what answers it."""
        return self.shared_handlers | {
            Topen: self.open,
            Tcreate: self.create,
            Tstat: self.stat,
            Twstat: self.wstat,
        }

    def auth(self, request: Tauth) -> Outcome:
        """Refused: who may connect is decided by the listener."""
        raise NotSupported

    def attach(self, request: Tattach) -> Outcome:
        """Bind a fid to the root; who the user is proves nothing, and only shows as the owner.

        A Linux kernel attaches once for each user of a mount, and itself keeps users from writing
        to what does not belong to them.
        """
        if request.afid != NO_FID:
            raise unknown_fid(request.afid)
        self.fids.reserve(request.fid)
        escaped = self.escapes or request.aname == "posix"
        owner = 0 if request.n_uname == NO_UID else request.n_uname
        self.fids.bind(request.fid, Place(self._root, None, "/", escaped, owner))
        return Rattach(qid_of(self._root))

    def walk(self, request: Twalk) -> Outcome:
        """Bind ``newfid`` to where all the names lead; if one is missing, to nothing."""
        names = request.names
        if len(names) > NAMES_PER_WALK:
            raise InvalidArgument(f"a walk of {len(names)} names; at most {NAMES_PER_WALK}")
        start = self.fids.get(request.fid)
        if request.newfid == request.fid:
            return self._walk_same(start, names)
        self.fids.reserve(request.newfid)

        def settle(passed: Sequence[Place]) -> Record:
            self.fids.bind(request.newfid, passed[-1] if passed else start.place)
            return Rwalk(tuple([qid_of(place.node) for place in passed]))

        def drop(passed: Sequence[Place] | None) -> None:
            self.fids.unreserve(request.newfid)

        try:
            return when(follow(start.place, names), settle, drop)
        except Exception:
            drop(None)
            raise

    def _walk_same(self, fid: BoundFid, names: Sequence[str]) -> Outcome:
        """A walk whose newfid is its fid, which stays where it is if the walk fails."""
        if fid.handle is not None or fid.opening:
            raise InvalidArgument("Already open")

        def settle(passed: Sequence[Place]) -> Record:
            _check_bound(fid)
            if passed:
                fid.place = passed[-1]
            return Rwalk(tuple([qid_of(place.node) for place in passed]))

        return when(follow(fid.place, names), settle)

    def open(self, request: Topen) -> Outcome:
        """Open a file, or take the listing of a directory; who may do what is not checked."""
        return self._open(
            self.fids.get(request.fid),
            Ropen,
            truncate=bool(request.mode & _TRUNCATE),
            remove_on_close=bool(request.mode & _REMOVE_ON_CLOSE),
        )

    def create(self, request: Tcreate) -> Outcome:
        """Make a file, link or directory; the fid then stands for it, open."""
        fid = self.fids.get(request.fid)
        self._check_unopened(fid)
        parent = fid.place
        if not isinstance(parent.node, Directory):
            raise NotDirectory(f'"{parent.name}" is not a directory')
        self._check_writable()
        name = check_name(request.name)
        if parent.escaped:
            name = unescape(name)
        kind = kind_of(request.perm, request.extension)
        target = request.extension if kind is Kind.LINK else ""
        return self._create(
            fid,
            name,
            parent.node.create(name, kind, target),
            Rcreate,
            remove_on_close=bool(request.mode & _REMOVE_ON_CLOSE),
        )

    def read(self, request: Tread) -> Outcome:
        """Read a file, or entries of a directory, as much as fits a message."""
        fid = self.fids.get(request.fid)
        if fid.handle is None:
            raise InvalidArgument("Can't read from unopened fid")
        offset, count = request.offset, request.count
        if offset > MOST_OFFSET:
            raise InvalidArgument(f"Negative offset {offset - (1 << 64)}")
        answer = fid.handle.read(offset, min(count, self._most_read))
        if type(answer) is bytes:  # the fast path
            return Rread(answer)
        return when(answer, Rread, fid=fid)

    def write(self, request: Twrite) -> Outcome:
        """Write to an open file."""
        fid = self.fids.get(request.fid)
        if fid.handle is None:
            raise InvalidArgument("Can't write to unopened fid")
        self._check_writable()
        if request.offset > MOST_OFFSET:
            raise InvalidArgument(f"Bad write offset {request.offset - (1 << 64)}")
        return when(fid.handle.write(request.offset, request.data), Rwrite, fid=fid)

    def clunk(self, request: Tclunk) -> Outcome:
        """Forget a fid, and remove its file if it was opened so."""
        fid = self.fids.pop(request.fid)
        if fid.remove_on_close:
            return when(fid.place.node.remove(), lambda _: Rclunk())
        return Rclunk()

    def remove(self, request: Tremove) -> Outcome:
        """Forget a fid, whatever happens, and remove its file."""
        fid = self.fids.pop(request.fid)
        self._check_writable()
        return when(fid.place.node.remove(), lambda _: Rremove())

    def stat(self, request: Tstat) -> Outcome:
        """Describe a file."""
        place = self.fids.get(request.fid).place
        return when(place.node.stat(), lambda stat: Rstat(_wire_stat(stat, place)))

    def wstat(self, request: Twstat) -> Outcome:
        """Rename, truncate or chmod; anything else is accepted and has no effect."""
        fid = self.fids.get(request.fid)
        node = fid.place.node
        change = change_of(request.stat)
        if change is not None:
            self._check_writable()
        match change:
            case Rename(name):
                return self._rename(fid, unescape(name) if fid.place.escaped else name)
            case Truncate(length):
                if length > MOST_OFFSET:
                    raise InvalidArgument(f"Negative offset {length - (1 << 64)}")
                return when(node.truncate(length), lambda _: Rwstat())
            case Chmod(mode, target):
                return when(_chmod(node, mode, target), lambda _: Rwstat())
            case None:
                return Rwstat()

    def _rename(self, fid: BoundFid, name: str) -> Outcome:
        parent = fid.place.parent
        if parent is None:
            raise NotPermitted("Can't rename /")
        renamed = parent.child(name, fid.place.node)

        def settle(_: None) -> Record:
            fid.place = renamed
            return Rwstat()

        return when(fid.place.node.rename(name), settle)

    def _open(
        self,
        fid: BoundFid,
        reply: Callable[[Qid, int], Record],
        *,
        truncate: bool,
        remove_on_close: bool,
    ) -> Outcome:
        """Open what a fid stands for."""
        if fid.handle is not None or fid.opening:
            raise InvalidArgument("Already open")
        if truncate or remove_on_close:
            self._check_writable()

        def settle(handle: Handle) -> Record:
            self._opened(fid, handle, remove_on_close)
            return reply(qid_of(fid.place.node), 0)

        def drop(handle: Handle | None) -> None:
            fid.opening = False
            if handle is not None:
                handle.close()

        answer = self._handle(fid.place.node, fid.place, truncate=truncate)
        return self._opening(fid, when(answer, settle, drop))

    def _create(
        self,
        fid: BoundFid,
        name: str,
        node: Answer[Node],
        reply: Callable[[Qid, int], Record],
        *,
        remove_on_close: bool,
    ) -> Outcome:
        """Open a node that is being made in the directory of ``fid``, which then stands for it."""
        parent = fid.place

        def settle(made: tuple[Node, Handle]) -> Record:
            node, handle = made
            self._opened(fid, handle, remove_on_close)
            fid.place = parent.child(name, node)
            return reply(qid_of(node), 0)

        def drop(made: tuple[Node, Handle] | None) -> None:
            fid.opening = False
            if made is not None:
                made[1].close()

        def made(node: Node) -> Answer[tuple[Node, Handle]]:
            return then(self._handle(node, parent), lambda handle: (node, handle))

        return self._opening(fid, when(then(node, made), settle, drop))

    @staticmethod
    def _check_unopened(fid: BoundFid) -> None:
        if fid.handle is not None or fid.opening:
            raise InvalidArgument("Can't create in an opened fid")

    def _handle(self, node: Node, place: Place, *, truncate: bool = False) -> Answer[Handle]:
        """Open a node, whatever it is; shown as things are at ``place``."""
        if isinstance(node, Directory):
            return then(node.list(), lambda stats: self._listing(stats, place))
        assert isinstance(node, File)
        if truncate:
            return then(node.truncate(0), lambda _: node.open())
        return node.open()

    def _listing(self, stats: Sequence[Stat], place: Place) -> Handle:
        encode = self._codec.encode_stat
        return Listing(stats, lambda stat: encode(_wire_stat(stat, place)))

    def _check_writable(self) -> None:
        """Refuse what would change something when the listener is read-only."""
        if self._read_only:
            raise ReadOnly("Read-only connection")

    @staticmethod
    def _opening(fid: BoundFid, outcome: Outcome) -> Outcome:
        """Keep others from opening a fid whose open takes its time."""
        fid.opening = isinstance(outcome, Later)
        return outcome

    def _opened(self, fid: BoundFid, handle: Handle, remove_on_close: bool) -> None:
        """Attach the handle, unless the fid has gone while it was opened."""
        fid.opening = False
        if not fid.bound:
            handle.close()
            raise unknown_fid(fid.number)
        self.fids.opened(fid, handle)
        fid.remove_on_close = remove_on_close


def _wire_stat(stat: Stat, place: Place) -> WireStat:
    return wire_stat(stat, escaped=place.escaped, owner=place.owner)


def _check_bound(fid: BoundFid) -> None:
    if not fid.bound:
        raise unknown_fid(fid.number)


def _chmod(node: Node, mode: int, target: str) -> Answer[None]:
    if node.is_directory:
        raise NotPermitted
    if mode & Mode.DIRECTORY:
        raise InvalidArgument("Incorrect is_directory flag for chmod")
    return node.chmod(kind_of(mode, target), target)
