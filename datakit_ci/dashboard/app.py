"""Puts the dashboard together: one application, its routes in one table."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from aiohttp import web

from datakit_ci.dashboard import builds, guard, live, pages
from datakit_ci.dashboard.assets import Assets, web_directory
from datakit_ci.dashboard.rendering import PAGES, Pages
from datakit_ci.dashboard.source import Source

__all__ = ["create_app"]

_LARGEST_REQUEST = 64 * 1024
"""Bytes of a request's body; there are only small forms."""

_BUILD = r"/build/{user}/{repo}/{stage:.+}/{static:[0-9a-f]{64}}/{key:[0-9a-f]{64}}"


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
    app[pages.SOURCE] = source
    app[PAGES] = Pages(files / "templates", assets, title, now, trouble)
    app[live.STREAMS] = streams
    app.on_shutdown.append(streams.close)
    guard.keep_safe(app)
    app.router.add_routes(
        [
            web.get("/", pages.show_overview),
            web.get("/events", live.send_changes, allow_head=False),
            web.get("/static/{version}/{name:.+}", assets.serve),
            web.get(_BUILD, builds.show_build),
            web.get(_BUILD + "/log.txt", builds.send_raw_log, allow_head=False),
            web.get(_BUILD + "/log/events", live.send_log, allow_head=False),
            web.get("/{user}/{repo}", pages.show_project),
            web.get("/{user}/{repo}/commit/{commit:[0-9a-f]{40}}", pages.show_commit),
            web.get("/{user}/{repo}/pr/{name:[0-9]+}", pages.show_target),
            web.get("/{user}/{repo}/ref/{kind:heads|tags}/{name:.+}", pages.show_target),
        ]
    )
    return app
