"""What a server counts of its traffic: plain integers, added up where the bytes go by.

A server answers hundreds of thousands of requests a second, so counting one must cost a few
dozen nanoseconds: no names are looked up and no clock is read for each request, only for each
batch. What the figures are called is the affair of whoever shows them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from datakit_core.metrics import Histogram
from datakit_core.ninep.messages import Tflush, Tversion

__all__ = ["Late", "Traffic"]

_TYPES = 256
"""A message's type is one byte."""


class Traffic:
    """The figures of one server, since it was made.

    A request counts when it has its reply, by the number of its type. One that a client gives up,
    or leaves behind when it goes, has none.

    Attributes:
        bytes_in: Received, broken frames included.
        bytes_out: Handed to the system to send.
        broken: Connections that were dropped for breaking the protocol.
        refused: Connections that were turned away because there were too many.
        answered: Requests by type.
        failed: Those of them that were answered with an error.
        flushed: Requests that were given up while they waited, by type.
        at_once: How long batches took, counted for each request in them that was answered at
            once, by its type: so long did its client wait.
        by_task: How long requests took that need more than a look, such as commits, by type.
    """

    __slots__ = (
        "answered",
        "at_once",
        "broken",
        "by_task",
        "bytes_in",
        "bytes_out",
        "failed",
        "flushed",
        "refused",
    )

    def __init__(self) -> None:
        """Nothing has happened yet."""
        self.bytes_in = self.bytes_out = self.broken = self.refused = 0
        self.answered = [0] * _TYPES
        self.failed = [0] * _TYPES
        self.flushed = [0] * _TYPES
        self.at_once: defaultdict[int, Histogram] = defaultdict(Histogram)
        self.by_task: defaultdict[int, Histogram] = defaultdict(Histogram)

    def add_batch(self, kinds: Sequence[int], nanoseconds: int) -> None:
        """Requests of these types were answered at once, together, in so much time."""
        if len(kinds) == 1:
            self.at_once[kinds[0]].add(nanoseconds)
        else:
            for kind, times in Counter(kinds).items():
                self.at_once[kind].add(nanoseconds, times)


class Late:
    """The requests of one connection that were not answered at once."""

    __slots__ = ("_requests", "_traffic")

    CONTROL = frozenset({Tversion.number, Tflush.number})
    """Types of requests that end others; to be told to :meth:`control`."""

    def __init__(self, traffic: Traffic) -> None:
        """Count in ``traffic`` what becomes of them."""
        self._traffic = traffic
        self._requests: dict[bytes, tuple[int, int | None]] = {}

    def add(self, frame: bytes, start: int | None) -> None:
        """A request will be answered later.

        Args:
            frame: The request.
            start: When it came, in nanoseconds, if the time until its answer is worth knowing;
                how long a reader of a stream waits for news is not.
        """
        self._requests[frame[5:7]] = frame[4], start

    def sent(self, reply: bytes, now: int) -> None:
        """A reply goes out, at ``now``."""
        found = self._requests.pop(reply[5:7], None)
        if found is None:
            return
        kind, start = found
        traffic = self._traffic
        traffic.answered[kind] += 1
        if reply[4] != kind + 1:
            traffic.failed[kind] += 1
        if start is not None:
            traffic.by_task[kind].add(now - start)

    def control(self, frame: bytes) -> None:
        """A flush or a new session has come, which ends requests without a reply."""
        if frame[4] == Tversion.number:
            self._requests.clear()
        elif (found := self._requests.pop(frame[7:9], None)) is not None:
            self._traffic.flushed[found[0]] += 1
