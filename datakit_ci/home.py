"""Where a service keeps its state: a database of its own, or one that a server has.

The engine does not know the difference. What differs is who serves the database to others, and
where builds read their inputs from: a repository of this machine either way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from datakit_ci.claim import claimed
from datakit_ci.executors.base import Executor
from datakit_ci.executors.dask.security import Credentials
from datakit_ci.executors.local import LocalExecutor
from datakit_ci.executors.objects import CopyingExecutor, ObjectCache
from datakit_ci.executors.routing import RoutingExecutor
from datakit_ci.settings import ServiceSettings
from datakit_core.client.api import Database
from datakit_core.client.local import LocalDatabase
from datakit_core.client.reconnect import ReconnectingDatabase, reconnecting
from datakit_core.metrics import Address
from datakit_core.ninep import private_key
from datakit_core.server import serve_store
from datakit_core.store import Durability, FetchPolicy, Store

if TYPE_CHECKING:  # only who wants metrics imports them
    from prometheus_client.registry import Collector

    from datakit_ci.executors.dask.opening import Farm

__all__ = ["Home", "open_home"]


@dataclass(frozen=True, slots=True)
class Home:
    """An open database, and an executor whose builds can read it.

    Attributes:
        database: The state.
        executor: Runs builds, on this machine or on others.
        listeners: URLs at which others find the database.
        local: The database again, if it is our own.
        remote: The database again, if a server has it.
        store: The repository, if it is our own.
        farm: The cluster that builds run on, if they do.
    """

    database: Database
    executor: Executor
    listeners: tuple[str, ...]
    local: LocalDatabase | None = None
    remote: ReconnectingDatabase | None = None
    store: Store | None = None
    farm: Farm | None = None

    def away(self) -> float:
        """For how many seconds the database has been away; 0 if it is there."""
        if self.remote is None or (since := self.remote.away) is None:
            return 0.0
        return max(0.0, (datetime.now(UTC) - since).total_seconds())

    def trouble(self) -> str:
        """What is wrong with the database or the cluster, for people; empty: nothing."""
        database = self._away()
        farm = "" if self.farm is None else self.farm.cluster.trouble
        return " ".join(filter(None, (database, farm)))

    def _away(self) -> str:
        if self.remote is None or (since := self.remote.away) is None:
            return ""
        return (
            f"The database at {self.listeners[0]} is away since {since:%H:%M:%S} UTC. Builds go "
            "on; what they come to is recorded when it is back."
        )


@asynccontextmanager
async def open_home(
    settings: ServiceSettings, figures: Sequence[Collector] = ()
) -> AsyncIterator[Home]:
    """Open the database that the settings name.

    Args:
        settings: What to open, and what to serve of it.
        figures: What to tell Prometheus besides, if it is to be told anything.

    Raises:
        ConfigError: An address or a URL makes no sense, or is in use; or another engine works in
            our directory.
        Disconnected: Nobody serves the database.
        RepositoryError: The repository cannot be opened, or another process has it.
    """
    async with AsyncExitStack() as stack:
        if settings.metadata_store:
            yield await _remote(settings, stack, figures)
        else:
            yield await _embedded(settings, stack, figures)


async def _embedded(
    settings: ServiceSettings, stack: AsyncExitStack, figures: Sequence[Collector]
) -> Home:
    durability = Durability.parse(settings.durability)
    store = await stack.enter_async_context(
        Store.open(settings.database, create=True, durability=durability)
    )
    server = await stack.enter_async_context(
        serve_store(
            store,
            settings.listen_9p,
            allow_fetch=FetchPolicy.parse(settings.allow_fetch),
            listen_prometheus=_metrics(settings),
            auto_push=settings.auto_push,
            listen_http=settings.listen_http,
            figures=figures,
        )
    )
    database = LocalDatabase(store)
    executor = _executor(database, settings.database, settings)
    await stack.enter_async_context(executor)
    listeners = tuple(str(endpoint) for endpoint in server.endpoints)
    home = Home(database, executor, listeners, local=database, store=store)
    return await _with_farm(home, settings, stack)


async def _remote(
    settings: ServiceSettings, stack: AsyncExitStack, figures: Sequence[Collector]
) -> Home:
    address = settings.metadata_store
    remedy = "start this engine in a checkout of its own"
    stack.enter_context(claimed(settings.work, remedy))
    if (page := _metrics(settings)) is not None:
        from datakit_core.monitoring import serve_process_metrics  # only for who wants it

        await stack.enter_async_context(serve_process_metrics(page, *figures))
    database = await stack.enter_async_context(reconnecting(address, patience=settings.patience))
    objects = ObjectCache(database, settings.work / "objects.git")
    await stack.enter_async_context(objects)
    executor = _executor(database, objects.path, settings)
    await stack.enter_async_context(executor)
    home = Home(database, CopyingExecutor(executor, objects), (address,), remote=database)
    return await _with_farm(home, settings, stack)


async def _with_farm(home: Home, settings: ServiceSettings, stack: AsyncExitStack) -> Home:
    """Have builds run elsewhere, if that is wanted."""
    kind, _, address = settings.executor.partition(":")
    if kind != "dask":
        return home
    from datakit_ci.executors.dask.extra import needed  # only for who wants it

    needed()
    from datakit_ci.executors.dask.opening import open_farm

    farm = await stack.enter_async_context(
        open_farm(
            address,
            settings.executor_tls,
            home.database,
            settings.pipeline,
            settings.patience,
        )
    )
    return replace(home, executor=RoutingExecutor(home.executor, farm.executor), farm=farm)


def _metrics(settings: ServiceSettings) -> Address | None:
    return Address.parse(settings.listen_prometheus) if settings.listen_prometheus else None


def _executor(database: Database, repository: Path, settings: ServiceSettings) -> LocalExecutor:
    return LocalExecutor(
        database,
        repository,
        settings.pipeline,
        settings.work / "builds",
        hidden=_private(settings),
    )


def _private(settings: ServiceSettings) -> Sequence[Path]:
    """What of ours no build shall read, besides the database."""
    addresses = filter(None, (*settings.listen_9p, settings.metadata_store))
    files = [
        *map(private_key, addresses),
        settings.tls_key,
        Credentials.parse(settings.executor_tls).key,
        settings.login_providers,
        settings.accounts,
    ]
    return [path for path in files if path is not None]
