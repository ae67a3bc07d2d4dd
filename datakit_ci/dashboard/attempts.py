"""How often somebody may try to log in: guessing passwords takes longer than anybody has."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

__all__ = ["Attempts", "Limit", "network_of"]

_MOST = 20_000
"""Keys that are remembered; of more, those that were quiet for longest are forgotten."""


@dataclass(frozen=True, slots=True)
class Limit:
    """So many attempts, which come back evenly within so many seconds."""

    attempts: int
    seconds: float


class Attempts:
    """Counts attempts by keys, such as an address or a user's name: leaky buckets."""

    def __init__(self, clock: Callable[[], float], *, most: int = _MOST) -> None:
        """Remember at most ``most`` keys; ``clock`` in seconds."""
        self._clock = clock
        self._most = most
        self._full: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, wanted: Sequence[tuple[str, Limit]]) -> float:
        """Count an attempt for all keys, if each of them has one left.

        Returns:
            0; or, if one has none left, after how many seconds it will. Then nothing is counted.
        """
        now = self._clock()
        wait = max(self._wait(key, limit, now) for key, limit in wanted)
        if wait > 0:
            return wait
        for key, limit in wanted:
            self._put(key, self._level(key, limit, now) + 1, now)
        return 0.0

    def give_back(self, wanted: Sequence[tuple[str, Limit]]) -> None:
        """The attempt was a good one: it does not count."""
        now = self._clock()
        for key, limit in wanted:
            self._put(key, max(0.0, self._level(key, limit, now) - 1), now)

    def _level(self, key: str, limit: Limit, now: float) -> float:
        level, then = self._full.get(key, (0.0, now))
        return max(0.0, level - (now - then) * limit.attempts / limit.seconds)

    def _wait(self, key: str, limit: Limit, now: float) -> float:
        excess = self._level(key, limit, now) + 1 - limit.attempts
        return max(0.0, excess * limit.seconds / limit.attempts)

    def _put(self, key: str, level: float, now: float) -> None:
        self._full[key] = (level, now)
        self._full.move_to_end(key)
        while len(self._full) > self._most:
            self._full.popitem(last=False)


def network_of(address: str) -> str:
    """Who may be one and the same: an address, or, of version 6, the network around it."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64))
    return str(parsed)
