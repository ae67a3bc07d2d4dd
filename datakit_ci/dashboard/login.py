"""Pages for logging in and out, and for setting the service up."""

from __future__ import annotations

import hmac
import logging
from typing import Final

from aiohttp import web

from datakit_ci.acl import Identity
from datakit_ci.dashboard import forms
from datakit_ci.dashboard.gate import NOT_FOUND, safe_next
from datakit_ci.dashboard.keeper import KEEPER
from datakit_ci.dashboard.logins import LOGINS
from datakit_ci.dashboard.provided import CLIENTS
from datakit_ci.dashboard.rendering import PAGES
from datakit_ci.dashboard.routes import Route, account, public
from datakit_ci.dashboard.sessions import new_cookie
from datakit_ci.dashboard.visitor import introduce, visitor_of
from datakit_ci.passwords import SHORTEST
from datakit_core.errors import ConfigError

__all__ = [
    "ROUTES",
    "log_in",
    "log_out",
    "log_out_everywhere",
    "set_up",
    "show_login",
    "show_setup",
]

_LOG = logging.getLogger(__name__)


async def show_login(request: web.Request) -> web.StreamResponse:
    """Where to say who one is; who has logged in already goes on."""
    where = safe_next(request.query.get("next", ""))
    if not visitor_of(request).is_anonymous:
        raise web.HTTPSeeOther(where)
    return _login_page(request, where)


async def log_in(request: web.Request) -> web.StreamResponse:
    """Check name and password."""
    logins = request.app[LOGINS]
    name, where = await forms.field(request, "name"), await forms.field(request, "next")
    password = await forms.field(request, "password", strip=False)
    where = safe_next(where)
    try:
        is_right = await logins.is_right(name, password, logins.address_of(request))
    except web.HTTPTooManyRequests as error:
        page = _login_page(request, where, 429, name=name, problem=error.text)
        page.headers["Retry-After"] = error.headers["Retry-After"]
        return page
    if not is_right:
        return _login_page(
            request, where, 403, name=name, problem="This is not the name and password of anybody."
        )
    return await _let_in(request, Identity(name), where)


async def log_out(request: web.Request) -> web.StreamResponse:
    """End the session."""
    response = _good_bye()
    await request.app[KEEPER].let_out(request, response)
    return response


async def log_out_everywhere(request: web.Request) -> web.StreamResponse:
    """End all sessions of whoever asks."""
    response = _good_bye()
    await request.app[KEEPER].let_out_everywhere(request, response)
    return response


def _good_bye() -> web.Response:
    """To the page for logging in; what browsers keep of pages is not for who comes after.

    ``Clear-Site-Data`` (W3C) also takes the pages that one could go back to.
    """
    headers = {"Location": "/login", "Clear-Site-Data": '"cache"', "Cache-Control": "no-store"}
    return web.Response(status=303, headers=headers)


async def show_setup(request: web.Request) -> web.StreamResponse:
    """Where the first administrator chooses a name and a password."""
    token = request.query.get("token", "")
    _check_setup(request, token)
    return _with_form_cookie(request, "setup.html", token=token)


async def set_up(request: web.Request) -> web.StreamResponse:
    """Make the first administrator's account, and log them in."""
    logins = request.app[LOGINS]
    token = await forms.field(request, "token")
    _check_setup(request, token)
    name = await forms.field(request, "name")
    password = await forms.field(request, "password", strip=False)
    problem = ""
    if password != await forms.field(request, "again", strip=False):
        problem = "The two passwords differ."
    else:
        try:
            await logins.make_first(name, password)
        except ConfigError as error:
            problem = str(error)
    if problem:
        return _with_form_cookie(
            request, "setup.html", 422, token=token, name=name, problem=problem
        )
    _LOG.info("%s has set up the service", name)
    return await _let_in(request, Identity(name), "/")


async def _let_in(request: web.Request, identity: Identity, where: str) -> web.Response:
    response = web.Response(status=303, headers={"Location": where})
    await request.app[KEEPER].let_in(request, response, identity)
    return response


def _check_setup(request: web.Request, token: str) -> None:
    """Let only who has the link in, and only until there is an administrator.

    Raises:
        HTTPNotFound: Alike whether it was used, is wrong, or never was.
    """
    logins = request.app[LOGINS]
    given, own = token.encode(errors="replace"), logins.setup.encode()
    if not (hmac.compare_digest(given, own) and logins.needs_setup):
        raise web.HTTPNotFound(text=NOT_FOUND)


def _login_page(
    request: web.Request, where: str, status: int = 200, *, name: str = "", problem: str | None = ""
) -> web.Response:
    logins = request.app[LOGINS]
    return _with_form_cookie(
        request,
        "login.html",
        status,
        next=where,
        name=name,
        problem=problem,
        providers=[client.provider for client in request.app[CLIENTS].values()],
        needs_setup=logins.needs_setup,
        has_accounts=bool(logins.book and logins.book.accounts),
    )


def _with_form_cookie(
    request: web.Request, template: str, status: int = 200, **values: object
) -> web.Response:
    """A page with a form for who has not logged in: what it carries belongs to a cookie."""
    keeper, visitor = request.app[KEEPER], visitor_of(request)
    cookie = visitor.cookie or new_cookie()
    if not visitor.cookie:
        introduce(request, keeper.stranger(cookie))
    values = {"name": "", "problem": "", "shortest": SHORTEST, **values}
    response = request.app[PAGES].page(template, status, **values)
    response.headers["Cache-Control"] = "no-store"
    if not visitor.cookie:
        keeper.set_cookie(request, response, cookie)
    return response


ROUTES: Final[tuple[Route, ...]] = (
    public("/login", show_login),
    public("/login", log_in, "POST"),
    account("/logout", log_out, "POST"),
    account("/logout/everywhere", log_out_everywhere, "POST"),
    public("/setup", show_setup),
    public("/setup", set_up, "POST"),
)
