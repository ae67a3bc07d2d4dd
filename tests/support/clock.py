"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

__all__ = ["START", "FakeClock"]

START = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)


class FakeClock:
    """Starts at :data:`START`; each look at it takes a millisecond, so no two moments are one."""

    def __init__(self) -> None:
        self._now = START
        self._sleepers: list[tuple[datetime, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """The time, UTC."""
        self._now += timedelta(milliseconds=1)
        return self._now

    def advance(self, **lengths: float) -> None:
        """Move on by ``hours=``, ``minutes=`` or ``seconds=``, and wake who waited for that."""
        self._now += timedelta(**lengths)
        due = [future for moment, future in self._sleepers if moment <= self._now]
        self._sleepers = [each for each in self._sleepers if each[0] > self._now]
        for future in due:
            if not future.done():
                future.set_result(None)

    async def sleep_until(self, moment: datetime) -> None:
        """Return when a test has moved the clock to ``moment``."""
        if moment > self._now:
            future = asyncio.get_running_loop().create_future()
            self._sleepers.append((moment, future))
            await future
