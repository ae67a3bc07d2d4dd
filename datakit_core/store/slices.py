"""Running the steps of a long computation on an event loop, and letting others have their turn.

What ends within the first few steps, or milliseconds, is not interrupted, so an ordinary small
case costs what it would cost without.
"""

from __future__ import annotations

import asyncio
import time
from typing import TypeVar

from datakit_core.store.steps import Steps

__all__ = ["in_slices"]

T = TypeVar("T")

_FEW = 32
"""Steps that are taken at once, on however busy a machine."""

_SLICE = 3_000_000
"""Nanoseconds after which others have their turn."""


async def in_slices(steps: Steps[T]) -> T:
    """Run ``steps`` to the end, and let others have their turn every few milliseconds."""
    until = time.perf_counter_ns() + _SLICE
    try:
        for _ in range(_FEW):
            next(steps)
        while True:
            next(steps)
            if time.perf_counter_ns() > until:
                await asyncio.sleep(0)
                until = time.perf_counter_ns() + _SLICE
    except StopIteration as end:
        value: T = end.value
        return value
