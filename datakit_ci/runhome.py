"""Where a run in the terminal keeps its things, and where its builds run.

That is the repository's own ``.datakit``, or a temporary database if a service has that one. On a
cluster builds need the database, too: then it is served for as long as the run lasts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from datakit_ci.crew import Crew
from datakit_ci.executors.base import Executor
from datakit_ci.executors.local import LocalExecutor
from datakit_ci.executors.routing import RoutingExecutor
from datakit_ci.localrun import DATABASE, LocalRun
from datakit_core.client.api import Database
from datakit_core.client.local import LocalDatabase
from datakit_core.errors import RepositoryError
from datakit_core.ninep import PATIENCE
from datakit_core.store import FetchPolicy, Store

if TYPE_CHECKING:  # only who wants a cluster imports it
    from datakit_ci.executors.dask.opening import Farm

__all__ = ["RunHome", "open_run_home"]


@dataclass(frozen=True, slots=True)
class RunHome:
    """A run's own.

    Attributes:
        database: The open database.
        repository: Its repository.
        executor: Runs builds.
        farm: The cluster that they run on, if they do.
    """

    database: Database
    repository: Path
    executor: Executor
    farm: Farm | None = None

    @property
    def work(self) -> Path:
        """Where builds and logs go; the same place as in a service on this database."""
        return _work(self.repository)

    def listen(self, employ: Callable[[Crew], None], note: Callable[[str], None]) -> None:
        """Tell of each look at who works on the cluster, and once of each new trouble there."""
        if self.farm is None:
            return
        cluster, last, loop = self.farm.cluster, "", asyncio.get_running_loop()

        def tell() -> None:
            nonlocal last
            if cluster.trouble != last and (last := cluster.trouble):
                note(last)

        def changed(crew: Crew) -> None:
            employ(crew)
            loop.call_soon(tell)  # by then it is known what the look came to

        employ(cluster.crew)
        cluster.listen(changed)


@asynccontextmanager
async def open_run_home(run: LocalRun, note: Callable[[str], None]) -> AsyncIterator[RunHome]:
    """Open the database and what runs builds.

    Args:
        run: What is to be run.
        note: Takes what people should know.

    Raises:
        ConfigError: An address or a file for the cluster makes no sense, or is in use.
    """
    async with AsyncExitStack() as stack:
        repository = run.state / DATABASE
        try:
            store = await stack.enter_async_context(Store.open(repository, create=True))
        except RepositoryError as error:
            note(f"note: {error}; using a temporary database")
            temporary = stack.enter_context(TemporaryDirectory(prefix="datakit-"))
            repository = Path(temporary) / DATABASE
            store = await stack.enter_async_context(Store.open(repository, create=True))
        database = LocalDatabase(store)
        builds, pipeline = _work(repository) / "builds", run.wanted.pipeline
        local = LocalExecutor(database, repository, pipeline, builds)
        await stack.enter_async_context(local)
        home = RunHome(database, repository, local)
        yield await _on_farm(home, run, store, stack, note)


def _work(repository: Path) -> Path:
    return repository.with_name(f"{repository.stem}.work")


async def _on_farm(
    home: RunHome, run: LocalRun, store: Store, stack: AsyncExitStack, note: Callable[[str], None]
) -> RunHome:
    """Serve the database and have builds run elsewhere, if that is wanted."""
    kind, _, address = run.wanted.executor.partition(":")
    if kind != "dask":
        return home
    from datakit_ci.executors.dask.extra import needed

    needed()
    from datakit_ci.executors.dask.opening import open_farm
    from datakit_core.server import serve_store

    server = await stack.enter_async_context(
        serve_store(
            store, run.wanted.listen_9p, allow_fetch=FetchPolicy.parse("none"), maintenance=False
        )
    )
    for endpoint in server.endpoints:
        note(f"database {endpoint}, for workers: datakit-ci worker --metadata-store URL")
    farm = await stack.enter_async_context(
        open_farm(address, run.wanted.executor_tls, home.database, run.wanted.pipeline, PATIENCE)
    )
    executor = RoutingExecutor(home.executor, farm.executor)
    return RunHome(home.database, home.repository, executor, farm)
