"""Long computations in steps, so that nobody else need wait for their end.

A computation that may take long is a generator: it yields now and then, and returns its value.
:func:`at_once` runs it where nobody else is waiting; on an event loop that is
:func:`datakit_core.store.slices.in_slices`. Pure.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias, TypeVar

__all__ = ["Steps", "at_once"]

T = TypeVar("T")

Steps: TypeAlias = Generator[None, None, T]
"""A computation that stops at each ``yield`` for as long as it is left alone."""


def at_once(steps: Steps[T]) -> T:
    """Run ``steps`` to the end; their value."""
    try:
        while True:
            next(steps)
    except StopIteration as end:
        value: T = end.value
        return value
