"""Who may come in where: every request passes here, and what is not allowed goes no further.

The rule is the :class:`~datakit_ci.dashboard.routes.Route` that a request has matched. To whoever
may not read a project, its addresses are those of one that there is not: the same answer, made in
the same way. Who may read it, but not do what they ask for, is told so.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from typing import Final, Protocol
from urllib.parse import quote, urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from datakit_ci.acl import Role
from datakit_ci.dashboard.routes import Route, Table
from datakit_ci.dashboard.visitor import (
    CSRF_FIELD,
    CSRF_HEADER,
    CURRENT,
    How,
    Visitor,
    introduce,
    is_csrf,
    visitor_of,
)
from datakit_ci.target import FLOWS

__all__ = ["NOT_FOUND", "Doorkeeper", "forget_visitor", "put_before", "safe_next"]

_LOG = logging.getLogger(__name__)

NOT_FOUND: Final = (
    "There is nothing here (any more), or it is not for you. "
    "A branch may have been deleted or merged."
)
"""Of what is not there and of what is hidden, alike."""

_PATIENCE = 20.0
"""Seconds that the body of a request may take; forms are small."""

_NO_PAGE: Final = re.compile(r"/(?:login|logout|setup)(?:[/?#]|\Z)")
"""Where nobody wants to come back to; users may have names that begin like that."""

_SAFE: Final = frozenset(("GET", "HEAD", "OPTIONS"))


class Doorkeeper(Protocol):
    """Finds out who asks."""

    async def identify(self, request: web.Request) -> Visitor:
        """Who a request is from; raises ``HTTPUnauthorized`` for a token that is not good."""
        ...


def put_before(app: web.Application, table: Table, keeper: Doorkeeper, own_origin: str) -> None:
    """Let all requests to ``app`` pass the gate.

    Args:
        app: What to guard.
        table: What each address asks for.
        keeper: Finds out who asks.
        own_origin: Where browsers see the service, if that is not where they connect to:
            ``https://ci.example.org``.
    """

    @web.middleware
    async def identify(request: web.Request, handler: Handler) -> web.StreamResponse:
        introduce(request, await keeper.identify(request))
        return await handler(request)

    @web.middleware
    async def enforce(request: web.Request, handler: Handler) -> web.StreamResponse:
        route = table.get(request.match_info.route)
        if route is None:
            if request.match_info.http_exception is None:  # a route without a rule is shut
                raise web.HTTPNotFound(text=NOT_FOUND)
            return await handler(request)  # no such address, or not in that way: aiohttp says which
        _check_right(request, route)
        if route.form and request.method not in _SAFE:
            await _read_body(request)
            await _check_form(request, own_origin)
        return await handler(request)

    app.middlewares.extend((identify, enforce))


@web.middleware
async def forget_visitor(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Around everything: nobody is taken for whom the same connection's request before was from."""
    token = CURRENT.set(Visitor())
    try:
        return await handler(request)
    finally:
        CURRENT.reset(token)


def _check_right(request: web.Request, route: Route) -> None:
    """Refuse what the visitor may not do, in the way that tells them no more than they may know.

    Raises:
        HTTPException: It is refused; or they are asked to log in.
    """
    visitor = visitor_of(request)
    if route.account and (visitor.is_anonymous or visitor.how is not How.SESSION):
        raise _ask_to_log_in(request)
    if route.role is Role.NONE:
        return
    project = _project_of(visitor, request.match_info)
    if visitor.may(route.role, project):
        return
    if project and not visitor.reads(project):
        raise web.HTTPNotFound(text=NOT_FOUND)
    if visitor.is_anonymous:
        raise _ask_to_log_in(request)
    raise web.HTTPForbidden(text=_refused(route.role))


def _project_of(visitor: Visitor, match: Mapping[str, str]) -> str:
    """The project that an address is about; empty if it names none."""
    if "repo" not in match:
        return match.get(FLOWS, "")
    project = f"{match['user']}/{match['repo']}"
    known = visitor.rules().projects
    return FLOWS if match["user"] == FLOWS and project not in known else project


def _refused(role: Role) -> str:
    needed = "administer" if role is Role.ADMIN else "start, stop or confirm builds of"
    if role is Role.READ:
        return "There is no project here that you may read. Ask who runs this service."
    return f"You may look, but not {needed} this project. Ask who runs this service."


def _ask_to_log_in(request: web.Request) -> web.HTTPException:
    """To a page for that, and back; what is no browser is only told."""
    accept = request.headers.get("Accept", "*/*")
    is_program = "Authorization" in request.headers or request.path.startswith("/api/")
    if is_program or not ("text/html" in accept or "*/*" in accept):
        return web.HTTPUnauthorized(
            text="Log in, or send an API token.",
            headers={"WWW-Authenticate": 'Bearer realm="datakit"'},
        )
    back = request.rel_url.raw_path_qs if request.method in _SAFE else _referring_page(request)
    return web.HTTPSeeOther(f"/login?next={quote(safe_next(back), safe='/')}")


def _referring_page(request: web.Request) -> str:
    """The page of ours that a form was on."""
    referer = request.headers.get("Referer", "")
    return urlsplit(referer).path if _host_in(referer) == request.host else "/"


def _host_in(url: str) -> str:
    """The host and port of a URL; empty if there is none."""
    try:
        return urlsplit(url).netloc
    except ValueError:  # brackets around what is no address
        return ""


def safe_next(address: str) -> str:
    r"""``address`` if it is one of a page of ours, else ``/``: nobody is sent elsewhere.

    Browsers take ``//host`` and ``/\host`` for another server, and drop tabs and line breaks.
    """
    is_local = address.startswith("/") and address[1:2] not in ("/", "\\")
    is_plain = address.isascii() and address.isprintable() and "\\" not in address
    is_page = not _NO_PAGE.match(address)
    return address if is_local and is_plain and is_page and len(address) <= 2_000 else "/"


async def _read_body(request: web.Request) -> None:
    """Take what is sent, which is little, before anything is done; not from who dawdles.

    Raises:
        HTTPRequestTimeout: It did not come.
    """
    try:
        async with asyncio.timeout(_PATIENCE):
            await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout(text="What you were sending did not arrive in time.") from None


async def _check_form(request: web.Request, own_origin: str) -> None:
    """Refuse what another site's page has sent in a visitor's name.

    A program that sends a token in a header needs no more; a browser may send one by itself, if
    somebody has typed it in where Git asks for it.

    Raises:
        HTTPForbidden: It does not come from a page of ours.
    """
    visitor = visitor_of(request)
    if not _is_same_origin(request, own_origin):
        _LOG.warning("a form from %r was refused", request.headers.get("Origin", ""))
        raise web.HTTPForbidden(text="This form was sent by a page of another site.")
    if visitor.how is How.BEARER:
        return
    given = request.headers.get(CSRF_HEADER)
    if given is None:
        field = (await request.post()).get(CSRF_FIELD, "")
        given = field if isinstance(field, str) else ""
    if not is_csrf(visitor, given):
        raise web.HTTPForbidden(
            text="This form is from before you logged in or out. "
            "Go back, reload the page and send it again."
        )


def _is_same_origin(request: web.Request, own_origin: str) -> bool:
    """Whether a browser says that a page of ours asks; what says nothing has the token only."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None and site != "same-origin":
        return False
    origin = request.headers.get("Origin")
    if origin is None:
        return True
    return origin == own_origin or _host_in(origin) == request.host != ""
