"""Serves nodes over 9P.

::

    async with serve(lambda connection: root, "tcp://127.0.0.1:5640") as server:
        await server.serve_forever()
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from datakit_core.budget import Budget
from datakit_core.ninep.connection import Connection, ConnectionLimits, RootFactory
from datakit_core.ninep.endpoint import Endpoint, parse_endpoint
from datakit_core.ninep.listening import open_socket, remove_socket, security
from datakit_core.ninep.traffic import Traffic

__all__ = ["Server", "serve"]

logger = logging.getLogger(__name__)

_COMPLAIN_EVERY = 60.0
"""Seconds between two lines in the log that clients were turned away."""


def serve(
    root: RootFactory, *endpoints: str | Endpoint, limits: ConnectionLimits | None = None
) -> Server:
    """A server for ``async with``; it listens from entering to leaving.

    Args:
        root: Makes what each new connection sees: a directory, or a context manager that yields
            one and is left when the connection has ended and no request of it is under way.
        endpoints: URLs as :mod:`datakit_core.ninep.endpoint` describes them.
        limits: What each connection may use.

    Raises:
        ConfigError: An endpoint cannot be parsed; on entering: cannot be listened on.
    """
    parsed = [parse_endpoint(each) if isinstance(each, str) else each for each in endpoints]
    return Server(root, parsed, limits or ConnectionLimits())


class Server:
    """Listens on endpoints; made by :func:`serve`.

    Attributes:
        endpoints: Where it listens, with the ports that the system has chosen.
        traffic: What has gone by.
    """

    def __init__(
        self, root: RootFactory, endpoints: Sequence[Endpoint], limits: ConnectionLimits
    ) -> None:
        """Remember; listening begins with ``async with``."""
        self.endpoints = tuple(endpoints)
        self.traffic = Traffic()
        self._root = root
        self._limits = limits
        self._listeners: list[asyncio.Server] = []
        self._bound: list[Endpoint] = []
        self._connections: set[Connection] = set()
        self._count = 0
        self._group = asyncio.TaskGroup()
        self._budget = Budget(limits.server_memory)
        self._turned_away = 0
        self._complained = -_COMPLAIN_EVERY

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    @property
    def opened(self) -> int:
        """How many have ever connected."""
        return self._count

    @property
    def memory(self) -> int:
        """Bytes that all clients make the server hold, roughly."""
        return self._budget.used

    @property
    def fids(self) -> int:
        """How many fids all clients have bound."""
        return sum(connection.fids for connection in self._connections)

    @property
    def waiting(self) -> int:
        """How many requests have no reply so far, blocked reads of streams among them."""
        return sum(connection.waiting for connection in self._connections)

    async def __aenter__(self) -> Self:
        """Listen on all endpoints, or on none and raise."""
        await self._group.__aenter__()
        try:
            for endpoint in self.endpoints:
                await self._listen(endpoint)
        except BaseException:
            await self._stop()
            raise
        self.endpoints = tuple(self._bound)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop listening, and end the connections."""
        await self._stop()

    async def serve_forever(self) -> None:
        """Wait until the task is cancelled."""
        await asyncio.Event().wait()

    async def _listen(self, endpoint: Endpoint) -> None:
        loop = asyncio.get_running_loop()
        tls = security(endpoint)
        listener, bound = open_socket(endpoint)
        self._bound.append(bound)

        def connection() -> Connection:
            budget = Budget(self._limits.memory, "connection", self._budget)
            return Connection(bound, self._root, self._limits, self._opened, self.traffic, budget)

        if listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            timeout = None if tls is None else self._limits.tls_handshake
            self._listeners.append(
                await loop.create_server(
                    connection, sock=listener, ssl=tls, ssl_handshake_timeout=timeout
                )
            )
        else:
            await loop.connect_accepted_socket(connection, listener)
        logger.info("serving 9P on %s", bound)

    async def _stop(self) -> None:
        for listener in self._listeners:
            listener.close()
        for endpoint in self._bound:
            remove_socket(endpoint)
        for connection in tuple(self._connections):
            connection.stop()
        await self._group.__aexit__(None, None, None)

    def _opened(self, connection: Connection) -> int | None:
        """Run a new connection; its number. None if there are too many."""
        if len(self._connections) >= self._limits.max_connections:
            self._turn_away()
            return None
        self._count += 1
        self._connections.add(connection)
        task = self._group.create_task(connection.run())
        task.add_done_callback(lambda _: self._connections.discard(connection))
        return self._count

    def _turn_away(self) -> None:
        self.traffic.refused += 1
        self._turned_away += 1
        now = asyncio.get_running_loop().time()
        if now - self._complained >= _COMPLAIN_EVERY:
            logger.warning(
                "turned %d clients away: there are %d connections, as many as may be",
                self._turned_away,
                len(self._connections),
            )
            self._complained, self._turned_away = now, 0
