"""Waking up everybody who waits for a change, without knowing who they are."""

from __future__ import annotations

import asyncio

__all__ = ["Pulse"]


class Pulse:
    """Something that changes now and then.

    Who waits takes :attr:`next` *before* looking at the state, and waits for that if the state is
    not the wanted one: a change in between is then not missed::

        while True:
            change = pulse.next
            if condition():
                return
            await change.wait()
    """

    def __init__(self) -> None:
        """Nobody waits yet."""
        self._next = asyncio.Event()

    @property
    def next(self) -> asyncio.Event:
        """Set at the next change after now."""
        return self._next

    def beat(self) -> None:
        """Something has changed."""
        self._next.set()
        self._next = asyncio.Event()
