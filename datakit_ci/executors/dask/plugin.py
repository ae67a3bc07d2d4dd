"""What a Dask worker runs builds with: its plugin, which sees orders come and keys released.

A build is a coroutine on the worker's event loop, and its work is in child processes, as anywhere:
so cancelling it ends a group of processes, which no thread of Dask's could be made to do. When the
scheduler takes a key back, the worker's state machine moves the task to ``cancelled``; the plugin
is told of that transition and ends the build. A worker that dies cuts the life lines of its builds.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import tempfile
import traceback
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dask.typing import Key
from distributed import Worker
from distributed.diagnostics.plugin import WorkerPlugin

from datakit_ci.executors.base import BuildRequest, Executor, LostBuild
from datakit_ci.executors.dask.task import PLUGIN
from datakit_ci.executors.dask.wire import (
    TOPIC,
    Answer,
    Began,
    Ended,
    Interrupted,
    News,
    Order,
    Piece,
    key_of,
)
from datakit_ci.executors.local import DirectoryStore
from datakit_ci.livelog import LiveLog, RedactedLog
from datakit_ci.outcome import Outcome
from datakit_ci.redaction import Redaction
from datakit_ci.state import BuildId

__all__ = ["BuildPlugin"]

_log = logging.getLogger(__name__)

_SHORT = 256 << 10
"""Bytes of a log that comes with the answer; a longer one goes by way of the database."""

_PIECE = 16 << 10
"""Bytes of a log that are told at once: a scheduler keeps a thousand messages of all workers."""

_PACE = 0.05
"""Seconds between two pieces of one build's log."""

_STARTING = 0.03
"""Seconds after which a build's log is told while it runs: most that are quick need no news."""


@dataclass(slots=True)
class _Running:
    """A build under way.

    Attributes:
        build: What runs.
        scope: Cancels it when it is made to expire.
    """

    build: BuildId
    scope: asyncio.Timeout


class BuildPlugin(WorkerPlugin):
    """Runs builds on one worker.

    Attributes:
        name: By which the worker knows it.
    """

    name = PLUGIN

    def __init__(
        self, executor: Executor, database: DirectoryStore, logs: Path, worker: str
    ) -> None:
        """Run builds by ``executor``, and write their logs into the directory ``logs``.

        Args:
            executor: Runs them on this machine.
            database: Takes long logs.
            logs: Is made, if it is not there.
            worker: The worker's name.
        """
        self._executor = executor
        self._database = database
        self._logs = logs
        self._worker_name = worker
        self._worker: Worker | None = None
        self._running: dict[str, _Running] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def running(self) -> Sequence[BuildId]:
        """The builds under way."""
        return [each.build for each in self._running.values()]

    async def setup(self, worker: Worker) -> None:
        """Belong to a worker, which has started."""
        self._worker = worker
        # What is there was left by a worker that was killed.
        await asyncio.to_thread(shutil.rmtree, self._logs, ignore_errors=True)
        await asyncio.to_thread(self._logs.mkdir, parents=True)

    async def teardown(self, worker: Worker) -> None:
        """End all builds, and wait until nothing is left of them."""
        for each in list(self._running.values()):
            self._stop(each)
        await self._idle.wait()
        self._worker = None

    def transition(self, key: Key, start: str, finish: str, **kwargs: object) -> None:
        """A task of the worker moves on; called by Dask, on the event loop."""
        if finish in {"cancelled", "resumed", "released"} and (
            running := self._running.get(str(key))
        ):
            self._stop(running)

    async def run(self, data: bytes) -> tuple[bytes, bytes]:
        """Carry out an order.

        Raises:
            Interrupted: The build was stopped before its end.
        """
        order, run = Order.decode(data), uuid.uuid4().hex
        key = key_of(order.build)
        if key in self._running:
            raise Interrupted(f"{key} is still being ended on worker {self._worker_name}")
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._running[key] = _Running(order.build, scope)
                self._idle.clear()
                self._tell(Began(key, run, self._worker_name))
                return (await self._answer(key, run, order)).encode()
        except TimeoutError:
            if not scope.expired():
                raise
            self._tell(Ended(key, run))
            raise Interrupted(f"stopped on worker {self._worker_name}") from None
        finally:
            del self._running[key]
            if not self._running:
                self._idle.set()

    def _stop(self, running: _Running) -> None:
        running.scope.reschedule(asyncio.get_running_loop().time())

    def _tell(self, news: News) -> None:
        if self._worker is not None:
            self._worker.log_event(TOPIC, news.to_message())

    async def _answer(self, key: str, run: str, order: Order) -> Answer:
        """Run the build, and tell its log meanwhile."""
        redaction = _redaction(order)
        log = LiveLog(self._logs / f"{run}.log", order.spec.conditions.log_limit)
        try:
            with log:
                redacted = RedactedLog(log, redaction)
                async with asyncio.TaskGroup() as tasks:
                    telling = tasks.create_task(self._tell_log(key, run, log))
                    ending = await self._run(order, redacted)
                    redacted.finish()
                    telling.cancel()
            answer = Answer(ending, run, self._worker_name, log_size=log.size)
            return await self._with_log(answer, log.path)
        finally:
            log.path.unlink(missing_ok=True)  # from memory most often: quicker than a thread

    async def _run(self, order: Order, log: RedactedLog) -> Outcome | LostBuild:
        request = BuildRequest(order.build, order.spec, order.input, order.secrets, log.redaction)
        try:
            outcome = await self._executor.run(request, log.write)
        except LostBuild as error:
            return error
        except Exception as error:  # noqa: BLE001 - the boundary of a build, with a traceback
            text = log.redaction.text(traceback.format_exc())
            _log.error("build %s failed to run: %s", order.build.path, text)
            log.note(text)
            return LostBuild(f"{type(error).__name__}: {error} (on worker {self._worker_name})")
        worker = ("worker", self._worker_name)
        return replace(outcome, details=(*outcome.details, worker))

    async def _tell_log(self, key: str, run: str, log: LiveLog) -> None:
        """Tell the log as it grows; never faster than the pace, whatever a build prints."""
        await asyncio.sleep(_STARTING)
        offset = 0
        async for data in log.follow():
            for start in range(0, len(data), _PIECE):
                piece = data[start : start + _PIECE]
                self._tell(Piece(key, run, offset, piece))
                offset += len(piece)
                await asyncio.sleep(_PACE)

    async def _with_log(self, answer: Answer, log: Path) -> Answer:
        """The answer with its log, or with where that is."""
        if answer.log_size <= _SHORT:
            with log.open("rb") as file:
                return replace(answer, log=file.read())  # just written: it is in memory
        with tempfile.TemporaryDirectory(dir=self._logs) as name:
            await asyncio.to_thread(os.link, log, Path(name, "log"))
            return replace(answer, log_tree=await self._database.import_directory(Path(name)))


def _redaction(order: Order) -> Redaction:
    """Finds the secrets that this build is given; of others a worker knows nothing."""
    names = dict(order.spec.conditions.secrets)
    return Redaction(
        {
            names.get(variable, variable): os.fsencode(text)
            for variable, text in order.secrets.items()
        }
    )
