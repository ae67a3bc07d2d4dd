"""A mail server of a few lines: speaks as much of SMTP (RFC 5321) as a client needs to deliver."""

from __future__ import annotations

import asyncio
import base64
import email
import email.policy
import ssl
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
        away: How many of the next clients it hangs up on, as a server does that is not ready.
        tls: With it mail is taken only after STARTTLS (RFC 3207), and ``login``.
        login: User and password of AUTH PLAIN (RFC 4954).
        failed: Why clients did not get so far as to send something: ``login`` or ``tls``.
        in_clear: What clients have said before the connection was encrypted.
        got: To whom, and what.
    """

    address: str = ""
    answers: list[bytes] = field(default_factory=list)
    away: int = 0
    tls: ssl.SSLContext | None = None
    login: tuple[str, str] = ("", "")
    failed: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    in_clear: list[bytes] = field(default_factory=list)
    got: asyncio.Queue[tuple[list[str], EmailMessage]] = field(default_factory=asyncio.Queue)
    _clients: set[asyncio.Task[object]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk with one client."""
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has gone
        finally:
            self._clients.discard(task)
            writer.close()

    async def end(self) -> None:
        """Hang up on who is still there: a client's thread outlives the test that it belongs to."""
        for each in (clients := set(self._clients)):
            each.cancel()
        if clients:
            await asyncio.wait(clients)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.away:
            self.away -= 1
            return
        writer.write(b"220 here\r\n")
        if self.tls is None or await self._begin(reader, writer, self.tls):
            await self._deliver(reader, writer)

    async def _begin(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tls: ssl.SSLContext
    ) -> bool:
        """Encrypt, and have the client log in; whether that went well."""
        while (line := await reader.readline()).strip() not in (b"STARTTLS", b""):
            self.in_clear.append(line.strip())
            writer.write(b"250-here\r\n250 STARTTLS\r\n")
        writer.write(b"220 go on\r\n")
        try:
            await writer.start_tls(tls)
            return await self._log_in(reader, writer)
        except (ssl.SSLError, ConnectionError):  # the client does not know us
            self.failed.put_nowait("tls")
            return False

    async def _log_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        while line := await reader.readline():
            match line.split():
                case [b"AUTH", b"PLAIN", given]:
                    if base64.b64decode(given).decode().split("\0")[1:] == list(self.login):
                        writer.write(b"235 welcome\r\n")
                        return True
                    self.failed.put_nowait("login")
                    writer.write(b"535 who are you\r\n")
                case [b"ehlo", *_]:
                    writer.write(b"250-here\r\n250 AUTH PLAIN\r\n")
                case [b"QUIT"]:
                    writer.write(b"221 bye\r\n")
                case _:
                    writer.write(b"530 log in\r\n")
        return False

    async def _deliver(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        people: list[str] = []
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
        server.close()
        await found.end()
