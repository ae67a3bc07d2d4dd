"""How late an event loop is: the time for which something has kept it from its other work."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from datakit_core.metrics.histogram import Histogram

__all__ = ["measure_lag"]

_INTERVAL = 0.1
"""Seconds between two looks."""


@contextmanager
def measure_lag(lag: Histogram) -> Iterator[None]:
    """Count in ``lag`` how late a timer of the running loop fires, again and again."""
    loop = asyncio.get_running_loop()
    due = 0.0
    timer: asyncio.TimerHandle

    def start() -> None:
        nonlocal due, timer
        due = loop.time() + _INTERVAL
        timer = loop.call_at(due, look)

    def look() -> None:
        lag.add(max(0, int((loop.time() - due) * 1e9)))
        start()

    start()
    try:
        yield
    finally:
        timer.cancel()
