"""A blocking session of 9P2000.L, for what a benchmark prepares, and for replies to be counted."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from datakit_core.ninep import LINUX
from datakit_core.ninep.codec import HEADER_SIZE, codec_for
from datakit_core.ninep.messages import Record, Rversion, Tattach, Tversion
from datakit_core.ninep.wire import NO_FID, NO_TAG, Fid, Tag

__all__ = ["HELLO", "MSIZE", "ROOT", "Session", "codec"]

MSIZE = (1 << 20) + 24
ROOT = Fid(0)
_AT_ONCE = 64
"""Requests that are sent before replies are read, so that neither side's buffers fill up."""

codec = codec_for(LINUX)
HELLO = codec.encode(NO_TAG, Tversion(MSIZE, LINUX.version))


class Session:
    """One connection.

    Attributes:
        msize: The longest message that the server agrees to.
        connection: For what is sent and received besides.
    """

    def __init__(self, port: int) -> None:
        """Connect to a server on loopback."""
        self.connection = socket.create_connection(("127.0.0.1", port))
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        self.connection.sendall(HELLO)
        version = self._reply()
        assert isinstance(version, Rversion)
        self.msize = version.msize

    def __enter__(self) -> Self:
        """The session itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self.connection.close()

    def attach(self, tree: str = "") -> None:
        """Bind :data:`ROOT`."""
        self.ask(Tattach(ROOT, NO_FID, "", tree, 0))

    def ask(self, *requests: Record) -> list[Record]:
        """The replies to requests that are sent together, some at a time.

        Raises:
            RuntimeError: One of them failed.
        """
        replies: list[Record] = []
        for at in range(0, len(requests), _AT_ONCE):
            some = requests[at : at + _AT_ONCE]
            self.send(some)
            replies += [self._checked(request) for request in some]
        return replies

    def send(self, requests: Sequence[Record]) -> None:
        """Send requests with tags from 0, without waiting for replies."""
        frames = [codec.encode(Tag(tag), request) for tag, request in enumerate(requests)]
        self.connection.sendall(b"".join(frames))

    def arrived(self) -> int:
        """Wait until something arrives, and count the replies that are complete by then."""
        self._receive()
        count = at = 0
        while len(self._buffer) - at >= HEADER_SIZE:
            size = int.from_bytes(self._buffer[at : at + 4], "little")
            if at + size > len(self._buffer):
                break
            at += size
            count += 1
        del self._buffer[:at]
        return count

    def _receive(self) -> None:
        data = self.connection.recv(1 << 20)
        if not data:
            raise RuntimeError("the server has closed the connection")
        self._buffer += data

    def _checked(self, request: Record) -> Record:
        reply = self._reply()
        if reply.number != request.number + 1:
            raise RuntimeError(f"{request} was answered {reply}")
        return reply

    def _reply(self) -> Record:
        """The next reply, whatever it answers."""
        while (size := int.from_bytes(self._buffer[:4], "little") or 4) > len(self._buffer):
            self._receive()
        frame = bytes(self._buffer[:size])
        del self._buffer[:size]
        return codec.decode(frame)[1]
