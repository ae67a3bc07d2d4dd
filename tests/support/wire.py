"""A client that sends raw frames over a real socket, and reads what comes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self

from datakit_core.ninep import PLAIN, Endpoint, TcpEndpoint, UnixEndpoint
from datakit_core.ninep.codec import codec_for
from datakit_core.ninep.dialect import Dialect
from datakit_core.ninep.messages import Record, Tattach, Tversion
from datakit_core.ninep.wire import NO_FID, NO_TAG, Tag
from tests.support.peer import ROOT

__all__ = ["RawClient"]


class RawClient:
    """Sends bytes and messages as a test wants them, also wrong ones."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._codec = codec_for(PLAIN)

    @classmethod
    async def connect(cls, endpoint: Endpoint) -> Self:
        """Connect, and no more."""
        match endpoint:
            case TcpEndpoint(host, port):
                return cls(*await asyncio.open_connection(host, port))
            case UnixEndpoint(path):
                return cls(*await asyncio.open_unix_connection(str(path)))
            case _:
                raise AssertionError(endpoint)

    async def attach(self, msize: int = 8192, dialect: Dialect = PLAIN) -> Self:
        """Agree on the version and bind the root."""
        self._codec = codec_for(dialect)
        self.send(Tversion(msize, dialect.version), NO_TAG)
        self.send(Tattach(ROOT, NO_FID, "", ""), 0)
        await self.receive()
        await self.receive()
        return self

    def encode(self, message: Record, tag: int) -> bytes:
        """The frame for a message."""
        return self._codec.encode(Tag(tag), message)

    def send(self, message: Record, tag: int) -> None:
        """Send one message."""
        self.writer.write(self.encode(message, tag))

    async def receive(self) -> tuple[int, Record]:
        """The next message; EOFError when the server has closed the connection."""
        head = await self.reader.readexactly(4)
        return self._codec.decode(
            head + await self.reader.readexactly(int.from_bytes(head, "little") - 4)
        )

    async def at_end(self) -> bool:
        """Wait until the server closes the connection."""
        try:
            return await self.reader.read() == b""
        except ConnectionError:
            return True

    async def close(self) -> None:
        """Close the connection, whether or not the server takes what was sent."""
        self.writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()
