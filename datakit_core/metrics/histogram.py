"""How often something took how long, in integers only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Self

__all__ = ["Histogram"]

_SHIFT = 13
_BUCKETS = 22
"""Bounds are 2**13, 2**14, ... nanoseconds: from 8 microseconds to 17 seconds."""

_WIDTH = 64 - _SHIFT
"""As many places as any time has, so that counting needs no comparison."""


class Histogram:
    """Counts durations by powers of two.

    Attributes:
        counts: How often, by place; the bound of a place is twice that of the one before.
        total: The sum of what was counted, in nanoseconds.
    """

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        """Nothing is counted yet."""
        self.total = 0
        self.counts = [0] * _WIDTH

    @classmethod
    def sum(cls, histograms: Iterable[Histogram]) -> Self:
        """What several have counted."""
        result = cls()
        for each in histograms:
            result.total += each.total
            pairs = zip(result.counts, each.counts, strict=True)
            result.counts = [one + other for one, other in pairs]
        return result

    @property
    def count(self) -> int:
        """How many were counted."""
        return sum(self.counts)

    def add(self, nanoseconds: int, times: int = 1) -> None:
        """Count ``nanoseconds``, which is less than 584 years, as often as ``times`` says."""
        self.counts[(nanoseconds >> _SHIFT).bit_length()] += times
        self.total += nanoseconds * times

    def cumulative(self, first: int = 0) -> Iterator[tuple[float, int]]:
        """Each bound in seconds and how many were below it; the last bound is infinite.

        Args:
            first: How many of the lowest bounds to leave out, and to go higher by: with 10 they
                are from 8 milliseconds to 5 hours.
        """
        below = sum(self.counts[:first])
        for place in range(first, first + _BUCKETS):
            below += self.counts[place]
            yield (1 << (_SHIFT + place)) / 1e9, below
        yield float("inf"), below + sum(self.counts[first + _BUCKETS :])
