"""Logs through the API: bytes, ranges of them (RFC 9110, section 14), and as they are written."""

from __future__ import annotations

import asyncio
import codecs
import contextlib

from aiohttp import web
from pydantic import Field

from datakit_ci.dashboard.api.endpoint import Endpoint, streaming
from datakit_ci.dashboard.api.models import Record
from datakit_ci.dashboard.api.ranges import byte_range, range_headers
from datakit_ci.dashboard.api.records import text
from datakit_ci.dashboard.api.states import BUILD, find_build
from datakit_ci.dashboard.live import STREAMS
from datakit_ci.dashboard.scope import source_of
from datakit_ci.dashboard.source import finish
from datakit_ci.livelog import Pending
from datakit_ci.state import BuildState

__all__ = ["ENDPOINTS", "send_events", "send_log"]

_HEARTBEAT = 15.0
"""Seconds of silence after which an event ``ping`` is sent."""

_STALLED = 30.0
"""Seconds after which a client that does not read is cut off."""


class LogQuery(Record):
    """How to send a log."""

    follow: bool = Field(False, description="Also send what comes, until the build ends.")


class FromQuery(Record):
    """Where to begin."""

    offset: int = Field(
        0, ge=0, le=10**18, description="The first byte; `Last-Event-ID` has precedence."
    )


async def send_log(request: web.Request, query: LogQuery) -> web.StreamResponse:
    """Send a log, or a range of its bytes; with `follow`, to its end."""
    build = await find_build(request)
    size = build.log_size
    headers = {
        "Content-Type": "text/plain; charset=utf-8",
        "Cache-Control": "private, no-cache",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    if query.follow:
        response = web.StreamResponse(headers=headers)
        await _copy(request, response, build, 0, None)
        return response
    wanted = byte_range(request.headers.get("Range", ""), size)
    start, end = wanted or (0, size)
    headers |= range_headers(wanted, size)
    response = web.StreamResponse(status=200 if wanted is None else 206, headers=headers)
    await _copy(request, response, build, start, end - start)
    return response


async def _copy(
    request: web.Request,
    response: web.StreamResponse,
    build: BuildState,
    offset: int,
    left: int | None,
) -> None:
    """Send ``left`` bytes of a log from ``offset`` on; none: all that ever comes."""
    await response.prepare(request)
    log = source_of(request).follow_log(build.id, offset)
    try:
        while left is None or left > 0:
            chunk = await anext(log, b"")
            if not chunk:
                break
            async with asyncio.timeout(_STALLED):
                await response.write(chunk if left is None else chunk[:left])
            left = None if left is None else left - len(chunk)
        await response.write_eof()
    except (ConnectionError, TimeoutError):
        if request.transport is not None:
            request.transport.abort()  # so that half a log does not look whole
    finally:
        await finish(log)


async def send_events(request: web.Request, query: FromQuery) -> web.StreamResponse:
    """Send a log as server-sent events: `log`, `waits`, `ping`, and `end` with the status.

    An event's id is the offset of the byte after it, from which ``Last-Event-ID`` goes on.
    """
    build = await find_build(request)
    offset = _offset(request, query)
    feed: asyncio.Queue[bytes | Pending | None] = asyncio.Queue(maxsize=2)

    async def collect() -> None:
        log = source_of(request).watch_log(build.id, offset)
        try:
            async for event in log:
                await feed.put(event)
        finally:
            await finish(log)
        await feed.put(None)

    async with request.app[STREAMS].open(request) as stream, asyncio.TaskGroup() as group:
        group.create_task(collect())
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        while (event := await _next(feed)) is not None:
            match event:
                case Pending(reason=reason):  # no id: it is no part of the log
                    await stream.send("waits", {"reason": text(reason)})
                case b"":
                    await stream.send("ping", None)
                case bytes():
                    offset += len(event)
                    said = decoder.decode(event)
                    whole = offset - len(decoder.getstate()[0])
                    await stream.send("log", {"text": said}, str(whole))
        if rest := decoder.decode(b"", final=True):
            await stream.send("log", {"text": rest}, str(offset))
        state = await source_of(request).build(build.id)
        await stream.send("end", {"status": None if state is None else state.status.value})
    return stream.response


async def _next(feed: asyncio.Queue[bytes | Pending | None]) -> bytes | Pending | None:
    """What comes next; nothing (empty, not none) if that takes longer than a heartbeat."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_HEARTBEAT):
            return await feed.get()
    return b""


def _offset(request: web.Request, query: FromQuery) -> int:
    last = request.headers.get("Last-Event-ID", "")
    if not last:
        return query.offset
    if not (last.isascii() and last.isdigit()) or len(last) > 18:
        raise web.HTTPBadRequest(text="Last-Event-ID: give the id of an event of this stream")
    return int(last)


ENDPOINTS: tuple[Endpoint, ...] = (
    streaming(
        BUILD + "/log",
        send_log,
        "text/plain",
        LogQuery,
        statuses={206: "The range that was asked for.", 416: "No byte of the range is there."},
    ),
    streaming(BUILD + "/log/events", send_events, "text/event-stream", FromQuery),
)
"""The addresses of logs."""
