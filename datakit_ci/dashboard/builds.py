"""A build: what it was given, what came of it, and its log as a page and as a file."""

from __future__ import annotations

from aiohttp import web

from datakit_ci.dashboard import logpage, views
from datakit_ci.dashboard.found import find_build
from datakit_ci.dashboard.naming import known_label, label_of
from datakit_ci.dashboard.neighbours import find_neighbours
from datakit_ci.dashboard.observed import sight_of
from datakit_ci.dashboard.rendering import PAGES
from datakit_ci.dashboard.reports import REPORTS, judged_report
from datakit_ci.dashboard.scope import source_of
from datakit_ci.dashboard.shelf import SHELVES

__all__ = ["find_build", "show_build"]


async def show_build(request: web.Request) -> web.Response:
    """A build: its facts, tests and neighbours, what it looked at, and a part of its log."""
    build = await find_build(request)
    source = source_of(request)
    why = await source.why_build(build.id)
    dossier = await source.dossier(build.id)
    targets = views.targets_of(request.app[SHELVES].of(source.targets()), build.id)
    results = source.results(build.id.project, build.id.stage)
    return request.app[PAGES].page(
        "build.html",
        build=build,
        why=why,
        judged=None
        if dossier is None
        else await judged_report(request.app[REPORTS], source, dossier),
        sight=None if dossier is None else await sight_of(source, dossier, why),
        around=await find_neighbours(results, build, known_label(build, targets)),
        log=await logpage.log_part(request, build),
        targets=targets,
        called=label_of(build, targets),
    )
