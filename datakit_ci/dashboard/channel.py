"""One live log for all who watch it: read once, rendered once, sent to each.

Who comes first leads: their request reads the log and renders it, and all others send what comes
of that. When the leader goes, the next one who notices goes on from the same place. So there is no
task that nobody owns, and a log is read with the rights of somebody who is looking at it.

What was rendered is kept for a short while, so that a reader who is a little slow misses nothing;
one who is slower than that is cut off, and comes back with the place where they were.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from datakit_ci.dashboard.ansi import Cursor, Line, LogRenderer
from datakit_ci.dashboard.live import HEARTBEAT
from datakit_ci.dashboard.source import Source, finish
from datakit_ci.livelog import Pending
from datakit_ci.logtimes import LogTimes
from datakit_ci.pulse import Pulse
from datakit_ci.state import BuildId

__all__ = ["CHANNELS", "Channel", "Channels", "News"]

_SPACING = 0.05
"""Seconds between two events: what comes meanwhile is sent together."""

_BACKLOG = 1 << 20
"""Bytes of log that wait to be rendered; then the reader waits."""

_RENDERED = 32 << 10
"""Bytes of log rendered for one event: of more, only the end, and scripts ask for the rest."""

_KEPT = 1 << 20
"""Bytes of events that are kept for slow readers."""


@dataclass(frozen=True, slots=True)
class News:
    """What a channel has to tell.

    Attributes:
        start: Where the reader has to be who can use it.
        end: Where they are then.
        lines: The finished lines between the two, or the last of them.
        partial: The unfinished line after them.
        times: When the log was written; none if nobody knows.
    """

    start: Cursor
    end: Cursor
    lines: Sequence[Line]
    partial: Line | None
    times: LogTimes | None


class Channel:
    """A log that is being written, from some place on.

    Attributes:
        tail: How far it has been told: the start of a line.
        latest: What was told last, for who has just arrived at the tail; empty: nothing yet.
        reason: The event that says why the build waits; empty while it does not.
        is_closed: Whether the log has ended.
        leader: Who reads the log; none: whoever notices first is to.
        pulse: Beats when there is news, and when the leader goes.
        next: The number of the next event.
        beats: How often it was time for readers to say that they are still there.
        users: How many watch.
    """

    def __init__(self, tail: Cursor, encode: Callable[[News], bytes]) -> None:
        """Begin at ``tail``; ``encode`` makes an event of news, once for all readers."""
        self.tail = tail
        self.latest = b""
        self.reason = ""
        self.is_closed = False
        self.leader: object | None = None
        self.pulse = Pulse()
        self.next = 0
        self.beats = 0
        self.users = 0
        self._encode = encode
        self._events: deque[tuple[Cursor, bytes]] = deque()
        self._octets = 0

    def event(self, number: int) -> bytes | None:
        """The event of a number that has been told; none if it is no longer kept."""
        place = number - (self.next - len(self._events))
        return self._events[place][1] if place >= 0 else None

    def starting_at(self, cursor: Cursor) -> int | None:
        """The number of the first event that who stands at ``cursor`` can use; none: there is none.

        At the tail that is the next one.
        """
        first = self.next - len(self._events)
        for place, (start, _) in enumerate(self._events):
            if start.offset == cursor.offset:
                return first + place
        return self.next if cursor.offset == self.tail.offset else None

    def beat(self) -> None:
        """Have all readers tell their browsers that they are still there."""
        self.beats += 1
        self.pulse.beat()

    async def lead(self, source: Source, build: BuildId) -> None:
        """Read the log and tell what comes, until it ends or this is cancelled."""
        feed = _Feed()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._collect(feed, source, build))
            heart = group.create_task(self._live())
            await self._publish(feed, source, build)
            heart.cancel()
        self.is_closed = await source.build(build) is not None  # else only our right has ended
        self.pulse.beat()

    async def _live(self) -> None:
        """Wake all readers now and then: one clock instead of one for each."""
        while True:
            await asyncio.sleep(HEARTBEAT)
            self.beat()

    async def _collect(self, feed: _Feed, source: Source, build: BuildId) -> None:
        log = source.watch_log(build, self.tail.offset)
        try:
            async for event in log:
                if isinstance(event, Pending):
                    self.reason = event.reason
                    self.pulse.beat()
                else:
                    await feed.put(event)
        finally:
            await finish(log)
        feed.close()

    async def _publish(self, feed: _Feed, source: Source, build: BuildId) -> None:
        renderer = LogRenderer(self.tail)
        while (data := await feed.take()) is not None:
            self.reason = ""
            start = renderer.cursor
            cut = data.rfind(b"\n", 0, max(0, len(data) - _RENDERED)) + 1
            if cut:
                renderer.skip(data[:cut])
            lines = renderer.feed(data[cut:])
            times = await source.log_times(build)
            self._tell(News(start, renderer.cursor, lines, renderer.partial(), times))
            await asyncio.sleep(_SPACING)

    def _tell(self, news: News) -> None:
        self.latest = self._encode(News(news.end, news.end, (), news.partial, news.times))
        event = self._encode(news) if news.lines or news.start != news.end else self.latest
        self._events.append((news.start, event))
        self._octets += len(event)
        while self._octets > _KEPT and len(self._events) > 1:
            self._octets -= len(self._events.popleft()[1])
        self.tail = news.end
        self.next += 1
        self.pulse.beat()


class _Feed:
    """Bytes between who reads the log and who renders it."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._is_closed = False
        self._pulse = Pulse()

    async def put(self, data: bytes) -> None:
        """Add ``data``; waits first while much is waiting."""
        while len(self._waiting) >= _BACKLOG:
            await self._pulse.next.wait()
        self._waiting += data
        self._pulse.beat()

    def close(self) -> None:
        """No more will come."""
        self._is_closed = True
        self._pulse.beat()

    async def take(self) -> bytes | None:
        """All that waits, when there is something; none at the end."""
        while not self._waiting:
            if self._is_closed:
                return None
            await self._pulse.next.wait()
        data = bytes(self._waiting)
        self._waiting.clear()
        self._pulse.beat()
        return data


class Channels:
    """The channels that somebody uses."""

    def __init__(self) -> None:
        """There is none."""
        self._channels: dict[Hashable, Channel] = {}

    def __len__(self) -> int:
        return len(self._channels)

    def __iter__(self) -> Iterator[Channel]:
        return iter(self._channels.values())

    @contextmanager
    def join(self, key: Hashable, make: Callable[[], Channel]) -> Iterator[Channel]:
        """Use the channel of a ``key``; the first one who does makes it."""
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = make()
        channel.users += 1
        try:
            yield channel
        finally:
            channel.users -= 1
            if not channel.users:
                del self._channels[key]


CHANNELS: Final = web.AppKey("channels", Channels)
