"""Subscribers to one thing: callbacks, and telling thousands of them without holding up others.

A few are told at once. Of many, the others are told in later turns of the event loop, so that
the commit which they hear of is acknowledged meanwhile, and other clients are served. Everybody
is told every value, in order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Generic, TypeAlias, TypeVar

__all__ = ["Soon", "Subscribers", "Subscription"]

_log = logging.getLogger(__name__)

V = TypeVar("V")

Soon: TypeAlias = Callable[[Callable[[], None]], object]
"""Calls something back in the next turn of the event loop; ``loop.call_soon`` is one."""

_AT_ONCE = 100
"""Callbacks in one turn; with the replies to clients that follow, about a millisecond."""

_MOST_ROUNDS = 4
"""Values that some may not have been told yet; at one more, whoever publishes waits for them."""


class Subscription:
    """One subscriber; :meth:`close` ends it, and no callback comes afterwards."""

    __slots__ = ("_on_close",)

    def __init__(self, on_close: Callable[[], None]) -> None:
        """Call ``on_close`` once, when it is closed."""
        self._on_close: Callable[[], None] | None = on_close

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._on_close is None

    def close(self) -> None:
        """End the subscription; a second time does nothing."""
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()


class _Round(Generic[V]):
    """A value, and who has not been told of it."""

    __slots__ = ("left", "value")

    def __init__(
        self, value: V, subscribers: list[tuple[Subscription, Callable[[V], None]]]
    ) -> None:
        self.value = value
        self.left: Iterator[tuple[Subscription, Callable[[V], None]]] = iter(subscribers)


class Subscribers(Generic[V]):
    """Callbacks, and telling them."""

    __slots__ = ("_callbacks", "_rounds", "_soon")

    def __init__(self, soon: Soon) -> None:
        """Nobody so far; ``soon`` is used when there are many."""
        self._soon = soon
        self._callbacks: dict[Subscription, Callable[[V], None]] = {}
        self._rounds: list[_Round[V]] = []  # a deque would take more memory than all the rest

    def __len__(self) -> int:
        """How many there are."""
        return len(self._callbacks)

    def add(self, callback: Callable[[V], None], forget: Callable[[], None]) -> Subscription:
        """Tell ``callback`` until the subscription is closed; ``forget`` is called then."""

        def on_close() -> None:
            del self._callbacks[subscription]
            forget()

        subscription = Subscription(on_close)
        self._callbacks[subscription] = callback
        return subscription

    def tell(self, value: V) -> None:
        """Call everybody who is subscribed now; one that fails harms no other.

        Those who cannot be told at once follow soon, and before they are told of anything else.
        """
        if not self._callbacks:
            return
        self._rounds.append(_Round(value, list(self._callbacks.items())))
        if len(self._rounds) == 1:
            self._go_on()
        elif len(self._rounds) > _MOST_ROUNDS:
            while len(self._rounds) > _MOST_ROUNDS:
                self._tell_some()

    def _go_on(self) -> None:
        self._tell_some()
        if self._rounds:
            self._soon(self._go_on)

    def _tell_some(self) -> None:
        """Call some of those who have waited longest; a callback may tell the next value."""
        left = _AT_ONCE
        while left and self._rounds:
            current = self._rounds[0]
            for subscription, callback in islice(current.left, left):
                left -= 1
                if not subscription.closed:  # since, maybe by a callback before it
                    _call(callback, current.value)
            if left and self._rounds and self._rounds[0] is current:
                del self._rounds[0]


def _call(callback: Callable[[V], None], value: V) -> None:
    try:
        callback(value)
    except Exception:  # noqa: BLE001  # a watcher's bug must not fail somebody's commit
        _log.exception("a watcher's callback failed")
