"""A live log as server-sent events, for any number of readers.

Lines are sent as HTML, each event's id being the :class:`~datakit_ci.dashboard.ansi.Cursor` after
it, from which a browser that lost its connection goes on (``Last-Event-ID``, WHATWG HTML 9.2). Who
begins further back than what is being written first gets what lies between, read and rendered for
them; then they are one of many (:mod:`datakit_ci.dashboard.channel`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from aiohttp import web

from datakit_ci.dashboard.ansi import START, Cursor, Line, LogRenderer
from datakit_ci.dashboard.channel import CHANNELS, Channel, News
from datakit_ci.dashboard.found import find_build
from datakit_ci.dashboard.live import STREAMS, Guest, Stream
from datakit_ci.dashboard.logbook import LOGS
from datakit_ci.dashboard.logpage import moment_asked, timed
from datakit_ci.dashboard.rendering import PAGES, Pages
from datakit_ci.dashboard.scope import source_of
from datakit_ci.dashboard.source import Source, finish
from datakit_ci.logtimes import LogTimes
from datakit_ci.state import BuildState

__all__ = ["send_log"]

_STEP = 64 * 1024
"""Bytes of log in one event for who catches up."""

_TRUSTED = 1.0
"""Seconds for which a reader who could see the build is taken to be one who still can."""


async def send_log(request: web.Request) -> web.StreamResponse:
    """Send a build's log from ``Last-Event-ID`` (or ``?from=``) on, to its end, as HTML lines.

    Until the build has started, events called ``waits`` say why, whenever that changes.
    """
    build = await find_build(request)
    cursor, source = _cursor(request), source_of(request)
    moment = moment_asked()
    async with request.app[LOGS].open(source, build, moment) as log:
        tail = log.index.end
    encode = partial(_encode, request.app[PAGES])
    key = (build.id, build.started, moment)
    with request.app[CHANNELS].join(key, lambda: Channel(tail, encode)) as channel:
        async with request.app[STREAMS].open(request) as stream:
            reader = _Reader(stream, Guest(request), channel, source, build, encode)
            async with reader.leading():
                if await reader.catch_up(cursor):
                    await reader.watch()
    return stream.response


def _encode(pages: Pages, news: News) -> bytes:
    """An event with lines; those before ``first`` that were not sent can be asked for."""
    html = {
        "first": news.end.line - len(news.lines),
        "lines": _html(pages, news.lines, news.times),
        "partial": _html(pages, (news.partial,) if news.partial else (), news.times),
    }
    return f"id: {news.end}\nevent: lines\ndata: {json.dumps(html)}\n\n".encode()


def _html(pages: Pages, lines: Sequence[Line], times: LogTimes | None) -> str:
    return pages.text("lines.html", lines=timed(lines, times)) if lines else ""


class _Reader:
    """One who watches."""

    def __init__(
        self,
        stream: Stream,
        guest: Guest,
        channel: Channel,
        source: Source,
        build: BuildState,
        encode: partial[bytes],
    ) -> None:
        self._stream, self._guest, self._channel = stream, guest, channel
        self._source, self._build, self._encode = source, build, encode
        self._next = 0  # the number of the event that comes next
        self._reason = ""
        self._beats = channel.beats
        self._checked = asyncio.get_running_loop().time()
        self._group: asyncio.TaskGroup | None = None
        self._lead: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def leading(self) -> AsyncIterator[None]:
        """Within this, the reader reads the log for all if nobody else does."""
        try:
            async with asyncio.TaskGroup() as self._group:
                try:
                    yield
                finally:
                    if self._lead is not None:
                        self._lead.cancel()
        finally:
            if self._channel.leader is self:
                self._channel.leader = None
                self._channel.pulse.beat()

    async def catch_up(self, cursor: Cursor) -> bool:
        """Send what lies between ``cursor`` and what is being written; whether that went well."""
        while (number := self._channel.starting_at(cursor)) is None:
            change = self._channel.pulse.next
            if not await self._may_read():
                return False
            if cursor.offset < self._channel.tail.offset:
                reached = await self._send_between(cursor, self._channel.tail.offset)
                if reached.offset <= cursor.offset:
                    return False  # there is less of the log than there was
                cursor = reached
            elif self._channel.is_closed:
                return False
            else:  # the page was made a moment after the last event: the next one passes it
                await self._wait(change)
        self._next = number
        if number == self._channel.next and self._channel.latest:
            await self._stream.write(self._channel.latest)
        return True

    async def _send_between(self, cursor: Cursor, end: int) -> Cursor:
        """Send the log from ``cursor`` to byte ``end``, where a line begins."""
        renderer, offset = LogRenderer(cursor), cursor.offset
        times = await self._source.log_times(self._build.id)
        log = self._source.follow_log(self._build.id, cursor.offset)
        try:
            while offset < end and (piece := await anext(log, b"")):
                piece = piece[: end - offset]
                offset += len(piece)
                for start in range(0, len(piece), _STEP):
                    begin = renderer.cursor
                    lines = renderer.feed(piece[start : start + _STEP])
                    news = News(begin, renderer.cursor, lines, None, times)
                    await self._stream.write(self._encode(news))
                    await asyncio.sleep(0)
        finally:
            await finish(log)
        return renderer.cursor

    async def watch(self) -> None:
        """Send what comes, to the end; not to a reader who is too slow, or who may no more."""
        channel = self._channel
        while await self._may_read():
            change = channel.pulse.next
            if self._next < channel.next:
                event = channel.event(self._next)
                if event is None:
                    return  # too slow: the browser comes back, with the place where it was
                await self._stream.write(event)
                self._next += 1
            elif channel.reason and channel.reason != self._reason:
                self._reason = channel.reason
                await self._stream.send("waits", self._reason)
            elif channel.is_closed:
                await self._stream.send("end", None, str(channel.tail))
                return
            else:
                await self._wait(change)

    async def _wait(self, change: asyncio.Event) -> None:
        """Wait for news, or a heartbeat; read the log if nobody does."""
        if self._channel.leader is None:
            assert self._group is not None
            self._channel.leader = self
            lead = self._channel.lead(self._source, self._build.id)
            self._lead = self._group.create_task(lead)
        if self._beats == self._channel.beats:
            await change.wait()
        if self._beats != self._channel.beats:
            self._beats = self._channel.beats
            await self._stream.send("ping", None)

    async def _may_read(self) -> bool:
        if self._lead is not None and self._lead.done() and not self._channel.is_closed:
            return False  # it could not go on
        now = asyncio.get_running_loop().time()
        if now - self._checked < _TRUSTED:
            return True
        self._checked = now
        is_welcome = await self._guest.is_welcome()
        return is_welcome and await self._source.build(self._build.id) is not None


def _cursor(request: web.Request) -> Cursor:
    text = request.headers.get("Last-Event-ID") or request.query.get("from")
    if not text:
        return START
    try:
        return Cursor.parse(text)
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"Last-Event-ID: {error}.") from error
