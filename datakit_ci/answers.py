"""Finding the answers to needs: the engine's eyes on the database.

Builds are not answered here: they take time, pools and an executor (:mod:`datakit_ci.builds`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

from datakit_ci.clock import Clock
from datakit_ci.containers import watch_engine
from datakit_ci.findings import Findings
from datakit_ci.moments import Schedule
from datakit_ci.need import (
    BranchHead,
    Fetched,
    HasEngine,
    JobsIn,
    LastMoment,
    Need,
    NextCommit,
    PipelineTree,
    PublishedTree,
    PullRequestOf,
    Trouble,
)
from datakit_ci.publishing import FlowBranches
from datakit_core.client.api import CommitId, Database
from datakit_core.errors import DatakitError

__all__ = ["Answers"]

_log = logging.getLogger(__name__)

A = TypeVar("A")

_FIRST_PAUSE = timedelta(seconds=2)
_LONGEST_PAUSE = timedelta(minutes=5)
"""Until a branch that could not be published is tried again: each time twice as long."""

_RETRY = 60.0
"""Seconds until a commit that could not be fetched is tried again."""


class Answers:
    """Looks needs up, each once, and says what it found.

    Heads of branches and schedules are followed until nobody needs them any more. What is said of a
    commit is looked up again when the engine says so; the other answers never change.
    """

    def __init__(
        self,
        database: Database,
        group: asyncio.TaskGroup,
        found: Callable[[Need[Any], Any], None],
        clock: Clock,
        others: Callable[[Need[Any]], Awaitable[object]],
    ) -> None:
        """Look in ``database``, from tasks of ``group``; ``found`` takes need and answer.

        What is asked to know which pipeline judges a target, ``others`` answer.
        """
        self._others = others
        self._clock = clock
        self._database = database
        self._group = group
        self._tell = found
        self._flows = FlowBranches(database)
        self._findings = Findings(database)
        self._tasks: dict[Need[Any], asyncio.Task[None]] = {}
        self._unanswered: set[Need[Any]] = set()

    @property
    def busy(self) -> bool:
        """Whether a need has no answer yet."""
        return bool(self._unanswered)

    def ask(self, need: Need[Any]) -> None:
        """Start to look ``need`` up, unless that is under way."""
        if need not in self._tasks:
            task = self._group.create_task(self._answer(need))
            self._tasks[need] = task
            self._unanswered.add(need)
            task.add_done_callback(lambda done: self._forget(need, done))

    def again(self, need: Need[Any]) -> None:
        """Look ``need`` up once more: its answer may be another one by now."""
        self.drop(need)
        self.ask(need)

    def drop(self, need: Need[Any]) -> None:
        """Stop looking: nobody needs it any more."""
        self._unanswered.discard(need)
        if (task := self._tasks.pop(need, None)) is not None:
            task.cancel()

    def _forget(self, need: Need[Any], done: asyncio.Task[None]) -> None:
        """A look-up has ended; another one for the same need may have begun meanwhile."""
        if self._tasks.get(need) is done:
            del self._tasks[need]

    def _found(self, need: Need[Any], answer: object) -> None:
        self._unanswered.discard(need)
        self._tell(need, answer)

    async def _answer(self, need: Need[Any]) -> None:
        """The boundary of a look-up: whatever goes wrong is the answer."""
        try:
            if isinstance(need, BranchHead):
                async for head in self._database.watch_head(need.branch):
                    self._found(need, head)
            elif isinstance(need, Fetched):
                await self._refetch(need)
            elif isinstance(need, HasEngine):
                async for is_there in watch_engine():
                    self._found(need, is_there)
            elif isinstance(need, NextCommit):
                async for head in self._database.watch_head(need.branch):
                    self._found(need, await self._flows.next_commit(need, head))
            elif isinstance(need, PublishedTree):
                await self._publish(need)
            elif isinstance(need, LastMoment):
                await self._follow(need)
            else:
                is_other = isinstance(need, PullRequestOf | PipelineTree | JobsIn)
                find = self._others if is_other else self._findings.find
                self._found(need, await find(need))
        except DatakitError as error:
            self._found(need, Trouble(str(error)))
        except Exception as error:  # noqa: BLE001 - a task's boundary: the traceback is logged
            _log.exception("cannot look up %s", need)
            self._found(need, Trouble(f"{type(error).__name__}: {error}"))

    async def _refetch(self, need: Fetched) -> None:
        """Fetch a ref again and again; what was found once stays while it cannot be fetched."""
        found: CommitId | None = None
        while True:
            try:
                found = await self._database.fetch(need.url, need.ref)
                self._found(need, found)
                if not need.every:
                    return
            except DatakitError as error:
                _log.warning("%s", error)
                if found is None:
                    self._found(need, Trouble(str(error)))
            await asyncio.sleep(need.every or _RETRY)

    async def _publish(self, need: PublishedTree) -> None:
        """Publish a tree; again and again, as long as it is wanted and something is in the way."""
        pause = _FIRST_PAUSE
        while True:
            try:
                self._found(need, await self._flows.publish(need))
            except DatakitError as error:
                _log.warning("%s cannot be published: %s", need.branch, error)
                again = f"{error}; it is tried again after {pause.total_seconds():g} s"
                self._found(need, Trouble(again))
                await self._clock.sleep_until(self._clock.now() + pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._advance(need.branch)
                return

    def _advance(self, flow: str) -> None:
        """A flow is done with a commit: look for its next one."""
        for need in list(self._tasks):
            if isinstance(need, NextCommit) and need.flow == flow:
                self.again(need)

    async def _follow(self, need: LastMoment) -> None:
        """Tell each moment of a schedule as it comes; those that were missed are one."""
        schedule = Schedule(need.schedule)
        while True:
            now = self._clock.now()
            self._found(need, schedule.last(now))
            await self._clock.sleep_until(schedule.next(now))
