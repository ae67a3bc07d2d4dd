"""The dashboard's pages served on a free port of loopback, for browsers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from aiohttp import web

from datakit_ci.dashboard.keeper import KEEPER
from datakit_ci.dashboard.sessions import Session, key_of, new_cookie

__all__ = ["log_in", "serve_pages", "serving"]


async def serve_pages(app: web.Application, port: int = 0) -> tuple[web.AppRunner, str]:
    """Serve ``app``; what stops it (``cleanup``), and its address without a slash at the end."""
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    host, bound = runner.addresses[0][:2]
    return runner, f"http://{host}:{bound}"


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """Serve ``app`` for a while; its address without a slash at the end."""
    runner, url = await serve_pages(app)
    try:
        yield url
    finally:
        await runner.cleanup()


async def log_in(app: web.Application, url: str, user: str) -> tuple[str, str]:
    """A session for ``user`` of the dashboard at ``url``: name and value of its cookie."""
    keeper = app[KEEPER]
    cookie, now = new_cookie(), keeper.now().timestamp()
    await keeper.sessions.save(key_of(cookie), Session(user, now, now), 3600.0)
    return keeper.cookie_name(urlsplit(url).netloc), cookie
