"""A client of a session without a network: messages in, messages out."""

from __future__ import annotations

from typing import TypeVar

from datakit_core.ninep.codec import codec_for
from datakit_core.ninep.dialect import LINUX, PLAIN, UNIX, Dialect
from datakit_core.ninep.linux_messages import Rlerror
from datakit_core.ninep.messages import (
    Record,
    Rerror,
    Ropen,
    Rread,
    Rstat,
    Rwalk,
    Tattach,
    Topen,
    Tread,
    Tstat,
    Tversion,
    Twalk,
    WireStat,
)
from datakit_core.ninep.session import Limits, Session, Work
from datakit_core.ninep.wire import NO_FID, NO_TAG, Fid, Tag
from datakit_core.vfs import Directory

__all__ = ["DIALECTS", "ONE", "ROOT", "THREE", "TWO", "Peer"]

R = TypeVar("R", bound=Record)

ROOT, ONE, TWO, THREE = Fid(0), Fid(1), Fid(2), Fid(3)

DIALECTS = (PLAIN, UNIX, LINUX)
"""What tests of the protocol run in."""


class Peer:
    """Talks to a session in messages.

    Attributes:
        session: The session.
        replies: What came later than the request, in order.
    """

    def __init__(
        self,
        root: Directory,
        dialect: Dialect = PLAIN,
        limits: Limits | None = None,
        *,
        read_only: bool = False,
    ) -> None:
        self.session = Session(root, self._receive, limits, read_only=read_only)
        self.replies: list[tuple[Tag, Record]] = []
        self._codec = codec_for(dialect)
        self._dialect = dialect

    def attach(self, msize: int = 8192, aname: str = "") -> Peer:
        """Agree on the version and bind the root."""
        self.call(Tversion(msize, self._dialect.version), NO_TAG)
        self.call(Tattach(ROOT, NO_FID, "tester", aname))
        return self

    def send(self, message: Record, tag: int = 1) -> Record | Work | None:
        """What the session returns for a message."""
        outcome = self.session.receive(self._codec.encode(Tag(tag), message))
        if isinstance(outcome, bytes):
            found, reply = self._codec.decode(outcome)
            assert found == tag
            return reply
        return outcome

    def call(self, message: Record, tag: int = 1) -> Record:
        """The reply to a message that is answered at once."""
        reply = self.send(message, tag)
        assert isinstance(reply, Record), reply
        return reply

    def error(self, message: Record, tag: int = 1) -> str:
        """The text of the error that a message is answered with at once."""
        reply = self.call(message, tag)
        assert isinstance(reply, Rerror), reply
        return reply.ename

    def errno(self, message: Record, tag: int = 1) -> int:
        """The number of the error that a message is answered with at once in 9P2000.L."""
        reply = self.call(message, tag)
        assert isinstance(reply, Rlerror), reply
        return reply.errno

    def work(self, message: Record, tag: int = 1) -> Work:
        """The work that a message makes for the shell."""
        work = self.send(message, tag)
        assert isinstance(work, Work), work
        work.coroutine.close()  # the test says how it ends
        return work

    def walk(self, *names: str, fid: Fid = ROOT, newfid: Fid = ONE) -> Fid:
        """Bind a fid to a path."""
        reply = self.call(Twalk(fid, newfid, names))
        assert isinstance(reply, Rwalk), reply
        return newfid

    def open(self, *names: str, newfid: Fid = ONE, mode: int = 0) -> Fid:
        """Bind a fid to a path and open it."""
        self.walk(*names, newfid=newfid)
        reply = self.call(Topen(newfid, mode))
        assert isinstance(reply, Ropen), reply
        return newfid

    def read(self, fid: Fid, offset: int = 0, count: int = 8192) -> bytes:
        """One read that is answered at once."""
        reply = self.call(Tread(fid, offset, count))
        assert isinstance(reply, Rread), reply
        return reply.data

    def stat(self, fid: Fid) -> WireStat:
        """A fid's attributes."""
        reply = self.call(Tstat(fid))
        assert isinstance(reply, Rstat), reply
        return reply.stat

    def entries(self, data: bytes) -> list[str]:
        """The names in what reading a directory gave."""
        return [entry.name for entry in self._codec.decode_stats(data)]

    def take(self) -> list[tuple[Tag, Record]]:
        """The late replies since the last call."""
        taken, self.replies[:] = self.replies[:], []
        return taken

    def _receive(self, frame: bytes) -> None:
        self.replies.append(self._codec.decode(frame))
