"""A database that is really served: a store, and 9P on a free port of loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from datakit_core.ninep.endpoint import TcpEndpoint
from datakit_core.ninep.server import Server
from datakit_core.server import serve_store
from datakit_core.store import ANYTHING, Store
from tests.support.databases import open_store

__all__ = ["Served", "serve"]


@dataclass(frozen=True, slots=True)
class Served:
    """A database and where it is served."""

    store: Store
    port: int
    server: Server

    @property
    def address(self) -> str:
        """For our own client."""
        return f"tcp://127.0.0.1:{self.port}"


@asynccontextmanager
async def serve(path: Path) -> AsyncIterator[Served]:
    """Serve the repository at ``path``, made if it is absent."""
    async with (
        open_store(path) as store,
        serve_store(store, ["tcp://127.0.0.1:0"], allow_fetch=ANYTHING) as server,
    ):
        (endpoint,) = server.endpoints
        assert isinstance(endpoint, TcpEndpoint)
        yield Served(store, endpoint.port, server)
