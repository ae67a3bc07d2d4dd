"""Telling any number of listeners which targets have changed since they last asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

from datakit_ci.target import Target

__all__ = ["Changes"]


class Changes:
    """Level-triggered: a slow listener is told of several changes of a target as one.

    A listener costs a set of the targets that it has yet to hear of, never a queue of changes.
    """

    def __init__(self, known: Callable[[], Iterable[Target]]) -> None:
        """``known`` gives all targets, which a new listener is told first."""
        self._known = known
        self._listeners: set[_Listener] = set()

    def tell(self, target: Target) -> None:
        """Something about ``target`` is different now, or it is gone."""
        for listener in self._listeners:
            listener.pending.add(target)
            listener.wake.set()

    async def listen(self) -> AsyncIterator[frozenset[Target]]:
        """All targets at once; then, each time, those that changed since."""
        listener = _Listener()
        self._listeners.add(listener)
        try:
            yield frozenset(self._known())
            while True:
                await listener.wake.wait()
                listener.wake.clear()
                pending, listener.pending = listener.pending, set()
                yield frozenset(pending)
        finally:
            self._listeners.discard(listener)


class _Listener:
    """What one listener has yet to hear."""

    def __init__(self) -> None:
        self.pending: set[Target] = set()
        self.wake = asyncio.Event()
