"""The addresses of a build's log: parts of it for scripts, searches, its text, and it as a file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final

from aiohttp import web

from datakit_ci.dashboard import logsearch, logstream
from datakit_ci.dashboard.found import BUILD, find_build
from datakit_ci.dashboard.logbook import LOGS, LogCopy
from datakit_ci.dashboard.logpage import PAGE_LINES, moment_asked, number_asked, outline, timed
from datakit_ci.dashboard.rendering import PAGES
from datakit_ci.dashboard.routes import read
from datakit_ci.dashboard.scope import source_of
from datakit_ci.dashboard.source import finish

__all__ = ["ROUTES", "SEARCHES", "send_lines", "send_matches", "send_raw_log", "send_text"]

SEARCHES: Final = web.AppKey("searches", asyncio.Semaphore)
"""Held while a log is searched: a few at a time, since each keeps the processor busy."""

AT_ONCE = 4
"""Searches at a time."""

_PATIENCE = 10.0
"""Seconds that a search waits for its turn."""

_LONGEST = 60.0
"""Seconds that a search may take, reader included."""

_TOLD_EVERY = 2 << 20
"""Bytes searched after which it is told how far we are; so it is noticed that nobody reads."""

_PLAIN: Final = {
    "Content-Type": "text/plain; charset=utf-8",
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}


async def send_lines(request: web.Request) -> web.Response:
    """Lines ``?from=`` to ``?to=``, at most :data:`PAGE_LINES`, as HTML in JSON.

    The object says what was sent (``first``, ``last``), how many lines there are (``total``) and
    the ``sections``: heading, last line or null, title and depth of each.
    """
    build = await find_build(request)
    first, last = number_asked(request, "from"), number_asked(request, "to")
    moment = moment_asked()
    async with request.app[LOGS].open(source_of(request), build, moment) as log:
        window = await log.window(first, max(0, min(last - first + 1, PAGE_LINES)))
        lines = timed(window.lines, log.times)
        answer = {
            "first": first,
            "last": max(window.last, first - 1),
            "total": window.total,
            "html": request.app[PAGES].text("lines.html", lines=lines),
            "sections": outline(log.index.sections),
        }
    return web.json_response(answer, headers={"Cache-Control": "private, no-cache"})


async def send_matches(request: web.Request) -> web.StreamResponse:
    """The numbers of matching lines, as they are found, as lines of JSON.

    Asked for with ``?q=TEXT`` (and ``&regex`` for an expression of RE2, ``&case`` if capitals
    matter), or ``?failures`` for the lines that tell of a failure. Each line of the answer has
    ``lines`` and how much is searched, ``offset`` of ``size``; the last one also ``done``, which
    says why it is the last: ``end``, ``many`` or ``time``.
    """
    build = await find_build(request)
    query = _query(request)
    response = web.StreamResponse(
        headers={"Content-Type": "application/x-ndjson", "Cache-Control": "private, no-cache"}
    )
    async with (
        _turn(request.app[SEARCHES]),
        request.app[LOGS].open(source_of(request), build, moment_asked()) as log,
    ):
        await response.prepare(request)
        if query.by_run and log.failures is not None:
            await _tell(response, lines=log.failures, offset=log.size, size=log.size, done="end")
        else:
            size, lines = log.size, await _search(log, query, response)
            if query.by_run and size == log.size:  # nothing came meanwhile
                log.failures = lines
    await response.write_eof()
    return response


@asynccontextmanager
async def _turn(searches: asyncio.Semaphore) -> AsyncIterator[None]:
    """One of a few searches at a time."""
    try:
        async with asyncio.timeout(_PATIENCE):
            await searches.acquire()
    except TimeoutError:
        raise web.HTTPServiceUnavailable(
            text="Too many logs are searched at once; try again soon."
        ) from None
    try:
        yield
    finally:
        searches.release()


def _query(request: web.Request) -> logsearch.Query:
    if "failures" in request.query:
        return logsearch.failures()
    try:
        return logsearch.text_query(
            request.query.get("q", ""),
            expression="regex" in request.query,
            case="case" in request.query,
        )
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"Nothing can be looked for: {error}.") from error


async def _search(
    log: LogCopy, query: logsearch.Query, response: web.StreamResponse
) -> Sequence[int] | None:
    """Search what is there of a log, and tell; gives all matching lines if these are all."""
    size, told = log.size, 0
    found: list[int] = []
    waiting: list[int] = []
    done = "end"
    try:
        async with (
            asyncio.timeout(_LONGEST),
            aclosing(logsearch.find(log.pieces(0, size), query)) as parts,
        ):
            async for part in parts:
                lines = part.lines[: logsearch.MOST_MATCHES - len(found)]
                found += lines
                waiting += lines
                if len(found) >= logsearch.MOST_MATCHES:
                    done = "many"
                    break
                if part.offset - told >= _TOLD_EVERY or (waiting and not told):
                    told = part.offset
                    await _tell(response, lines=waiting, offset=told, size=size)
                    waiting = []
    except TimeoutError:
        done = "time"
    await _tell(response, lines=waiting, offset=size, size=size, done=done)
    return found if done == "end" else None


async def _tell(response: web.StreamResponse, **values: object) -> None:
    await response.write(json.dumps(values).encode() + b"\n")


async def send_text(request: web.Request) -> web.StreamResponse:
    """The text of lines ``?from=`` to ``?to=``, without colours, for copying."""
    build = await find_build(request)
    first, last = number_asked(request, "from"), number_asked(request, "to")
    response = web.StreamResponse(headers=_PLAIN)
    async with request.app[LOGS].open(source_of(request), build, moment_asked()) as log:
        await response.prepare(request)
        async for piece in log.text(first, last):
            await response.write(piece)
    await response.write_eof()
    return response


async def send_raw_log(request: web.Request) -> web.StreamResponse:
    """The log so far, byte for byte; with ``?follow`` also what comes, until the build ends.

    ``?download`` is for browsers that are to save it as a file.
    """
    build = await find_build(request)
    left = None if "follow" in request.query else build.log_size
    response = web.StreamResponse(headers=_PLAIN)
    if "download" in request.query:
        response.headers["Content-Disposition"] = 'attachment; filename="log.txt"'
    await response.prepare(request)
    log = source_of(request).follow_log(build.id)
    try:
        while left is None or left > 0:
            chunk = await anext(log, b"")
            if not chunk:
                break
            await response.write(chunk if left is None else chunk[:left])
            left = None if left is None else left - len(chunk)
    finally:
        await finish(log)
    await response.write_eof()
    return response


ROUTES: Final = (
    read(BUILD + "/log.txt", send_raw_log, head=False),
    read(BUILD + "/log/events", logstream.send_log, head=False),
    read(BUILD + "/log/lines", send_lines),
    read(BUILD + "/log/search", send_matches, head=False),
    read(BUILD + "/log/text", send_text, head=False),
)
"""All that begins with the address of a build and goes on with ``/log``."""
