"""The database server: a repository, and the addresses at which it is served over 9P.

This is where the parts of ``datakit`` are put together. A program that has a store of its own,
such as the CI service, serves it with :func:`serve_store`.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING

from datakit_core.dbfs import Access, DatabaseFiles, DatabaseRoot
from datakit_core.metrics import Address
from datakit_core.ninep.connection import ConnectionInfo, ConnectionLimits
from datakit_core.ninep.server import Server, serve
from datakit_core.resources import allow_open_files, collecting_when_idle, keep_freed_memory
from datakit_core.store import ANYTHING, FOR_OTHERS, Durability, FetchPolicy, Store
from datakit_core.store.maintenance import MaintenanceStatus, maintaining
from datakit_core.store.mirror import mirroring

if TYPE_CHECKING:  # only who wants metrics imports them
    from prometheus_client.registry import Collector

__all__ = ["DEFAULT_ADDRESS", "open_server", "run", "serve_store"]

_log = logging.getLogger(__name__)

DEFAULT_ADDRESS = "tcp://127.0.0.1:5640"
"""Loopback only: 9P over TCP asks nobody who they are."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@asynccontextmanager
async def serve_store(
    store: Store,
    addresses: Sequence[str],
    *,
    allow_fetch: FetchPolicy = FOR_OTHERS,
    listen_prometheus: Address | None = None,
    auto_push: str | None = None,
    listen_http: Sequence[str] = (),
    maintenance: bool = True,
    limits: ConnectionLimits | None = None,
    figures: Sequence[Collector] = (),
) -> AsyncIterator[Server]:
    """Serve ``store`` over 9P until the context is left.

    Args:
        store: An open database, which stays the caller's.
        addresses: Where to listen, as :mod:`datakit_core.ninep.endpoint` describes; TCP port 0
            is a free one, which the server's ``endpoints`` name.
        allow_fetch: What clients may have fetched that come from the network, or are limited to
            some branches. Those on a Unix socket have our user's rights anyway.
        listen_prometheus: Where to serve the metrics; nowhere by default.
        auto_push: Where to mirror every branch, if anywhere, as
            :func:`datakit_core.store.mirror.mirroring` says.
        listen_http: Where to serve the repository by Git's smart HTTP, as
            :class:`datakit_core.smart_http.HttpAddress` reads it; nowhere by default.
        maintenance: Whether to keep the repository quick and small meanwhile.
        limits: How many may connect, and what they may use.
        figures: Further metrics, of the caller.

    Raises:
        ConfigError: An address is none, or is in use; or a URL is not allowed.
    """
    files = DatabaseFiles(store)

    def root(connection: ConnectionInfo) -> closing[DatabaseRoot]:
        branches = connection.endpoint.branches
        trusted = connection.local and not branches
        return closing(
            files.connect(Access(branches, ANYTHING if trusted else allow_fetch), connection.budget)
        )

    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serve(root, *addresses, limits=limits))
        for url in listen_http:
            from datakit_core.smart_http import HttpAddress, serve_http  # only for who wants it

            await stack.enter_async_context(serve_http(store.path, HttpAddress.parse(url)))
        lag: Callable[[], float] | None = None
        if auto_push is not None:
            lag = (await stack.enter_async_context(mirroring(store, auto_push))).status.lag
        upkeep: MaintenanceStatus | None = None
        if maintenance:
            upkeep = (await stack.enter_async_context(maintaining(store))).status
        if listen_prometheus is not None:
            from datakit_core.monitoring import Sources, serve_metrics  # only for who wants it

            sources = Sources(server, files, store, auto_push_lag=lag, maintenance=upkeep)
            await stack.enter_async_context(serve_metrics(sources, listen_prometheus, *figures))
        yield server


@asynccontextmanager
async def open_server(
    path: Path | None,
    addresses: Sequence[str],
    *,
    allow_fetch: FetchPolicy = FOR_OTHERS,
    listen_prometheus: Address | None = None,
    auto_push: str | None = None,
    listen_http: Sequence[str] = (),
    maintenance: bool = True,
    durability: Durability = Durability.FULL,
    limits: ConnectionLimits | None = None,
) -> AsyncIterator[Server]:
    """Open the repository at ``path`` and serve it.

    Args:
        path: A bare repository, made if the directory is absent or empty; none serves a new one
            that goes away with the server.
        addresses: As for :func:`serve_store`.
        allow_fetch: As for :func:`serve_store`.
        listen_prometheus: As for :func:`serve_store`.
        auto_push: As for :func:`serve_store`.
        listen_http: As for :func:`serve_store`.
        maintenance: As for :func:`serve_store`.
        durability: What an acknowledged commit survives.
        limits: As for :func:`serve_store`.

    Raises:
        RepositoryError: The repository cannot be served.
        ConfigError: An address is none, or is in use; or a URL is not allowed.
    """
    async with AsyncExitStack() as stack:
        if path is None:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="datakit-")))
        store = await stack.enter_async_context(
            Store.open(path, create=True, durability=durability)
        )
        yield await stack.enter_async_context(
            serve_store(
                store,
                addresses,
                allow_fetch=allow_fetch,
                listen_prometheus=listen_prometheus,
                auto_push=auto_push,
                listen_http=listen_http,
                maintenance=maintenance,
                limits=limits,
            )
        )


async def run(
    path: Path | None,
    addresses: Sequence[str],
    announce: Callable[[Server], None],
    *,
    allow_fetch: FetchPolicy = FOR_OTHERS,
    listen_prometheus: Address | None = None,
    auto_push: str | None = None,
    listen_http: Sequence[str] = (),
    maintenance: bool = True,
    durability: Durability = Durability.FULL,
    limits: ConnectionLimits | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM comes.

    Args:
        path: As for :func:`open_server`.
        addresses: As for :func:`serve_store`.
        announce: Called once, when clients can connect.
        allow_fetch: As for :func:`serve_store`.
        listen_prometheus: As for :func:`serve_store`.
        auto_push: As for :func:`serve_store`.
        listen_http: As for :func:`serve_store`.
        maintenance: As for :func:`serve_store`.
        durability: What an acknowledged commit survives.
        limits: As for :func:`serve_store`.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    allow_open_files()
    keep_freed_memory()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.set)
    try:
        async with (
            AsyncExitStack() as stack,
            open_server(
                path,
                addresses,
                allow_fetch=allow_fetch,
                listen_prometheus=listen_prometheus,
                auto_push=auto_push,
                listen_http=listen_http,
                maintenance=maintenance,
                durability=durability,
                limits=limits,
            ) as server,
        ):
            stack.enter_context(collecting_when_idle())
            announce(server)
            await stop.wait()
            _log.info("stopping")
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
