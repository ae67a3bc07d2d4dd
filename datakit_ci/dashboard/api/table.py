"""All addresses of the API, and the pages that describe it."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Final

from aiohttp import web

from datakit_ci.acl import Role
from datakit_ci.dashboard.api import acting, artefacts, logs, states
from datakit_ci.dashboard.api.addresses import PREFIX
from datakit_ci.dashboard.api.endpoint import Endpoint
from datakit_ci.dashboard.api.openapi import describe
from datakit_ci.dashboard.keeper import KEEPER
from datakit_ci.dashboard.rendering import PAGES
from datakit_ci.dashboard.routes import Route, public

__all__ = ["ENDPOINTS", "ROUTES"]

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    *states.ENDPOINTS,
    *artefacts.ENDPOINTS,
    *logs.ENDPOINTS,
    *acting.ENDPOINTS,
)
"""What the API has, in the order of its description."""


@lru_cache(maxsize=8)  # whoever asks says for which host
def _document(cookie: str) -> bytes:
    return json.dumps(describe(ENDPOINTS, cookie), indent=1).encode() + b"\n"


async def send_description(request: web.Request) -> web.Response:
    """The description for programs."""
    body = _document(request.app[KEEPER].cookie_name(request.host))
    headers = {"Content-Type": "application/json", "Cache-Control": "private, no-cache"}
    return web.Response(body=body, headers=headers)


async def show_description(request: web.Request) -> web.Response:
    """The description for people."""
    return request.app[PAGES].page("api.html", endpoints=ENDPOINTS, prefix=PREFIX, Role=Role)


ROUTES: Final[tuple[Route, ...]] = (
    public(PREFIX, show_description),
    public(f"{PREFIX}/openapi.json", send_description),
    *(endpoint.route for endpoint in ENDPOINTS),
)
"""For the dashboard's table."""
