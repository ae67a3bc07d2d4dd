"""The executor that has builds run by the workers of a Dask cluster.

Each build is one task, whose key is the build's name: asked for twice it runs once. Its result is
held by the scheduler only until the engine has it; then the key is released. What is recorded is
decided by the engine alone, so a build that ran twice, because of a cut cable, is recorded once.

Three things may happen to a build that are not its fault: its worker ends, the scheduler ends, or
it is stopped by its worker. Then it is asked for again, after a while that grows; that is not
counted as an attempt of the stage's ``retry=``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError as FutureCancelled
from dataclasses import replace
from typing import cast

from distributed import Client, Future
from distributed.scheduler import KilledWorker

from datakit_ci.executors.base import BuildRequest, LostBuild
from datakit_ci.executors.dask.cluster import Cluster
from datakit_ci.executors.dask.pools import resource_of
from datakit_ci.executors.dask.relay import LogRelay
from datakit_ci.executors.dask.task import run_build
from datakit_ci.executors.dask.wire import Answer, Interrupted, Order, key_of
from datakit_ci.outcome import Outcome
from datakit_ci.process import Sink
from datakit_ci.spec import StageKind, StageSpec
from datakit_core.client.api import BlobId, Database
from datakit_core.client.reconnect import Backoff
from datakit_core.errors import ConfigError, DatakitError

__all__ = ["DaskExecutor"]

_log = logging.getLogger(__name__)

_ATTEMPTS = 5
"""Times in a row that a build is begun and not ended by anybody's wish but the cluster's."""

_PATIENCE = 10.0
"""Seconds to wait until a cancelled build's worker says that nothing of it is left."""

_TURNS = 1000
"""Turns of the event loop that Dask is given to forget a task; it takes one or two."""

_LONELY = 5.0
"""Seconds between two looks at whether who was asked can answer at all."""


class _Unsettled(DatakitError):
    """The cluster failed the build: it is to be run again."""


class DaskExecutor:
    """Runs builds on a cluster.

    Attributes:
        name: Recorded with every result.
    """

    name = "dask"

    def __init__(
        self,
        cluster: Cluster,
        database: Database,
        origin: Callable[[], Awaitable[str]],
        backoff: Backoff = Backoff(0.5, 30.0),  # noqa: B008 - it is frozen
    ) -> None:
        """Send builds to ``cluster``.

        Args:
            cluster: Where they run.
            database: Where the workers put long logs.
            origin: Says where the code of the service's own pipeline is.
            backoff: Between attempts at a build that the cluster has failed.
        """
        self._cluster = cluster
        self._database = database
        self._origin = origin
        self._backoff = backoff

    async def run(self, request: BuildRequest, log: Sink) -> Outcome:
        """Run one build on some worker."""
        order = await self._order(request)
        key, relay = key_of(request.build), LogRelay(log)
        failures = 0
        with self._cluster.hearing(key, relay):
            while True:
                client = await self._cluster.client()
                try:
                    return await self._attempt(client, key, order, relay)
                except _Unsettled as error:
                    failures += 1
                    if failures == _ATTEMPTS:
                        raise LostBuild(f"{error}, {failures} times in a row") from error
                    relay.note(f"{error}; it is begun again")
                await asyncio.sleep(self._backoff.delay(failures))

    async def _order(self, request: BuildRequest) -> Order:
        spec = request.spec
        if request.secrets and not self._cluster.is_private:
            raise LostBuild(
                f"it asks for secrets, which would cross the network readable: connect to the "
                f"scheduler by tls:// instead of {self._cluster.address}"
            )
        if spec.kind is not StageKind.SHELL and not spec.origin:
            try:
                spec = replace(spec, origin=await self._origin())
            except ConfigError as error:
                raise LostBuild(f"the pipeline cannot be sent to a worker: {error}") from error
        return Order(request.build, spec, request.input, request.secrets)

    async def _attempt(self, client: Client, key: str, order: Order, relay: LogRelay) -> Outcome:
        future = self._submit(client, key, order)
        try:
            answer = Answer.decode(await self._parts(future, order.spec, relay))
        except asyncio.CancelledError:
            await self._end(future, relay)
            raise
        finally:
            await _let_go(client, future)
        await self._finish_log(answer, relay)
        if isinstance(answer.ending, LostBuild):
            raise answer.ending
        return answer.ending

    def _submit(self, client: Client, key: str, order: Order) -> Future[tuple[bytes, bytes]]:
        spec = order.spec
        resources = {resource_of(spec.pool): 1, self._cluster.versions.resource: 1}
        return client.submit(
            cast("Callable[[bytes], tuple[bytes, bytes]]", run_build),  # Dask awaits it
            order.encode(),
            key=key,
            resources=resources,
            priority=spec.conditions.priority,
            retries=0,  # who retries what is decided here
            pure=False,
        )

    async def _parts(
        self, future: Future[tuple[bytes, bytes]], spec: StageSpec, relay: LogRelay
    ) -> tuple[bytes, bytes]:
        """The answer; if nobody can give one, the log says so once."""
        is_noted = False
        while True:
            scope = asyncio.timeout(_LONELY)
            try:
                async with scope:
                    return await _result_of(future)
            except TimeoutError:
                if not scope.expired():
                    raise
            if self._cluster.is_stranded(relay.worker, spec.pool):
                await self._end(future, relay)
                raise _Unsettled(f"worker {relay.worker} cannot reach the database")
            if not (is_noted or relay.worker or self._cluster.crew.units.get(spec.pool)):
                relay.note(f"waits for a worker with pool {spec.pool}: there is none")
                is_noted = True

    async def _end(self, future: Future[tuple[bytes, bytes]], relay: LogRelay) -> None:
        """Take a build back, and wait until its worker says that nothing of it is left."""
        await self._cluster.cancel(future)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await relay.ended.wait()

    async def _finish_log(self, answer: Answer, relay: LogRelay) -> None:
        """Pass on what of the log has not come while the build ran."""
        offset = relay.rest(answer)
        if offset >= answer.log_size:
            return
        if answer.log_tree is None:
            relay.finish(answer.log[offset:])
            return
        entry = await self._database.entry(answer.log_tree, "log")
        if entry is None:
            raise LostBuild(f"worker {answer.worker} has not stored its log")
        async for piece in self._database.stream_blob(BlobId(entry.id), offset):
            relay.finish(piece)


async def _let_go(client: Client, future: Future[tuple[bytes, bytes]]) -> None:
    """Forget a task, so that it runs again when it is asked for again.

    Dask does so a moment after it was told to. It is not cancelled, which the scheduler confirms
    at some time: whoever has asked for it again by then would be told that it was lost.
    """
    future.release()
    for _ in range(_TURNS):
        if client.status != "running" or future.key not in client.futures:
            return
        await asyncio.sleep(0)


async def _result_of(future: Future[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    """What a worker has answered.

    Raises:
        _Unsettled: There is no answer, and the build is not to blame.
        LostBuild: There is none, and it would not help to ask again.
    """
    try:
        # In a client of an event loop this is a coroutine.
        return await cast("Awaitable[tuple[bytes, bytes]]", future.result())
    except FutureCancelled as error:
        raise _Unsettled("the connection to the scheduler was lost") from error
    except Interrupted as error:
        raise _Unsettled(str(error)) from error
    except KilledWorker as error:
        ends = error.allowed_failures + 1
        which = "its worker" if ends == 1 else f"{ends} workers, one after the other,"
        raise LostBuild(f"{which} ended while it ran") from error
    except OSError as error:
        raise _Unsettled(f"the cluster cannot be reached: {error}") from error
    except Exception as error:
        raise LostBuild(f"the worker failed: {type(error).__name__}: {error}") from error
