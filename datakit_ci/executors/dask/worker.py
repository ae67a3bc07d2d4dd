"""A worker of a Dask cluster that runs our builds: ``datakit-ci worker``.

It has what an engine has on its own machine: an executor for child processes, and a bounded
repository with the inputs of builds, copied from the database. When the scheduler is lost, what
runs is ended, and another scheduler at the same address is waited for: the engine asks again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from distributed import Worker
from distributed.core import rpc
from distributed.security import Security
from distributed.worker import DEFAULT_METRICS

from datakit_ci.claim import claimed
from datakit_ci.executors.dask.cluster import ANNOUNCED, reason
from datakit_ci.executors.dask.crew import METRIC
from datakit_ci.executors.dask.plugin import BuildPlugin
from datakit_ci.executors.dask.pools import resource_of
from datakit_ci.executors.dask.security import Credentials
from datakit_ci.executors.dask.silence import end_when_silent
from datakit_ci.executors.dask.versions import PLENTY, Versions
from datakit_ci.executors.local import LocalExecutor
from datakit_ci.executors.objects import CopyingExecutor, ObjectCache
from datakit_ci.executors.sparing import Sparing
from datakit_core.client.reconnect import Backoff, ReconnectingDatabase, reconnecting
from datakit_core.errors import ConfigError
from datakit_core.ninep import PATIENCE, private_key

__all__ = ["WorkerOptions", "run_worker"]

_log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_LOOK = 0.5
"""Seconds between two looks at whether the database is there."""

_TAKEN = "name taken"
"""What a scheduler answers to a worker with the name of another one (Dask's ``add_worker``)."""

_CONNECT = 10.0
"""Seconds for one attempt to reach the scheduler."""


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What ``datakit-ci worker`` was asked to do.

    Attributes:
        scheduler: Its address.
        database: Where the database is served, as :func:`datakit_core.client.connect` has it.
        pools: Units by name.
        name: By which people know it.
        work: A directory of its own.
        cache: Bytes of inputs that are kept.
        credentials: For ``tls://``.
        host: Where it listens and others on the cluster reach it; none: at the address from which
            the scheduler is reached.
        patience: Seconds of silence after which the scheduler or the database counts as away.
    """

    scheduler: str
    database: str
    pools: Mapping[str, int]
    name: str
    work: Path
    cache: int
    credentials: Credentials = field(default_factory=Credentials)
    host: str | None = None
    patience: float = PATIENCE


async def run_worker(options: WorkerOptions, announce: Callable[[str, str, str], None]) -> None:
    """Work until SIGINT or SIGTERM; builds that run then are ended, and run elsewhere.

    Args:
        options: What to do.
        announce: Called with the worker's name, its address and its pools, each time that it
            works for a scheduler.

    Raises:
        ConfigError: A version does not fit, or a file of TLS makes no sense.
        Disconnected: Nobody serves the database.
    """
    security = options.credentials.security("worker", options.scheduler)
    end_when_silent(options.patience)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.set)
    try:
        async with _bench(options) as bench:
            await _work(options, security, bench, stop, announce)
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


@dataclass(frozen=True, slots=True)
class _Bench:
    """What all builds of this machine share, whichever scheduler sends them."""

    executor: CopyingExecutor
    database: ReconnectingDatabase
    cache: ObjectCache


@asynccontextmanager
async def _bench(options: WorkerOptions) -> AsyncIterator[_Bench]:
    async with AsyncExitStack() as stack:
        stack.enter_context(claimed(options.work, "give each worker a --work of its own"))
        database = await stack.enter_async_context(
            reconnecting(options.database, patience=options.patience)
        )
        cache = ObjectCache(database, options.work / "objects.git", options.cache)
        await stack.enter_async_context(cache)
        # The pipeline's file comes with each order, as a tree: there is none of our own.
        nowhere = options.work / "pipeline.py"
        outputs = Sparing(database, lambda: cache.held, options.work)
        keys = (options.credentials.key, private_key(options.database))
        local = LocalExecutor(
            outputs,
            cache.path,
            nowhere,
            options.work / "builds",
            hidden=[options.work, *filter(None, keys)],
        )
        await stack.enter_async_context(local)
        yield _Bench(CopyingExecutor(local, cache), database, cache)


async def _work(
    options: WorkerOptions,
    security: Security,
    bench: _Bench,
    stop: asyncio.Event,
    announce: Callable[[str, str, str], None],
) -> None:
    """Work for one scheduler after the other."""
    backoff, failures = Backoff(0.2, min(10.0, options.patience)), 0
    pools = ", ".join(f"{units} of {pool}" for pool, units in sorted(options.pools.items()))
    while not stop.is_set():
        try:
            await _check_versions(options, security)
            async with _worker(options, security, bench) as worker:
                failures = 0
                announce(options.name, worker.address, pools)
                await _until_lost(worker, bench.database, stop)
            if not stop.is_set():
                _log.warning("the scheduler at %s is lost", options.scheduler)
        except (OSError, TimeoutError) as error:
            failures += 1
            if failures == 1:
                _log.warning("no scheduler at %s: %s; waiting", options.scheduler, reason(error))
        except RuntimeError as error:
            if not reason(error).startswith(_TAKEN):
                raise
            failures += 1
            if failures == 1:
                _log.warning(
                    "the scheduler at %s has a worker %s; if that was this one, it is forgotten "
                    "soon; if not, choose another --name",
                    options.scheduler,
                    options.name,
                )
        if not stop.is_set():
            await _pause(stop, backoff.delay(max(1, failures)))


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


async def _until_lost(worker: _Worker, database: ReconnectingDatabase, stop: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as tasks:
        minding = [
            tasks.create_task(_seek(database)),
            tasks.create_task(_withdraw_while_cut_off(worker, database)),
        ]
        stopping = tasks.create_task(stop.wait())
        finished = tasks.create_task(worker.finished())  # type: ignore[no-untyped-call]
        unheard = tasks.create_task(worker.unheard.wait())
        ends = {stopping, finished, unheard}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in (*ends, *minding):
            task.cancel()


async def _seek(database: ReconnectingDatabase) -> None:
    """Look for a database that is away also while no build asks for anything."""
    while True:
        await asyncio.sleep(_LOOK)
        if database.away is not None:
            await database.connected()


async def _withdraw_while_cut_off(worker: _Worker, database: ReconnectingDatabase) -> None:
    """Get no builds while the database cannot be reached from here: others may be able to."""
    while True:
        await asyncio.sleep(_LOOK)
        away = timedelta() if database.away is None else datetime.now(UTC) - database.away
        is_cut_off = away.total_seconds() > worker.patience
        if is_cut_off != worker.is_cut_off:
            worker.is_cut_off = is_cut_off
            with contextlib.suppress(OSError):  # if the scheduler is away, too, it is noticed soon
                await worker.set_resources(**{Versions.own().resource: 0 if is_cut_off else PLENTY})


class _Worker(Worker):
    """Dask's worker, which knows when nobody hears it any more.

    Dask's own goes on with what runs until its connection has ended, which a cut link may take
    long for; by then the scheduler has had it run elsewhere.

    Attributes:
        patience: Seconds that a heartbeat may take.
        unheard: Set when one took longer.
        is_cut_off: Whether the database has been away for that long; told with each heartbeat.
    """

    def __init__(self, *arguments: Any, patience: float, **options: Any) -> None:
        """As Dask's."""
        self.patience = patience
        self.unheard = asyncio.Event()
        self.is_cut_off = False
        super().__init__(*arguments, **options)

    async def heartbeat(self) -> None:
        """Tell the scheduler that we are there, and wait for its answer."""
        try:
            async with asyncio.timeout(self.patience):
                await super().heartbeat()
        except TimeoutError:
            self.unheard.set()
            if (stream := self.batched_stream) is not None and stream.comm is not None:
                stream.comm.abort()  # when the link is mended we shall be somebody new

    def start_http_server(self, *_: object, **__: object) -> None:
        """No page, which would be served to everybody: who works is on the dashboard."""


def _address_towards(scheduler: str) -> str:
    """The address of this machine from which another one is reached; nothing is sent.

    Raises:
        OSError: There is no way there.
    """
    parts = urlsplit(scheduler)
    found = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_DGRAM)
    family, kind, _, _, address = found[0]
    with socket.socket(family, kind) as probe:
        probe.connect(address)
        return str(probe.getsockname()[0])


@asynccontextmanager
async def _worker(
    options: WorkerOptions, security: Security, bench: _Bench
) -> AsyncIterator[_Worker]:
    """Dask's worker, with our plugin; its own memory is not limited, since builds are not in it."""
    versions = Versions.own()
    plugin = BuildPlugin(bench.executor, bench.database, options.work / "logs", options.name)

    def told(worker: _Worker) -> dict[str, object]:
        return {
            "versions": dict(versions.to_json()),
            "running": sorted(build.path for build in plugin.running),
            "load": os.getloadavg()[0],
            "processors": os.cpu_count() or 0,
            "cache": bench.cache.size,
            "cut off": worker.is_cut_off,
        }

    pools = {resource_of(pool): float(units) for pool, units in options.pools.items()}
    host = options.host or await asyncio.to_thread(_address_towards, options.scheduler)
    worker = _Worker(
        options.scheduler,
        name=options.name,
        host=host,
        nthreads=max(1, sum(options.pools.values())),
        resources={**pools, versions.resource: PLENTY},
        plugins=(plugin,),
        metrics={**DEFAULT_METRICS, METRIC: told},
        security=security,
        local_directory=str(options.work / "dask"),
        memory_limit=0,
        death_timeout=_CONNECT,
        patience=options.patience,
    )
    try:
        async with asyncio.timeout(2 * _CONNECT):
            await worker
        yield worker
    finally:
        await worker.close(timeout=_CONNECT, nanny=False)


async def _check_versions(options: WorkerOptions, security: Security) -> None:
    """Compare with the scheduler, and with the engine that has come to it last.

    Raises:
        ConfigError: Somebody's versions are others.
    """
    own = Versions.own()
    async with (
        asyncio.timeout(min(_CONNECT, options.patience)),
        rpc(options.scheduler, connection_args=security.get_connection_args("worker")) as asked,
    ):
        told = await asked.versions()
        engine = await asked.get_metadata(keys=[ANNOUNCED], default=None)
    there = Versions(
        ".".join(str(told["host"]["python"]).split(".")[:2]),
        own.datakit,
        str(told["packages"]["distributed"]),
    )
    if problem := there.misfit(own):
        raise ConfigError(f"this worker does not fit its scheduler: it has {problem}")
    announced = Versions.read(engine)
    if announced is not None and (problem := announced.misfit(own)):
        raise ConfigError(f"this worker does not fit the engine of the cluster: it has {problem}")
