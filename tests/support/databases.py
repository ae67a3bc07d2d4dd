"""Databases for tests: every back end of the client API, each on a scratch repository."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

from datakit_core.client.api import Database
from datakit_core.client.local import LocalDatabase
from datakit_core.client.reconnect import reconnecting
from datakit_core.client.remote import connect
from datakit_core.server import serve_store
from datakit_core.store import ANYTHING, InlineWriter, Store

__all__ = ["BACK_ENDS", "BackEnd", "open_store"]

BackEnd: TypeAlias = Callable[[Path], AbstractAsyncContextManager[Database]]
"""Opens a database on the repository at a path, which is made if it is absent."""


def open_store(path: Path) -> AbstractAsyncContextManager[Store]:
    """A store that writes in this process: quick to open, and the same code as the child's."""
    return Store.open(path, create=True, writer=InlineWriter)


@asynccontextmanager
async def _local(path: Path) -> AsyncIterator[Database]:
    async with open_store(path) as store:
        yield LocalDatabase(store)


@asynccontextmanager
async def _remote(path: Path) -> AsyncIterator[Database]:
    async with (
        open_store(path) as store,
        serve_store(store, ["tcp://127.0.0.1:0"], allow_fetch=ANYTHING) as server,
        connect(str(server.endpoints[0])) as database,
    ):
        yield database


@asynccontextmanager
async def _reconnecting(path: Path) -> AsyncIterator[Database]:
    async with (
        open_store(path) as store,
        serve_store(store, ["tcp://127.0.0.1:0"], allow_fetch=ANYTHING) as server,
        reconnecting(str(server.endpoints[0])) as database,
    ):
        yield database


BACK_ENDS: dict[str, BackEnd] = {
    "local": _local,
    "reconnecting": _reconnecting,
    "remote": _remote,
}
"""Name to back end; the suites of ``tests/conformance`` run over all of them."""
