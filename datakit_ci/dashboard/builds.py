"""A build: what it was given, what came of it, and its log as a page and as a file."""

from __future__ import annotations

from aiohttp import web

from datakit_ci.dashboard import logpage, views
from datakit_ci.dashboard.found import find_build
from datakit_ci.dashboard.neighbours import find_neighbours
from datakit_ci.dashboard.observed import sight_of
from datakit_ci.dashboard.rendering import PAGES
from datakit_ci.dashboard.reports import REPORTS, judged_report
from datakit_ci.dashboard.scope import source_of
from datakit_ci.dashboard.source import finish

__all__ = ["find_build", "send_raw_log", "show_build"]


async def show_build(request: web.Request) -> web.Response:
    """A build: its facts, tests and neighbours, what it looked at, and a part of its log."""
    build = await find_build(request)
    source = source_of(request)
    why = await source.why_build(build.id)
    dossier = await source.dossier(build.id)
    return request.app[PAGES].page(
        "build.html",
        build=build,
        why=why,
        judged=None
        if dossier is None
        else await judged_report(request.app[REPORTS], source, dossier),
        sight=None if dossier is None else await sight_of(source, dossier, why),
        around=await find_neighbours(source.results(build.id.project, build.id.stage), build),
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
