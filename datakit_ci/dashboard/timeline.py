"""When the builds of a target waited and ran, as bars on a common scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from datakit_ci.state import BuildState

__all__ = ["Bar", "Timeline", "timeline"]

_SCALE = 1000
"""Width of the whole scale, in the units of a bar."""

_THINNEST = 4
_MOST_IDLE = timedelta(hours=6)

_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


@dataclass(frozen=True, slots=True)
class Bar:
    """One build's waiting (``wait`` up to ``start``) and running (``start`` up to ``end``).

    Places are thousandths of the scale.
    """

    build: BuildState
    wait: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """Bars from the first to the last moment, and ``ticks`` as place and seconds."""

    bars: tuple[Bar, ...]
    ticks: tuple[tuple[int, int], ...]


def timeline(builds: Sequence[BuildState], now: datetime) -> Timeline | None:
    """The bars of those ``builds`` that began, by when they began; none if there are none.

    Builds that ended long before the newest began (their results were found in the cache, not
    made now) are left out: they would squeeze the others together.
    """
    ran = sorted(
        ((build, build.started, build.finished or now) for build in builds if build.started),
        key=lambda item: (item[1], item[2]),
    )
    if not ran:
        return None
    newest = max(end for _, _, end in ran)
    ran = [item for item in ran if newest - item[2] <= _MOST_IDLE]
    first = min(begin for _, begin, _ in ran)
    for build, begin, _ in ran:
        if build.queued is not None and build.queued < begin:
            first = min(first, build.queued)
    total = max((newest - first).total_seconds(), 0.1)

    def place(moment: datetime) -> int:
        return max(0, min(_SCALE, round((moment - first).total_seconds() / total * _SCALE)))

    bars = []
    for build, begin, end in ran:
        start = min(place(begin), _SCALE - _THINNEST)
        wait = min(place(build.queued), start) if build.queued is not None else start
        bars.append(Bar(build, wait, start, max(place(end), start + _THINNEST)))
    return Timeline(tuple(bars), _ticks(total))


def _ticks(total: float) -> tuple[tuple[int, int], ...]:
    """Round moments, at most seven, each with its place."""
    step = next((step for step in _STEPS if total / step <= 6), 86400)
    return tuple(
        (round(second / total * _SCALE), second)
        for second in range(0, min(int(total) + 1, 7 * step), step)
    )
