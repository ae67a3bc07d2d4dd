"""Running one build: the executor is asked, the log is spooled, and the result is recorded."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace

from datakit_ci.cache import Cache, Finished
from datakit_ci.clock import Clock
from datakit_ci.executors.base import BuildRequest, Executor, LostBuild, TimedOut, Transient
from datakit_ci.livebuild import LiveBuild
from datakit_ci.livelog import RedactedLog
from datakit_ci.meta import Meta, duration
from datakit_ci.occasion import Occasion
from datakit_ci.outcome import Outcome
from datakit_ci.redaction import Redaction
from datakit_ci.secrets import Keyring
from datakit_ci.spool import Spool
from datakit_ci.state import BuildState, Status
from datakit_ci.tally import Fate, Tally
from datakit_core.errors import ConfigError

__all__ = ["Runner"]

_log = logging.getLogger(__name__)

_FATES = {Status.SUCCESS: Fate.PASSED, Status.FAILURE: Fate.FAILED}
"""What has a result has passed or failed."""


class Runner:
    """Runs builds, any number at once.

    Attributes:
        keyring: The secrets for builds that start from now on.
    """

    def __init__(
        self,
        cache: Cache,
        executor: Executor,
        spool: Spool,
        keyring: Keyring,
        clock: Clock,
        tally: Tally,
    ) -> None:
        """Run with ``executor``, record in ``cache``, and count in ``tally``."""
        self.keyring = keyring
        self._cache = cache
        self._executor = executor
        self._spool = spool
        self._clock = clock
        self._tally = tally

    async def run(
        self, live: LiveBuild, details: Mapping[str, str], begun: Callable[[], None]
    ) -> BuildState | None:
        """Run ``live`` to its end; the boundary of a build, whose errors are nobody else's.

        Args:
            live: What to run; says afterwards how it ended, if there is no result.
            details: Facts to record with the result.
            begun: Called once there is a log.

        Returns:
            What was recorded; none if there is no result.
        """
        live.status, live.started, live.reason = Status.RUNNING, self._clock.now(), ""
        recorded: BuildState | None = None
        fate = Fate.ERROR
        redaction = self.keyring.redaction
        try:
            limit = live.need.spec.conditions.log_limit
            with self._spool.create(live.build, limit, self._clock.now) as spooled:
                live.log = spooled
                log = RedactedLog(spooled, redaction)
                if live.waits_for:
                    waited = duration(live.queued, live.started)
                    log.note(f"started after {waited} of {live.waits_for}")
                begun()
                recorded = await self._attempt(live, log, details)
            fate = Fate.CANCELLED if recorded is None else _FATES[recorded.status]
        except LostBuild as error:
            live.status, live.reason = error.status, redaction.text(str(error))
            fate = _fate(error)
            if not isinstance(error, TimedOut):
                live.attempts += 1
        except Exception as error:  # noqa: BLE001 - the boundary: the traceback is in both logs
            _log.error(
                "build %s failed to run: %s", live.build.path, redaction.text(_traceback(error))
            )
            live.status = Status.ERROR
            live.reason = redaction.text(f"{type(error).__name__}: {error}")
        live.finished = self._clock.now()
        self._count(live, fate)
        return recorded

    def _count(self, live: LiveBuild, fate: Fate) -> None:
        assert live.started is not None
        assert live.finished is not None
        waited, ran = live.started - live.queued, live.finished - live.started
        self._tally.ran(live.build, live.need.spec.pool, fate, waited, ran)
        self._tally.log_bytes += live.log.size if live.log else 0

    async def _attempt(
        self, live: LiveBuild, log: RedactedLog, details: Mapping[str, str]
    ) -> BuildState | None:
        """Run and record the build; none if it was stopped."""
        if live.attempts:
            self._tally.retries += 1
            log.note(f"attempt {live.attempts + 1} of {live.need.spec.policy.retry + 1}")
        try:
            outcome = await self._execute(live, log)
            log.finish()
            return None if outcome is None else await self._record(live, log, outcome, details)
        except LostBuild as error:
            log.note(str(error))
            raise
        except Exception as error:
            log.note(_traceback(error))
            raise

    async def _execute(self, live: LiveBuild, log: RedactedLog) -> Outcome | None:
        """Run the build; none if it was stopped."""
        loop = asyncio.get_running_loop()
        # A time-out that expires when we say so: it cancels the run, but not this task.
        scope = asyncio.timeout(None)
        try:
            async with scope:
                live.stop = lambda: scope.reschedule(loop.time())
                if live.stopping:
                    live.stop()
                outcome = await self._executor.run(self._request(live), log.write)
        except TimeoutError:
            if not scope.expired():
                raise
            live.status = Status.CANCELLED
            return None
        finally:
            live.stop = None
        if outcome.failure is not None and outcome.exit_status in live.need.spec.policy.transient:
            raise Transient(outcome.failure)
        return outcome

    def _request(self, live: LiveBuild) -> BuildRequest:
        """What to run; raises ``LostBuild`` if a secret that it asks for is not there."""
        spec = live.need.spec
        try:
            secrets = self.keyring.environment(spec.conditions.secrets)
        except ConfigError as error:
            raise LostBuild(str(error)) from error
        return BuildRequest(live.build, spec, live.need.input, secrets, self.keyring.redaction)

    async def _record(
        self, live: LiveBuild, log: RedactedLog, outcome: Outcome, details: Mapping[str, str]
    ) -> BuildState | None:
        assert live.started is not None
        outcome = _redacted(outcome, log.redaction)
        attempts = {"attempts": str(live.attempts + 1)} if live.attempts else {}
        meta = Meta(
            command=log.redaction.text(live.need.spec.command),
            input=live.need.input,
            queued=live.queued,
            started=live.started,
            finished=self._clock.now(),
            executor=outcome.executor or self._executor.name,
            exit_status=outcome.exit_status,
            log_size=log.size,
            details={**dict(outcome.details), **attempts, **details},
            occasion=_redacted_occasion(live.occasion, log.redaction),
        )
        finished = Finished(live.need, live.build, outcome, meta, log.path, log.times)
        await self._cache.record(finished)
        recorded = await self._cache.read(live.build)
        return None if recorded is None else recorded.having_asked(outcome.questions)


def _fate(error: LostBuild) -> Fate:
    match error:
        case TimedOut():
            return Fate.TIMED_OUT
        case Transient():
            return Fate.TRANSIENT
        case _:
            return Fate.LOST


def _traceback(error: Exception) -> str:
    return "".join(traceback.format_exception(error))


def _redacted_occasion(occasion: Occasion | None, redaction: Redaction) -> Occasion | None:
    """A parameter may hold a secret; if it cannot be taken out, nothing is said of the stage."""
    if occasion is None:
        return None
    try:
        identity = json.loads(redaction.text(json.dumps(dict(occasion.identity))))
    except ValueError:
        identity = {}
    return replace(occasion, identity=identity)


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
