"""The page that Prometheus reads: ``GET /metrics``, over HTTP/1.1, one request a connection.

It is answered on the event loop that it tells of: the figures are consistent, and need no locks.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from datakit_core.errors import ConfigError
from datakit_core.metrics.address import Address

__all__ = ["serve_page"]

_log = logging.getLogger(__name__)

_MOST = 1 << 14
"""Bytes of a request, with its headers."""

_PATIENCE = 5.0
"""Seconds in which a request must have come and its reply been taken."""

_CONNECTIONS = 16
"""Requests at a time; more are turned away."""


@asynccontextmanager
async def serve_page(registry: CollectorRegistry, address: Address) -> AsyncIterator[Address]:
    """Serve what ``registry`` collects until the context is left.

    Yields:
        The address, with the port that the system has chosen if it was 0.

    Raises:
        ConfigError: It cannot be listened on.
    """
    page = _Page(registry)
    try:
        server = await asyncio.start_server(page.serve, address.host, address.port, limit=_MOST)
    except OSError as error:
        in_use = error.errno == errno.EADDRINUSE
        reason = "it is in use; choose another port" if in_use else error.strerror or str(error)
        raise ConfigError(
            f"cannot listen on {address.host}:{address.port}: {reason}", "--listen-prometheus"
        ) from error
    try:
        port = server.sockets[0].getsockname()[1]
        bound = Address(address.host, port)
        _log.info("serving metrics on %s", bound)
        yield bound
    finally:
        server.close()
        await page.close()


class _Page:
    """Answers requests for the page."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._open: set[asyncio.StreamWriter] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, and close."""
        if len(self._open) >= _CONNECTIONS:
            writer.transport.abort()
            return
        self._open.add(writer)
        self._idle.clear()
        try:
            async with asyncio.timeout(_PATIENCE):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._reply(head.decode("latin-1")))
                writer.close()
                await writer.wait_closed()
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass  # it went away, or is no HTTP client
        except Exception:  # noqa: BLE001 - a bug is for the log, and ends only this request
            _log.exception("the metrics could not be collected")
        finally:
            writer.transport.abort()
            self._open.discard(writer)
            if not self._open:
                self._idle.set()

    async def close(self) -> None:
        """End what is under way."""
        for writer in self._open:
            writer.transport.abort()
        await self._idle.wait()

    def _reply(self, head: str) -> bytes:
        """The reply to a request (RFC 9112)."""
        request, *lines = head.split("\r\n")
        match request.split(" "):
            case ["GET" | "HEAD" as method, target, "HTTP/1.0" | "HTTP/1.1"]:
                pass
            case [_, _, "HTTP/1.0" | "HTTP/1.1"]:
                return _http("405 Method Not Allowed", b"Only GET and HEAD.\n", "Allow: GET, HEAD")
            case _:
                return _http("400 Bad Request", b"This is no HTTP request.\n")
        if target.partition("?")[0] not in {"/metrics", "/"}:
            return _http("404 Not Found", b"The metrics are at /metrics.\n")
        headers = {name.strip().lower(): value for name, _, value in map(_header, lines)}
        encode, kind = choose_encoder(headers.get("accept", ""))
        reply = _http("200 OK", encode(self._registry), f"Content-Type: {kind}")
        return reply if method == "GET" else reply.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


def _header(line: str) -> tuple[str, str, str]:
    return line.partition(":")


def _http(status: str, body: bytes, *headers: str) -> bytes:
    length = f"Content-Length: {len(body)}"
    lines = [f"HTTP/1.1 {status}", length, "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body
