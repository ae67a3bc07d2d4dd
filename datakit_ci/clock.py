"""The time of day, behind a protocol: tests have a clock of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Alarms", "Clock", "SystemClock"]

_LONGEST = 60.0
"""Seconds after which the time is looked at again: the system's clock may be set meanwhile."""


class Clock(Protocol):
    """Says what time it is, and waits."""

    def now(self) -> datetime:
        """The time, UTC."""
        ...

    async def sleep_until(self, moment: datetime) -> None:
        """Return when ``moment`` has come."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The time, UTC."""
        return datetime.now(UTC)

    async def sleep_until(self, moment: datetime) -> None:
        """Return when ``moment`` has come, also if the clock is set while waiting."""
        while (seconds := (moment - self.now()).total_seconds()) > 0:  # noqa: ASYNC110 - a clock
            await asyncio.sleep(min(seconds, _LONGEST))


class Alarms:
    """Things to be done at some moment: at most one for each key."""

    def __init__(self, clock: Clock, group: asyncio.TaskGroup) -> None:
        """Wait in tasks of ``group``."""
        self._clock = clock
        self._group = group
        self._tasks: dict[Hashable, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def set(self, key: Hashable, moment: datetime, ring: Callable[[], None]) -> None:
        """Call ``ring`` at ``moment``, instead of what was to be done for ``key``."""
        self.drop(key)
        self._tasks[key] = self._group.create_task(self._wait(key, moment, ring))

    def drop(self, key: Hashable) -> None:
        """Do nothing for ``key``."""
        if (task := self._tasks.pop(key, None)) is not None:
            task.cancel()

    async def _wait(self, key: Hashable, moment: datetime, ring: Callable[[], None]) -> None:
        await self._clock.sleep_until(moment)
        del self._tasks[key]
        ring()
