"""``times.json``: when the bytes of a log were written, beside the log and never within it.

Each entry says how long was the log at some moment, so that a reader who knows where a line begins
knows when it was printed. There are at most :data:`MOST` entries: when there are more, every other
one is dropped and from then on they are taken half as often. So the record of a log is small,
however long the build runs, and as exact as its length allows: 50 ms for a quarter of an hour of
output without a pause, a second for five hours of it.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from typing import Self

from datakit_ci.canonical import canonical_json
from datakit_core.errors import StoreError

__all__ = ["MOST", "LogTimes", "Timekeeper"]

MOST = 16_384
"""Entries of one record."""

_SPACING = 50
"""Milliseconds between two entries, to begin with."""

_VERSION = 1


@dataclass(frozen=True, slots=True)
class LogTimes:
    """When a log was written.

    Attributes:
        started: The moment that the others are counted from, UTC.
        offsets: Where in the log something began to be written; they increase.
        moments: When that was: milliseconds after ``started``; they do not decrease.
    """

    started: datetime
    offsets: Sequence[int]
    moments: Sequence[int]

    def at(self, offset: int) -> int | None:
        """When the byte at ``offset`` was written, in milliseconds; none if nothing says so."""
        place = bisect_right(self.offsets, offset)
        return self.moments[place - 1] if place else None

    def to_bytes(self) -> bytes:
        """The file's content: steps from one entry to the next, since small numbers are short."""
        return canonical_json(
            {
                "version": _VERSION,
                "started": self.started.astimezone(UTC).isoformat(timespec="milliseconds"),
                "bytes": _steps(self.offsets),
                "milliseconds": _steps(self.moments),
            }
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read a file; fields of later versions are ignored.

        Raises:
            StoreError: It is damaged, or of another version.
        """
        try:
            match json.loads(content):
                case {
                    "version": 1,
                    "started": str(started),
                    "bytes": list(octets),
                    "milliseconds": list(moments),
                } if len(octets) == len(moments) and _are_steps([*octets, *moments]):
                    start = datetime.fromisoformat(started)
                    return cls(start, tuple(accumulate(octets)), tuple(accumulate(moments)))
                case _:
                    raise StoreError("damaged times.json: a field is missing or of another kind")
        except ValueError as error:
            raise StoreError(f"damaged times.json: {error}") from error


class Timekeeper:
    """Notes when a log grows, while it does."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        """Tell the time by ``now``."""
        self._now = now
        self._started = now()
        self._spacing = _SPACING
        self._offsets: list[int] = []
        self._moments: list[int] = []

    def growing(self, size: int) -> None:
        """Something is about to be written where the log is ``size`` bytes long."""
        moment = round((self._now() - self._started).total_seconds() * 1000)
        if self._offsets and moment < self._moments[-1] + self._spacing:
            return  # also when the clock was set back: then the last moment holds for longer
        if len(self._offsets) == MOST:
            del self._offsets[1::2], self._moments[1::2]
            self._spacing *= 2
        self._offsets.append(size)
        self._moments.append(max(0, moment))

    def times(self) -> LogTimes:
        """What was noted so far."""
        return LogTimes(self._started, tuple(self._offsets), tuple(self._moments))


def _steps(numbers: Sequence[int]) -> list[int]:
    return [after - before for before, after in zip([0, *numbers], numbers, strict=False)]


def _are_steps(numbers: Sequence[object]) -> bool:
    return all(type(number) is int and number >= 0 for number in numbers)
