"""The page of settings: how the service is set up, for who administers it."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from datakit_ci.acl import Role
from datakit_ci.dashboard.particulars import Particulars, projects, secrets, tame
from datakit_ci.dashboard.policies import policies, schedules
from datakit_ci.dashboard.rendering import PAGES
from datakit_ci.dashboard.routes import Route
from datakit_ci.dashboard.scope import source_of
from datakit_ci.dashboard.versions import Versions
from datakit_ci.dashboard.visitor import visitor_of
from datakit_ci.plugins import PLUGINS

__all__ = ["PARTICULARS", "ROUTES", "VERSIONS", "show_settings"]

PARTICULARS: Final[web.AppKey[Particulars]] = web.AppKey("particulars")
"""What may be told of the service; absent: nothing is known of it."""

VERSIONS: Final[web.AppKey[Versions]] = web.AppKey("versions", Versions)


async def show_settings(request: web.Request) -> web.Response:
    """Projects for who administers them; the service itself for who administers that."""
    visitor = visitor_of(request)
    if PARTICULARS not in request.app:
        raise web.HTTPNotFound(text="This dashboard knows nothing of the service it belongs to.")
    service = request.app[PARTICULARS]
    config, source = service.config(), source_of(request)
    states = (*source.targets(), *source.flows())  # of thousands, not on the event loop
    return request.app[PAGES].page(
        "settings.html",
        projects=projects(config, lambda each: visitor.may(Role.ADMIN, each)),
        service=service if visitor.runs_service else None,
        policies=policies(config, service.executor, source.pools()),
        schedules=await asyncio.to_thread(schedules, states),
        plugins=PLUGINS,
        secrets=secrets(config, service.missing()),
        webhooks=[(tame(each.url, only_host=True), each) for each in config.webhooks],
        notices=[(str(each), tuple(each.projects)) for each in config.notify],
        versions=await request.app[VERSIONS].read() if visitor.runs_service else {},
    )


ROUTES: Final = (Route("GET", "/settings", show_settings, Role.ADMIN),)
