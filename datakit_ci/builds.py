"""Builds that somebody wants: found in the cache, or run and recorded.

The shell over the scheduler: it carries out what :mod:`datakit_ci.schedule` decides, and tells the
engine where each build stands. A build that was recorded is forgotten here; one that came to no
result stays, with its log, for as long as somebody wants it, so that it is not tried again by
itself.
"""

from __future__ import annotations

import asyncio
import logging
import os
import traceback
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from datakit_ci.cache import Cache, Finished
from datakit_ci.executors.base import BuildRequest, Executor, LostBuild
from datakit_ci.livelog import LiveLog, RedactedLog, read_log
from datakit_ci.meta import Meta, duration
from datakit_ci.need import Build, BuildFact
from datakit_ci.outcome import Outcome
from datakit_ci.pools import LockState, PoolState
from datakit_ci.pulse import Pulse
from datakit_ci.redaction import Redaction
from datakit_ci.schedule import Finished as Ended
from datakit_ci.schedule import Instruction, PoolChanged, Scheduler, Start, Stop, Unwant, Want
from datakit_ci.secrets import Keyring
from datakit_ci.spool import Spool
from datakit_ci.state import BuildId, BuildState, Status
from datakit_core.errors import ConfigError

__all__ = ["Builds"]

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Live:
    """A build that is not recorded.

    Attributes:
        build: Its name.
        need: What asked for it first; any other that it answers would do as well.
        log: Set once it has started.
        stop: Ends the run; none when nothing runs that could be stopped.
        stopping: Whether it is to be stopped as soon as it can be.
        waits_for: Why it did not start at once; empty if it did.
    """

    build: BuildId
    need: Build
    status: Status = Status.WAITING
    reason: str = ""
    queued: datetime = field(default_factory=lambda: datetime.now(UTC))
    started: datetime | None = None
    finished: datetime | None = None
    log: LiveLog | None = None
    stop: Callable[[], None] | None = None
    stopping: bool = False
    waits_for: str = ""

    @property
    def fact(self) -> BuildFact:
        """Where it stands, for evaluations.

        The place in the queue is left out: it changes all the time and is of no consequence.
        """
        reason = self.reason
        if self.status is Status.WAITING:
            locks = [f"lock {name}" for name in self.need.spec.conditions.locks]
            reason = " and ".join([f"waiting for pool {self.need.spec.pool}", *locks])
        elif self.status is Status.RUNNING:
            reason = "running"
        return BuildFact(self.status, reason, build=self.build)

    def restart(self) -> None:
        """Back to the queue: it was wanted again while it was being stopped."""
        self.status, self.reason, self.stopping = Status.WAITING, "", False
        self.log, self.started, self.finished = None, None, None


class Builds:
    """Looks builds up, runs those that are not there, and records what comes of them.

    Attributes:
        keyring: The secrets for builds that start from now on.
    """

    def __init__(
        self,
        cache: Cache,
        executor: Executor,
        scheduler: Scheduler,
        spool: Spool,
        group: asyncio.TaskGroup,
        found: Callable[[Build, BuildFact], None],
        keyring: Keyring,
    ) -> None:
        """Work in tasks of ``group``; ``found`` is told where each wanted build stands."""
        self.keyring = keyring
        self._cache = cache
        self._executor = executor
        self._scheduler = scheduler
        self._spool = spool
        self._group = group
        self._found = found
        self._wanted: set[Build] = set()
        self._names: dict[Build, BuildId] = {}
        self._askers = defaultdict[BuildId, set[Build]](set)
        self._recorded: dict[BuildId, BuildState] = {}
        self._live: dict[BuildId, _Live] = {}
        self._looking = 0
        self._pulse = Pulse()

    @property
    def idle(self) -> bool:
        """Whether nothing is looked up, waits or runs."""
        return self._scheduler.idle and not self._looking

    def want(self, need: Build) -> None:
        """Find the build that answers ``need``, or run it; told to ``found``."""
        if need not in self._wanted:
            self._wanted.add(need)
            self._looking += 1
            self._group.create_task(self._look_up(need))

    def unwant(self, need: Build) -> None:
        """Nobody wants ``need`` any more; what runs only for it is stopped."""
        self._wanted.discard(need)
        build = self._names.pop(need, None)
        if build is None:
            return
        self._askers[build].discard(need)
        if build in self._live:
            self._carry_out(self._scheduler.handle(Unwant(build, need)))
        self._forget(build)

    def resize(self, capacities: Mapping[str, int]) -> None:
        """Give each pool this many units from now on."""
        for pool, capacity in capacities.items():
            self._carry_out(self._scheduler.handle(PoolChanged(pool, capacity)))

    def pools(self) -> Mapping[str, PoolState]:
        """What each pool is busy with, and what waits for it."""
        return self._scheduler.pools()

    def locks(self) -> Mapping[str, LockState]:
        """What has each lock, and what waits for it."""
        return self._scheduler.locks()

    def askers(self, build: BuildId) -> frozenset[Build]:
        """The needs that ``build`` answers."""
        return frozenset(self._askers.get(build, ()))

    def recorded(self, build: BuildId) -> BuildState | None:
        """A wanted build that is recorded; none if it is not, or not wanted."""
        return self._recorded.get(build)

    async def state(self, build: BuildId) -> BuildState | None:
        """Any build, wanted or recorded long ago; none if there is no such."""
        live = self._live.get(build)
        if live is None:
            return self._recorded.get(build) or await self._cache.read(build)
        reason = live.reason
        if live.status is Status.WAITING:
            reason = self._scheduler.reason(build)
        return BuildState(
            id=build,
            status=live.status,
            reason=reason,
            command=live.need.spec.command,
            input=live.need.input,
            queued=live.queued,
            started=live.started,
            finished=live.finished,
            log_size=live.log.size if live.log else 0,
        )

    async def follow_log(self, build: BuildId, offset: int = 0) -> AsyncIterator[bytes]:
        """A build's log from byte ``offset`` on: to its end if it runs, else what there is.

        Waits for a build that has not started; of one that is not known there is nothing.
        """
        while (live := self._live.get(build)) is not None and live.log is None:
            await self._pulse.next.wait()
        interrupted = self._spool.interrupted(build)
        if live is not None and live.log is not None:
            source = live.log.follow(offset)
        elif interrupted is not None:
            source = read_log(interrupted, offset)
        else:
            source = self._cache.log(build, offset)
        async for piece in source:
            yield piece

    async def _look_up(self, need: Build) -> None:
        """The boundary of a look-up."""
        try:
            recorded = await self._cache.find(need)
            build = recorded.id if recorded else await self._cache.name(need)
            if need in self._wanted:
                self._names[need] = build
                self._askers[build].add(need)
                if recorded is None:
                    self._enqueue(need, build)
                else:
                    self._recorded[build] = recorded
                    self._found(need, _fact(recorded))
        except Exception as error:  # noqa: BLE001 - the boundary: the traceback is logged
            _log.exception("cannot look up %s of %s", need.spec.name, need.project)
            self._found(need, BuildFact.error(f"cannot be looked up: {error}"))
        finally:
            self._looking -= 1
            self._pulse.beat()

    def _enqueue(self, need: Build, build: BuildId) -> None:
        live = self._live.setdefault(build, _Live(build, need))
        if live.status.is_final:
            self._found(need, live.fact)  # it came to no result; a person may try again
            return
        spec = need.spec
        conditions = spec.conditions
        want = Want(build, spec.pool, need, conditions.priority, conditions.locks)
        instructions = self._scheduler.handle(want)
        live.waits_for = live.waits_for or self._scheduler.reason(build)
        self._tell(live)
        self._carry_out(instructions)

    def _carry_out(self, instructions: Iterable[Instruction]) -> None:
        for instruction in instructions:
            live = self._live[instruction.build]
            match instruction:
                case Start():
                    self._group.create_task(self._run(live))
                case Stop(reason=reason):
                    live.reason, live.stopping = reason, True
                    if live.stop is not None:
                        live.stop()

    async def _run(self, live: _Live) -> None:
        """The boundary of a build: an executor's exception is its error and nobody else's."""
        live.status, live.started, live.reason = Status.RUNNING, datetime.now(UTC), ""
        recorded: BuildState | None = None
        redaction = self.keyring.redaction
        try:
            with self._spool.create(live.build, live.need.spec.conditions.log_limit) as spooled:
                live.log = spooled
                log = RedactedLog(spooled, redaction)
                if live.waits_for:
                    waited = duration(live.queued, live.started)
                    log.note(f"started after {waited} of {live.waits_for}")
                self._tell(live)
                recorded = await self._attempt(live, log)
        except LostBuild as error:
            live.status, live.reason = error.status, redaction.text(str(error))
        except Exception as error:  # noqa: BLE001 - the boundary: the traceback is in both logs
            _log.error(
                "build %s failed to run: %s", live.build.path, redaction.text(_traceback(error))
            )
            live.status = Status.ERROR
            live.reason = redaction.text(f"{type(error).__name__}: {error}")
        live.finished = datetime.now(UTC)
        self._end(live, recorded)

    async def _attempt(self, live: _Live, log: RedactedLog) -> BuildState | None:
        """Run and record the build; none if it was stopped."""
        try:
            outcome = await self._execute(live, log)
            log.finish()
            return None if outcome is None else await self._record(live, log, outcome)
        except LostBuild as error:
            log.note(str(error))
            raise
        except Exception as error:
            log.note(_traceback(error))
            raise

    async def _execute(self, live: _Live, log: RedactedLog) -> Outcome | None:
        """Run the build; none if it was stopped."""
        loop = asyncio.get_running_loop()
        # A time-out that expires when we say so: it cancels the run, but not this task.
        scope = asyncio.timeout(None)
        try:
            async with scope:
                live.stop = lambda: scope.reschedule(loop.time())
                if live.stopping:
                    live.stop()
                return await self._executor.run(self._request(live), log.write)
        except TimeoutError:
            if not scope.expired():
                raise
            live.status = Status.CANCELLED
            return None
        finally:
            live.stop = None

    def _request(self, live: _Live) -> BuildRequest:
        """What to run; raises ``LostBuild`` if a secret that it asks for is not there."""
        spec = live.need.spec
        try:
            secrets = self.keyring.environment(spec.conditions.secrets)
        except ConfigError as error:
            raise LostBuild(str(error)) from error
        return BuildRequest(live.build, spec, live.need.input, secrets, self.keyring.redaction)

    async def _record(self, live: _Live, log: RedactedLog, outcome: Outcome) -> BuildState | None:
        assert live.started is not None
        outcome = _redacted(outcome, log.redaction)
        meta = Meta(
            command=log.redaction.text(live.need.spec.command),
            input=live.need.input,
            queued=live.queued,
            started=live.started,
            finished=datetime.now(UTC),
            executor=self._executor.name,
            exit_status=outcome.exit_status,
            log_size=log.size,
            details=dict(outcome.details),
        )
        await self._cache.record(Finished(live.need, live.build, outcome, meta, log.path))
        return await self._cache.read(live.build)

    def _end(self, live: _Live, recorded: BuildState | None) -> None:
        """Tell how a run ended, and start what was waiting for that."""
        build = live.build
        instructions = self._scheduler.handle(Ended(build, recorded is not None))
        if recorded is not None:
            del self._live[build]
            self._spool.remove(build)
            self._recorded[build] = recorded
            for need in self._askers[build]:
                self._found(need, _fact(recorded))
        else:
            if self._scheduler.is_wanted(build):
                live.restart()
            self._tell(live)
        self._forget(build)
        self._pulse.beat()
        self._carry_out(instructions)

    def _forget(self, build: BuildId) -> None:
        """Let go of a build that nobody wants, unless it has yet to end."""
        if self._askers[build] or self._scheduler.is_running(build):
            return
        del self._askers[build]
        self._recorded.pop(build, None)
        if self._live.pop(build, None) is not None:
            self._spool.remove(build)
            self._pulse.beat()

    def _tell(self, live: _Live) -> None:
        for need in self._askers[live.build]:
            self._found(need, live.fact)
        self._pulse.beat()


def _traceback(error: Exception) -> str:
    return "".join(traceback.format_exception(error))


def _redacted(outcome: Outcome, redaction: Redaction) -> Outcome:
    """What is recorded of an outcome in words.

    A question that holds a secret cannot be asked again without it: such a build counts as having
    looked at all that it could.
    """
    questions = outcome.questions
    paths = [question.path for question in questions or ()]
    if any(redaction.named_in(os.fsencode(path)) for path in paths):
        questions = None
    return replace(
        outcome,
        questions=questions,
        failure=None if outcome.failure is None else redaction.text(outcome.failure),
        details=tuple((name, redaction.text(value)) for name, value in outcome.details),
    )


def _fact(state: BuildState) -> BuildFact:
    """A recorded build, for evaluations."""
    if state.output is not None:
        return BuildFact.passed(state.output, state.id)
    return BuildFact.failed(state.reason, state.id)
