"""The engine's connection to a Dask scheduler: kept up, looked after, and asked who works there.

While the scheduler is away builds wait; when it is back, or another one in its place, what was
under way is asked for again. Dask's own client gives up after a while; this one does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from distributed import Client, Future
from distributed.security import Security

from datakit_ci.crew import Crew
from datakit_ci.executors.dask.crew import read_crew
from datakit_ci.executors.dask.relay import LogRelay
from datakit_ci.executors.dask.silence import end_when_silent
from datakit_ci.executors.dask.versions import Versions
from datakit_ci.executors.dask.wire import TOPIC, read_news
from datakit_core.client.reconnect import Backoff
from datakit_core.ninep import PATIENCE

__all__ = ["ANNOUNCED", "Cluster", "Timing", "reason"]

_log = logging.getLogger(__name__)

ANNOUNCED = "datakit-ci engine"
"""Where in the scheduler's metadata the last engine says its versions, for workers to compare."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How patient we are.

    Attributes:
        connect: Seconds for one attempt to connect.
        answer: Seconds without an answer after which the scheduler is away: a link that was cut
            tells nobody.
        look: Seconds between two looks at who works.
        backoff: Between attempts to connect.
    """

    connect: float = 10.0
    answer: float = PATIENCE
    look: float = 2.0
    backoff: Backoff = field(default_factory=lambda: Backoff(0.2, 10.0))


class _Client(Client):
    """A client that ends with its connection.

    Dask's own comes back by itself, but is not told any news then, and its tasks are gone: so we
    had to notice anyway, and begin anew.
    """

    async def _reconnect(self) -> None:
        await self._close()


class Cluster:
    """A connection to a scheduler; ``async with`` keeps it up.

    Attributes:
        address: Of the scheduler.
        versions: Ours.
        crew: Who works there, as of the last look.
        away: Since when there is no scheduler, UTC; none while there is one.
    """

    def __init__(
        self,
        address: str,
        security: Security,
        timing: Timing = Timing(),
    ) -> None:
        """Nothing is connected yet."""
        end_when_silent(timing.answer)
        self.address = address
        self.versions = Versions.own()
        self.crew = Crew(where=address)
        self.away: datetime | None = datetime.now(UTC)
        self._problem = "it has not answered yet"
        self._security = security
        self._timing = timing
        self._changed: Callable[[Crew], None] = lambda _: None
        self._client: Client | None = None
        self._closing = False
        self._connected = asyncio.Event()
        self._lost = asyncio.Event()
        self._relays: dict[str, LogRelay] = {}
        self._interrupted = 0

    def listen(self, changed: Callable[[Crew], None]) -> None:
        """Tell ``changed`` of each look at who works, beginning with the last one."""
        self._changed = changed
        changed(self.crew)

    @property
    def trouble(self) -> str:
        """What is wrong, for people; empty: nothing."""
        if self.away is not None:
            return (
                f"The scheduler at {self.address} is away since {self.away:%H:%M:%S} UTC "
                f"({self._problem}). Builds wait, and are asked for again when it is back."
            )
        refused = [each for each in self.crew.workers if each.refusal]
        if not self.crew.workers:
            return f"The scheduler at {self.address} has no workers. Builds wait for one."
        if refused:
            said = "; ".join(f"{each.name}: {each.refusal}" for each in refused)
            return f"No builds are sent to these workers: {said}."
        return ""

    @property
    def is_private(self) -> bool:
        """Whether nobody on the way can read what is sent."""
        host = urlsplit(self.address).hostname or ""
        is_here = host in ("localhost", "::1") or host.startswith("127.")
        return is_here or self.address.startswith("tls://")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connect, and connect again whenever that is necessary."""
        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(self._keep())
            try:
                yield
            finally:
                self._closing = True  # Dask swallows a cancellation while it closes a connection
                keeping.cancel()

    async def client(self) -> Client:
        """The connection; waited for while the scheduler is away."""
        while self._client is None or self._client.status != "running":
            if self._client is not None:
                self._lost.set()
            self._connected.clear()
            await self._connected.wait()
        return self._client

    def is_stranded(self, worker: str, pool: str) -> bool:
        """Whether a build waits for a link of its worker's that is cut, and others could run it.

        Where nobody reaches the database it is away, and will take the outputs when it is back.
        """
        cut_off = {each.name for each in self.crew.workers if each.is_cut_off}
        return worker in cut_off and self.crew.units.get(pool, 0) > 0

    @contextmanager
    def hearing(self, key: str, relay: LogRelay) -> Iterator[None]:
        """Let ``relay`` take the news of a task."""
        self._relays[key] = relay
        try:
            yield
        finally:
            del self._relays[key]
            self._interrupted += max(0, relay.runs - 1)

    async def cancel(self, future: Future[Any]) -> None:
        """Take a task back; what runs is ended by its worker."""
        with contextlib.suppress(OSError, TimeoutError):
            await future.cancel(reason="datakit: not wanted any more")

    async def _keep(self) -> None:
        failures = 0
        while not self._closing:
            try:
                async with self._open() as client:
                    failures = 0
                    await self._look_after(client)
            except (OSError, TimeoutError) as error:
                failures += 1
                self._problem = reason(error)
                if failures == 1:
                    _log.warning("no scheduler at %s: %s", self.address, self._problem)
            self.crew = Crew(where=self.address, interrupted=self._interrupted)
            self._changed(self.crew)
            self.away = self.away or datetime.now(UTC)
            await asyncio.sleep(self._timing.backoff.delay(max(1, failures)))

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Client]:
        client: Client = _Client(  # type: ignore[no-untyped-call]  # Dask has not annotated it
            self.address,
            asynchronous=True,
            set_as_default=False,
            security=self._security,
            timeout=self._timing.connect,
            name="datakit-ci",
        )
        try:
            await client
            client.subscribe_topic(TOPIC, self._on_news)
            async with asyncio.timeout(self._timing.answer):
                await client.set_metadata([ANNOUNCED], dict(self.versions.to_json()))
            yield client
        except OSError:
            _abandon(client)
            raise
        finally:
            self._client = None
            self._connected.clear()
            with contextlib.suppress(OSError, TimeoutError):
                await client._close(fast=True)  # noqa: SLF001 - close() waits for who is gone

    async def _look_after(self, client: Client) -> None:
        """Be connected, until that is lost."""
        await self._look(client)
        _log.info("connected to the scheduler at %s", self.address)
        self._client, self.away = client, None
        self._lost.clear()
        self._connected.set()
        while client.status == "running":
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timing.look):
                    await self._lost.wait()
            if client.status == "running":
                await self._look(client)
        self._problem = "the connection was lost"
        _log.warning("the scheduler at %s is lost", self.address)

    async def _look(self, client: Client) -> None:
        assert client.scheduler is not None
        async with asyncio.timeout(self._timing.answer):
            identity = await client.scheduler.identity(n_workers=-1)
        crew = read_crew(identity, self.versions, time.time())
        self.crew = replace(crew, interrupted=self._interrupted)
        self._changed(self.crew)

    def _on_news(self, event: object) -> None:
        match event:
            case (_, Mapping() as message):
                news = read_news(message)
                if news is not None and (relay := self._relays.get(news.key)) is not None:
                    relay.take(news)
            case _:
                _log.debug("news that make no sense: %r", event)


def _abandon(client: Client) -> None:
    """Let a connection go without a word: nobody has answered.

    A link that was cut may be mended. The scheduler must not believe then that this client still
    wants its builds, when another one has taken its place.
    """
    stream = client.scheduler_comm
    if stream is not None and stream.comm is not None:
        stream.comm.abort()


def reason(error: BaseException) -> str:
    """What is behind an error of Dask's, which only says that it took too long."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or "there was no answer"
