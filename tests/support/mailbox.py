"""A mail server of a few lines: speaks as much of SMTP (RFC 5321) as a client needs to deliver."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage

__all__ = ["MailServer", "mail_server"]


@dataclass
class MailServer:
    """Keeps what it is sent.

    Attributes:
        address: ``HOST:PORT``.
        answers: The next answers to a message's end, instead of taking it.
        got: To whom, and what.
    """

    address: str = ""
    answers: list[bytes] = field(default_factory=list)
    got: asyncio.Queue[tuple[list[str], EmailMessage]] = field(default_factory=asyncio.Queue)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk with one client."""
        people: list[str] = []
        writer.write(b"220 here\r\n")
        while line := await reader.readline():
            match line.split(b":")[0].strip().upper().split(b" "):
                case [b"RCPT", *_]:
                    people.append(line.partition(b"<")[2].partition(b">")[0].decode())
                    writer.write(b"250 ok\r\n")
                case [b"DATA"]:
                    writer.write(b"354 go on\r\n")
                    self._take(people, await reader.readuntil(b"\r\n.\r\n"), writer)
                    people = []
                case [b"QUIT"]:
                    writer.write(b"221 bye\r\n")
                    break
                case _:
                    writer.write(b"250 ok\r\n")
        writer.close()

    def _take(self, people: list[str], data: bytes, writer: asyncio.StreamWriter) -> None:
        if self.answers:
            writer.write(self.answers.pop(0))
            return
        message = email.message_from_bytes(data[:-3], policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        self.got.put_nowait((people, message))
        writer.write(b"250 taken\r\n")


@asynccontextmanager
async def mail_server() -> AsyncIterator[MailServer]:
    """A server on loopback, for a test."""
    found = MailServer()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    found.address = f"{host}:{port}"
    async with server:
        yield found
