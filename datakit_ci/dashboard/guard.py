"""Around every request: headers that keep browsers safe, and errors as pages without tracebacks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from datakit_ci.dashboard.api.problem import is_api, problem
from datakit_ci.dashboard.gate import NOT_FOUND, forget_visitor
from datakit_ci.dashboard.rendering import PAGES
from datakit_ci.dashboard.sessions import SessionsAway
from datakit_core.smart_http import host_name, is_for_us

__all__ = ["HEADERS", "add_headers", "errors_as_pages", "keep_safe"]

_LOG = logging.getLogger(__name__)

HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""On every answer, also on errors and streams."""

_BEGUN: Final = web.RequestKey("begun", bool)
"""Set on a request once headers of an answer to it went out."""

_KEPT: Final = frozenset(("Allow", "Content-Range", "Retry-After", "WWW-Authenticate"))
"""Headers of an error that stay when it becomes a page."""

_EXPLAINED: Final[Mapping[int, str]] = {
    400: "The address or the request is not one that this server understands.",
    401: "Log in, or send an API token.",
    403: "You may not do that.",
    404: NOT_FOUND,
    503: "Nobody knows at present who you are. Try again in a while.",
    405: "This address cannot be used in that way.",
    413: "That is more than this server accepts.",
    500: "Something went wrong on our side. The server's log says what.",
}


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Set :data:`HEADERS`; connected to the signal that runs before headers are sent."""
    request[_BEGUN] = True
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = "datakit"


@web.middleware
async def errors_as_pages(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer failures with a page in our own style; a bug is logged in full and told in short."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        response = _error_page(request, error.status, error.text or "")
        for name in _KEPT.intersection(error.headers):
            response.headers[name] = error.headers[name]
        if error.status == HTTPStatus.REQUEST_TIMEOUT:
            response.force_close()  # what is still to come is no request
        return response
    except SessionsAway as error:
        _LOG.error("sessions are away: %s", error)
        return _error_page(request, 503, "")
    except Exception:
        if _BEGUN in request:  # half an answer is out: aiohttp logs this and hangs up
            raise
        _LOG.exception("%s %s failed", request.method, request.rel_url.raw_path)
        return _error_page(request, 500, "")


def _error_page(request: web.Request, status: int, reason: str) -> web.Response:
    phrase = HTTPStatus(status).phrase
    default = f"{status}: "
    detail = "" if reason.startswith(default) else reason
    explained = detail or _EXPLAINED.get(status, "The request could not be answered.")
    if is_api(request):
        return problem(status, explained)
    return request.app[PAGES].page(
        "error.html",
        status,
        code=status,
        phrase=phrase,
        explained=explained,
    )


async def _insist_on_tls(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Strict-Transport-Security"] = "max-age=31536000"


def _of_own_names(host: str, public_url: str) -> Middleware:
    """Refuse requests in names that are not ours, where only this machine comes in."""
    public = urlsplit(public_url).hostname

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not is_for_us(request.host, host) and host_name(request.host).lower() != public:
            raise web.HTTPMisdirectedRequest(
                text=f"This server is not {request.host}. If a proxy brings you here, "
                f"start the service with --public-url {request.scheme}://{request.host}."
            )
        return await handler(request)

    return check


def keep_safe(
    app: web.Application, *, is_secure: bool = False, host: str = "", public_url: str = ""
) -> None:
    """Put all of this around ``app``.

    Args:
        app: What to guard.
        is_secure: Whether browsers speak TLS; then they shall do nothing else again.
        host: The name or address that is listened on; empty: any.
        public_url: Where browsers see the service, if that is not where they connect to.
    """
    if is_secure:
        app.on_response_prepare.append(_insist_on_tls)
    app.middlewares.extend((forget_visitor, errors_as_pages, _of_own_names(host, public_url)))
    app.on_response_prepare.append(add_headers)
