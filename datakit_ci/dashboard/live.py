"""Server-sent events: that targets changed.

A stream tells *that* something changed, and the browser then asks for the page again: so there
is one way to render state, and a missed event costs nothing. Logs are the exception: see
:mod:`datakit_ci.dashboard.logstream`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Iterable
from typing import Final

from aiohttp import web

from datakit_ci.acl import Role
from datakit_ci.dashboard.keeper import KEEPER
from datakit_ci.dashboard.rendering import path_of
from datakit_ci.dashboard.scope import source_of
from datakit_ci.dashboard.source import finish
from datakit_ci.dashboard.visitor import visitor_of
from datakit_ci.target import Target

__all__ = ["HEARTBEAT", "STREAMS", "Guest", "Stream", "Streams", "send_changes"]

_LOG = logging.getLogger(__name__)

HEARTBEAT = 15.0
"""Seconds of silence after which we say that we are still there; browsers wait twice as long."""

_SPACING = 0.1
"""Seconds between two events: what changes meanwhile is told together."""

_STALLED = 30.0
"""Seconds after which a client that does not read is cut off; it will come back."""

_SMALL = 16 << 10
"""Bytes that fit into a connection's empty buffer, which makes writers wait at 64 KiB (asyncio)."""

_MOST_NAMED = 50
"""Changed targets that are named; of more, only that there are many."""


class Streams:
    """The open streams, so that stopping the server does not wait for their ends."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[object]] = set()

    async def close(self, _app: web.Application) -> None:
        """End all streams; browsers try again until a server answers."""
        for task in self._tasks:
            task.cancel()

    @contextlib.asynccontextmanager
    async def open(self, request: web.Request) -> AsyncIterator[Stream]:
        """A stream in answer to ``request``; ends without fuss when the client goes.

        Raises:
            HTTPServiceUnavailable: They have gone already; nobody reads why.
        """
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            try:
                stream = await Stream.start(request)
            except (ConnectionError, TimeoutError) as error:
                raise web.HTTPServiceUnavailable from error
            yield stream
        except* (ConnectionError, TimeoutError):
            _LOG.debug("the reader of %s left", request.rel_url.raw_path)
        finally:
            self._tasks.discard(task)


STREAMS: Final = web.AppKey("streams", Streams)


class Stream:
    """One answer of type ``text/event-stream``."""

    def __init__(
        self, response: web.StreamResponse, transport: asyncio.Transport | None = None
    ) -> None:
        self.response = response
        self._transport = transport

    @classmethod
    async def start(cls, request: web.Request) -> Stream:
        """Send the headers of an answer to ``request``."""
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
            }
        )
        await response.prepare(request)
        stream = cls(response, request.transport)
        await stream.write(b"retry: 1000\n\n")
        return stream

    async def send(self, event: str, data: object, identity: str = "") -> None:
        """Send one event; ``data`` is sent as JSON, which never holds a line break."""
        head = f"id: {identity}\n" if identity else ""
        await self.write(f"{head}event: {event}\ndata: {json.dumps(data)}\n\n".encode())

    async def write(self, data: bytes) -> None:
        """Send bytes as they are, such as an event that many get."""
        if len(data) < _SMALL and self._transport and not self._transport.get_write_buffer_size():
            await self.response.write(data)  # the buffer has room for it: there is no wait to limit
            return
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
        collecting = group.create_task(collect())
        await _send_names(stream, changed, news, Guest(request))
        collecting.cancel()
    return stream.response


class Guest:
    """Who has opened a stream, and is to be shown out when they may see nothing any more."""

    def __init__(self, request: web.Request) -> None:
        """They have just been let in."""
        self._visitor = visitor_of(request)
        self._keeper = request.app[KEEPER]
        self._asked = asyncio.get_running_loop().time()

    async def is_welcome(self) -> bool:
        """Whether they may read something, and, asked now and then, have not logged out."""
        if not self._visitor.may(Role.READ):
            return False
        now = asyncio.get_running_loop().time()
        if now - self._asked < HEARTBEAT / 2:
            return True
        self._asked = now
        return await self._keeper.is_still_in(self._visitor)


async def _send_names(
    stream: Stream, changed: set[Target], news: asyncio.Event, guest: Guest
) -> None:
    """Send and empty ``changed`` whenever there is ``news``, for as long as they are welcome."""
    while await guest.is_welcome():
        if not await _happens(news):
            await stream.send("ping", None)
            continue
        news.clear()
        names = _names(changed)
        changed.clear()
        await stream.send("targets", names)
        await asyncio.sleep(_SPACING)


async def _happens(event: asyncio.Event) -> bool:
    """Wait for ``event``, but no longer than a heartbeat."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(HEARTBEAT):
            return await event.wait()
    return False


def _names(targets: Iterable[Target]) -> list[str]:
    """The addresses of ``targets``; ``*`` stands for many."""
    names = [path_of(target.path) for target in sorted(targets)]
    return names if len(names) <= _MOST_NAMED else ["*"]
