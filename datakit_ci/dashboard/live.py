"""Server-sent events: that targets changed, and lines of a log as they are written.

A stream tells *that* something changed, and the browser then asks for the page again: so there
is one way to render state, and a missed event costs nothing. Logs are the exception: their lines
are sent, each event's id being the :class:`~datakit_ci.dashboard.ansi.Cursor` after it, from
which a browser that lost its connection goes on (``Last-Event-ID``, WHATWG HTML 9.2).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Iterable
from typing import Final

from aiohttp import web

from datakit_ci.dashboard.ansi import START, Cursor, Line, LogRenderer
from datakit_ci.dashboard.builds import find_build
from datakit_ci.dashboard.rendering import PAGES, path_of
from datakit_ci.dashboard.scope import source_of
from datakit_ci.dashboard.source import finish
from datakit_ci.livelog import Pending
from datakit_ci.target import Target

__all__ = ["STREAMS", "Streams", "send_changes", "send_log"]

_LOG = logging.getLogger(__name__)

_HEARTBEAT = 15.0
"""Seconds of silence after which we say that we are still there; browsers wait twice as long."""

_SPACING = 0.1
"""Seconds between two events: what changes meanwhile is told together."""

_STALLED = 30.0
"""Seconds after which a client that does not read is cut off; it will come back."""

_MOST_NAMED = 50
"""Changed targets that are named; of more, only that there are many."""

_BACKLOG = 64 * 1024
"""Bytes of log taken from the engine before they are sent: then the engine's reader waits."""


class Streams:
    """The open streams, so that stopping the server does not wait for their ends."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[object]] = set()

    async def close(self, _app: web.Application) -> None:
        """End all streams; browsers try again until a server answers."""
        for task in self._tasks:
            task.cancel()

    @contextlib.asynccontextmanager
    async def open(self, request: web.Request) -> AsyncIterator[_Stream]:
        """A stream in answer to ``request``; ends without fuss when the client goes."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            yield await _Stream.start(request)
        except* (ConnectionError, TimeoutError):
            _LOG.debug("the reader of %s left", request.rel_url.raw_path)
        finally:
            self._tasks.discard(task)


STREAMS: Final = web.AppKey("streams", Streams)


class _Stream:
    """One answer of type ``text/event-stream``."""

    def __init__(self, response: web.StreamResponse) -> None:
        self.response = response

    @classmethod
    async def start(cls, request: web.Request) -> _Stream:
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
            }
        )
        await response.prepare(request)
        stream = cls(response)
        await stream.write(b"retry: 1000\n\n")
        return stream

    async def send(self, event: str, data: object, identity: str = "") -> None:
        """Send one event; ``data`` is sent as JSON, which never holds a line break."""
        head = f"id: {identity}\n" if identity else ""
        await self.write(f"{head}event: {event}\ndata: {json.dumps(data)}\n\n".encode())

    async def write(self, data: bytes) -> None:
        async with asyncio.timeout(_STALLED):
            await self.response.write(data)


async def send_changes(request: web.Request) -> web.StreamResponse:
    """Tell which targets changed, from now on, at most ten times a second."""
    changed: set[Target] = set()
    news = asyncio.Event()

    async def collect() -> None:
        changes = source_of(request).changes()
        try:
            async for targets in changes:
                changed.update(targets)
                news.set()
        finally:
            await finish(changes)

    async with request.app[STREAMS].open(request) as stream, asyncio.TaskGroup() as group:
        group.create_task(collect())
        await _send_names(stream, changed, news)
    return stream.response


async def _send_names(stream: _Stream, changed: set[Target], news: asyncio.Event) -> None:
    """Send and empty ``changed`` whenever there is ``news``; ends only with the connection."""
    while True:
        if not await _happens(news):
            await stream.send("ping", None)
            continue
        news.clear()
        names = _names(changed)
        changed.clear()
        await stream.send("targets", names)
        await asyncio.sleep(_SPACING)


async def send_log(request: web.Request) -> web.StreamResponse:
    """Send a build's log from ``Last-Event-ID`` (or ``?from=``) on, to its end, as HTML lines.

    Until the build has started, events called ``waits`` say why, whenever that changes.
    """
    build = await find_build(request)
    cursor = _cursor(request)
    feed = _LogFeed(LogRenderer(cursor))

    async def collect() -> None:
        log = source_of(request).watch_log(build.id, cursor.offset)
        try:
            async for event in log:
                if isinstance(event, Pending):
                    feed.tell(event.reason)
                else:
                    await feed.put(event)
        finally:
            await finish(log)
        feed.close()

    async with request.app[STREAMS].open(request) as stream, asyncio.TaskGroup() as group:
        group.create_task(collect())
        await _send_lines(request, stream, feed)
    return stream.response


async def _send_lines(request: web.Request, stream: _Stream, feed: _LogFeed) -> None:
    pages = request.app[PAGES]
    while not feed.ended:
        if not await _happens(feed.news):
            await stream.send("ping", None)
            continue
        reason = feed.take_reason()
        if not feed.waiting:  # the end, or only a reason
            feed.take()
            if reason:  # no id: it is no part of the log, and who comes back wants that
                await stream.send("waits", reason)
                await asyncio.sleep(_SPACING)
            continue
        lines, partial = feed.take()
        html = {
            "lines": pages.text("lines.html", lines=lines),
            "partial": pages.text("lines.html", lines=[partial]) if partial else "",
        }
        await stream.send("lines", html, str(feed.cursor))
        await asyncio.sleep(_SPACING)
    await stream.send("end", None, str(feed.cursor))


def _cursor(request: web.Request) -> Cursor:
    text = request.headers.get("Last-Event-ID") or request.query.get("from")
    if not text:
        return START
    try:
        return Cursor.parse(text)
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"Last-Event-ID: {error}.") from error


async def _happens(event: asyncio.Event) -> bool:
    """Wait for ``event``, but no longer than a heartbeat."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_HEARTBEAT):
            return await event.wait()
    return False


def _names(targets: Iterable[Target]) -> list[str]:
    """The addresses of ``targets``; ``*`` stands for many."""
    names = [path_of(target.path) for target in sorted(targets)]
    return names if len(names) <= _MOST_NAMED else ["*"]


class _LogFeed:
    """Log between the engine, which must not be kept waiting for long, and one slow reader."""

    def __init__(self, renderer: LogRenderer) -> None:
        self._renderer = renderer
        self._waiting = bytearray()
        self._room = asyncio.Event()
        self._closed = False
        self._reason = ""
        self.news = asyncio.Event()

    @property
    def cursor(self) -> Cursor:
        return self._renderer.cursor

    @property
    def waiting(self) -> bool:
        return bool(self._waiting)

    @property
    def ended(self) -> bool:
        return self._closed and not self._waiting and not self.news.is_set()

    def tell(self, reason: str) -> None:
        """Say why the build waits; an older reason that was not sent yet is of no use any more."""
        self._reason = reason
        self.news.set()

    def take_reason(self) -> str:
        """What :meth:`tell` was told, once; empty if nothing is new."""
        reason, self._reason = self._reason, ""
        return reason

    async def put(self, chunk: bytes) -> None:
        """Add to what waits to be sent; waits itself while that is much."""
        self._waiting += chunk
        self.news.set()
        while len(self._waiting) >= _BACKLOG:
            self._room.clear()
            await self._room.wait()

    def close(self) -> None:
        self._closed = True
        self.news.set()

    def take(self) -> tuple[list[Line], Line | None]:
        """Render what waits: whole lines, and the unfinished last one."""
        lines = self._renderer.feed(bytes(self._waiting))
        self._waiting.clear()
        self.news.clear()
        self._room.set()
        return lines, self._renderer.partial()
