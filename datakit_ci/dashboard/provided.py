"""Logging in by way of somebody else: there and back again.

What a log-in under way has to remember is derived from the browser's cookie and a number in the
state that comes back: so nothing is kept, and nothing fits another browser or another attempt.
"""

from __future__ import annotations

import hmac
import logging
import secrets
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from datakit_ci.dashboard.gate import NOT_FOUND, safe_next
from datakit_ci.dashboard.keeper import KEEPER
from datakit_ci.dashboard.oauth import Attempt, Client, LoginFailed
from datakit_ci.dashboard.routes import Route, public
from datakit_ci.dashboard.sessions import new_cookie
from datakit_ci.dashboard.visitor import visitor_of

__all__ = ["CLIENTS", "OWN_URL", "ROUTES", "begin", "end"]

_LOG = logging.getLogger(__name__)

CLIENTS: Final[web.AppKey[Mapping[str, Client]]] = web.AppKey("clients")
"""Who else keeps accounts, by name."""

OWN_URL: Final[web.AppKey[str]] = web.AppKey("own_url", str)
"""Where browsers find us, without a slash at the end; empty: where they connect to."""

_LONGEST = 2_000


async def begin(request: web.Request) -> web.StreamResponse:
    """Send the browser to a provider."""
    client = _client(request)
    cookie = visitor_of(request).cookie
    given, cookie = bool(cookie), cookie or new_cookie()
    number = secrets.token_urlsafe(16)
    where = safe_next(request.query.get("next", ""))
    attempt = _attempt(request, client, cookie, number, where)
    try:
        address = await client.address(attempt)
    except LoginFailed as error:
        raise _failed(client, error) from error
    response = web.Response(status=303, headers={"Location": address})
    if not given:
        request.app[KEEPER].set_cookie(request, response, cookie)
    return response


async def end(request: web.Request) -> web.StreamResponse:
    """Let in whom a provider has sent back."""
    client, query = _client(request), request.query
    state, cookie = query.get("state", ""), visitor_of(request).cookie
    number, _, rest = state.partition(".")
    _, _, where = rest.partition(".")
    attempt = _attempt(request, client, cookie, number, where)
    if not cookie or not hmac.compare_digest(
        attempt.state.encode(), state.encode("utf-8", "replace")
    ):
        raise web.HTTPBadRequest(
            text="This log-in was begun in another browser, or is over. Log in again."
        )
    code = query.get("code", "")
    if not code or len(code) > _LONGEST:
        _LOG.warning("%s sent nobody: %r", client.provider.name, query.get("error", "")[:100])
        raise web.HTTPForbidden(text=f"{client.provider.shown} did not let you in.")
    try:
        repositories = request.app[KEEPER].rules().repositories()
        identity = await client.identity(attempt, code, sorted(repositories))
    except LoginFailed as error:
        raise _failed(client, error) from error
    response = web.Response(status=303, headers={"Location": safe_next(where)})
    await request.app[KEEPER].let_in(request, response, identity)
    return response


def _client(request: web.Request) -> Client:
    client = request.app[CLIENTS].get(request.match_info["provider"])
    if client is None:
        raise web.HTTPNotFound(text=NOT_FOUND)
    return client


def _attempt(request: web.Request, client: Client, cookie: str, number: str, where: str) -> Attempt:
    def derived(what: str) -> str:
        text = "\0".join((what, client.provider.name, number, where))
        return hmac.new(cookie.encode(), text.encode(errors="replace"), "sha256").hexdigest()

    own = request.app[OWN_URL] or f"{request.scheme}://{request.host}"
    return Attempt(
        f"{own}/login/{client.provider.name}/callback",
        f"{number}.{derived('state')}.{where}",
        derived("nonce"),
        derived("verifier"),
    )


def _failed(client: Client, error: LoginFailed) -> web.HTTPException:
    _LOG.warning("logging in by %s failed: %s", client.provider.name, error)
    return web.HTTPBadGateway(
        text=f"{client.provider.shown} did not say who you are. Try again in a while."
    )


ROUTES: Final[tuple[Route, ...]] = (
    public("/login/{provider}", begin),
    public("/login/{provider}/callback", end),
)
