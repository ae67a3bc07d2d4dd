"""Puts the dashboard together: one application, its routes in one table."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from aiohttp import web

from datakit_ci.dashboard import builds, guard, live, pages
from datakit_ci.dashboard.assets import Assets, web_directory
from datakit_ci.dashboard.rendering import PAGES, Pages
from datakit_ci.dashboard.routes import definitions, public, read
from datakit_ci.dashboard.scope import SOURCE
from datakit_ci.dashboard.source import Source

__all__ = ["ROUTES", "create_app"]

_LARGEST_REQUEST = 64 * 1024
"""Bytes of a request's body; there are only small forms."""

_BUILD = r"/build/{user}/{repo}/{stage:.+}/{static:[0-9a-f]{64}}/{key:[0-9a-f]{64}}"
_COMMIT = "/{user}/{repo}/commit/{commit:[0-9a-f]{40}}"

ROUTES: Final = (
    read("/", pages.show_overview),
    read("/events", live.send_changes, head=False),
    read(_BUILD, builds.show_build),
    read(_BUILD + "/log.txt", builds.send_raw_log, head=False),
    read(_BUILD + "/log/events", live.send_log, head=False),
    read("/{user}/{repo}", pages.show_project),
    read(_COMMIT, pages.show_commit),
    read("/{user}/{repo}/pr/{name:[0-9]+}", pages.show_target),
    read("/{user}/{repo}/ref/{kind:heads|tags}/{name:.+}", pages.show_target),
)
"""Every address but that of the static files, the more particular first."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


def create_app(
    source: Source,
    *,
    title: str = "DataKit",
    now: Callable[[], datetime] = _utc_now,
    trouble: Callable[[], str] = str,
) -> web.Application:
    """The dashboard over ``source``; the caller serves it.

    Stopping the server ends open event streams at once.

    Args:
        source: Where all that pages show comes from.
        title: The name of this service, in the header and in window titles.
        now: The clock by which ages are told.
        trouble: What is wrong with the service as a whole, said on every page; empty: nothing.

    Raises:
        ConfigError: The dashboard's files are missing.
    """
    files = web_directory()
    assets = Assets.load(files / "static")
    streams = live.Streams()
    app = web.Application(client_max_size=_LARGEST_REQUEST)
    app[SOURCE] = source
    app[PAGES] = Pages(files / "templates", assets, title, now, trouble)
    app[live.STREAMS] = streams
    app.on_shutdown.append(streams.close)
    guard.keep_safe(app)
    app.router.add_routes(
        definitions([*ROUTES, public("/static/{version}/{name:.+}", assets.serve)])
    )
    return app
