"""A build: what it was given, what came of it, and its log as a page and as a file."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from datakit_ci.dashboard import logpage, views
from datakit_ci.dashboard.rendering import PAGES
from datakit_ci.dashboard.scope import source_of
from datakit_ci.dashboard.source import finish
from datakit_ci.state import BuildId, BuildState

__all__ = ["build_id", "find_build", "send_raw_log", "show_build"]


def build_id(match: Mapping[str, str]) -> BuildId:
    """The build that a matched address names."""
    return BuildId(
        f"{match['user']}/{match['repo']}", match["stage"], match["static"], match["key"]
    )


async def find_build(request: web.Request) -> BuildState:
    """The build that the request is about.

    Raises:
        HTTPNotFound: There is none.
    """
    build = await source_of(request).build(build_id(request.match_info))
    if build is None:
        raise web.HTTPNotFound(text="There is no such build. Its record may have been dropped.")
    return build


async def show_build(request: web.Request) -> web.Response:
    """The facts of a build, and the last lines of its log (or those from ``?from=LINE`` on)."""
    build = await find_build(request)
    source = source_of(request)
    return request.app[PAGES].page(
        "build.html",
        build=build,
        why=await source.why_build(build.id),
        log=await logpage.log_part(request, build),
        targets=views.targets_of(source.targets(), build.id),
    )


async def send_raw_log(request: web.Request) -> web.StreamResponse:
    """The log so far, byte for byte; with ``?follow`` also what comes, until the build ends."""
    build = await find_build(request)
    left = None if "follow" in request.query else build.log_size
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/plain; charset=utf-8",
            "Cache-Control": "no-cache",
            "Content-Security-Policy": "default-src 'none'; sandbox",
        }
    )
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
