"""Fids: what a client has its fingers on, and how much of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from datakit_core.budget import Budget
from datakit_core.errors import InvalidArgument, IsDirectory, NoMemory, TooMany
from datakit_core.ninep.walking import Place
from datakit_core.ninep.wire import NO_FID, Fid, Tag
from datakit_core.vfs.answer import Answer
from datakit_core.vfs.node import Handle, Stat

__all__ = ["ENTRY", "BoundFid", "FidTable", "Listing", "unknown_fid"]

_FID = 500
_PLACE = 300
ENTRY = 100
"""Bytes of memory for a fid, each step of its way, and an entry of an open directory, roughly."""


class BoundFid:
    """What a fid stands for.

    Attributes:
        number: The fid.
        place: Where it is.
        handle: What reads and writes go to; none until it is opened.
        opening: An open or create has begun and not ended.
        remove_on_close: Clunk removes the file.
        bound: Still in the table.
        waiting: By tag, what ends a request that waits on the open file.
        held: Bytes of memory that are accounted for.
    """

    __slots__ = (
        "bound",
        "handle",
        "held",
        "number",
        "opening",
        "place",
        "remove_on_close",
        "waiting",
    )

    def __init__(self, number: Fid, place: Place) -> None:
        """Stand for ``place``, not open."""
        self.number = number
        self.place = place
        self.handle: Handle | None = None
        self.opening = False
        self.remove_on_close = False
        self.bound = True
        self.waiting: dict[Tag, Callable[[], None]] = {}
        self.held = 0

    def release(self) -> None:
        """End what waits on it and close it."""
        self.bound = False
        for end in tuple(self.waiting.values()):
            end()
        if self.handle is not None:
            self.handle.close()


class FidTable:
    """The fids of one session, at most ``limit``, within a budget of memory."""

    def __init__(self, limit: int, budget: Budget | None = None) -> None:
        """Start empty."""
        self._limit = limit
        self._budget = budget or Budget(1 << 62)
        self._bound: dict[Fid, BoundFid] = {}
        self._reserved: set[Fid] = set()

    def __len__(self) -> int:
        """How many fids are bound or about to be."""
        return len(self._bound) + len(self._reserved)

    def get(self, number: Fid) -> BoundFid:
        """What ``number`` stands for; InvalidArgument when it stands for nothing."""
        try:
            return self._bound[number]
        except KeyError:
            raise unknown_fid(number) from None

    def on(self, inode: int) -> Sequence[BoundFid]:
        """All that stand for one file."""
        return [fid for fid in self._bound.values() if fid.place.node.inode == inode]

    def bind(self, number: Fid, place: Place) -> None:
        """Let a free (or reserved) number stand for ``place``.

        Raises:
            NoMemory: The budget is used up; the number is then free.
        """
        self._reserved.discard(number)
        cost = _cost(place)
        self._budget.take(cost)
        fid = self._bound[number] = BoundFid(number, place)
        fid.held = cost

    def opened(self, fid: BoundFid, handle: Handle) -> None:
        """Attach what reads and writes go to.

        Raises:
            NoMemory: The budget is used up; the handle is then closed.
        """
        held = handle.held
        try:
            self._budget.take(held)
        except NoMemory:
            handle.close()
            raise
        fid.held += held
        fid.handle = handle

    def reserve(self, number: Fid) -> None:
        """Keep a number for a request that will bind it later, or :meth:`unreserve` it.

        Raises:
            InvalidArgument: It is in use, or stands for no fid.
            TooMany: The table is full.
        """
        if number == NO_FID:
            raise InvalidArgument(f"{number} is no fid")
        if number in self._bound or number in self._reserved:
            raise InvalidArgument(f"Fid {number} already in use")
        if len(self) >= self._limit:
            raise TooMany(f"Too many open files: a connection has at most {self._limit} fids")
        self._reserved.add(number)

    def unreserve(self, number: Fid) -> None:
        """Give a reserved number up."""
        self._reserved.discard(number)

    def pop(self, number: Fid) -> BoundFid:
        """Free the number and release what it stood for."""
        fid = self.get(number)
        del self._bound[number]
        self._budget.give(fid.held)
        fid.release()
        return fid

    def clear(self) -> None:
        """Free all numbers."""
        for number in tuple(self._bound):
            self.pop(number)
        self._reserved.clear()


def _cost(place: Place) -> int:
    """Bytes of memory that a fid takes, roughly: each place on the way has a path of its own."""
    cost, below = _FID, 1
    at: Place | None = place
    while at is not None:
        cost += _PLACE + len(at.name) * below
        below += 1
        at = at.parent
    return cost


def unknown_fid(number: Fid) -> InvalidArgument:
    """The error of a request on a fid that stands for nothing."""
    return InvalidArgument(f"Unknown fid {number}")


class Listing(Handle):
    """An open directory: stats one after the other, never a part of one (read(5)).

    Reads must continue where the last one ended; offset 0 starts again. The entries are those
    of the moment of the open, so nothing is lost or doubled when files come and go meanwhile.
    """

    MOST = 1 << 16
    """Bytes in one read: more would keep the other connections waiting for milliseconds."""

    def __init__(self, stats: Sequence[Stat], encode: Callable[[Stat], bytes]) -> None:
        """List ``stats``, each as ``encode`` writes it."""
        self._stats = stats
        self._encode = encode
        self._next = 0
        self._offset = 0

    @property
    def held(self) -> int:
        """Some bytes for each entry."""
        return ENTRY * len(self._stats)

    def read(self, offset: int, count: int) -> Answer[bytes]:
        """As many whole entries as fit ``count``."""
        if offset == 0:
            self._next = self._offset = 0
        elif offset != self._offset:
            raise InvalidArgument("Can't seek in a directory")
        data = b"".join(self._entries(min(count, self.MOST)))
        self._offset += len(data)
        return data

    def write(self, offset: int, data: bytes) -> Answer[int]:
        """Refused: files are created, not written into a directory."""
        raise IsDirectory("Can't write to directories")

    def _entries(self, room: int) -> list[bytes]:
        entries: list[bytes] = []
        while self._next < len(self._stats):
            entry = self._encode(self._stats[self._next])
            if len(entry) > room:
                self._complain_if_stuck(entries, room, len(entry))
                break
            entries.append(entry)
            room -= len(entry)
            self._next += 1
        return entries

    @staticmethod
    def _complain_if_stuck(entries: list[bytes], room: int, needed: int) -> None:
        """No bytes would mean the end of the directory, which it is not."""
        if room and not entries:
            raise InvalidArgument(f"a read of {room} bytes is too short for an entry of {needed}")
