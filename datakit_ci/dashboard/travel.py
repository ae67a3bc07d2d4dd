"""Time travel: ``?at=`` on any address shows its page as of a moment."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from datakit_ci.acl import Role
from datakit_ci.dashboard.addressed import branch_in
from datakit_ci.dashboard.asof import AS_OF, AsOf, address_at
from datakit_ci.dashboard.rendering import PAGES
from datakit_ci.dashboard.routes import Table
from datakit_ci.dashboard.scope import MOMENT
from datakit_ci.instant import parse_instant, print_instant
from datakit_ci.past import Past
from datakit_core.errors import ConfigError

__all__ = ["PAST", "TABLE", "travel_in_time"]

PAST: Final = web.AppKey("past", Past)
"""What shows the past; an application without it only knows the present."""

TABLE: Final[web.AppKey[Table]] = web.AppKey("table")
"""What is known of each address."""

_READING = frozenset(("GET", "HEAD"))


@web.middleware
async def _return_to_now(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Around everything: a moment is that of one request, not of all on the same connection."""
    token = AS_OF.set(None)
    try:
        return await handler(request)
    finally:
        AS_OF.reset(token)


@web.middleware
async def _go_to_moment(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a request with ``?at=`` from the past."""
    text = request.query.get("at", "").strip()
    if not text or not _shows_state(request):
        return await handler(request)
    if request.method not in _READING:
        raise web.HTTPBadRequest(text="The past cannot be changed. Go back to now, and try there.")
    past = request.app.get(PAST)
    if past is None:
        raise web.HTTPNotFound(text="There is no database here whose past could be shown.")
    moment = await _moment(past, request.app[PAGES].clock(), text)
    here = _here(request)
    AS_OF.set(AsOf(moment, here))  # for the pages of errors, too
    state = await past.at(moment)
    if state is None:
        raise web.HTTPNotFound(text=await _too_early(past, moment))
    request[MOMENT] = state
    around = await past.around(branch_in(request), moment)
    AS_OF.set(AsOf(moment, here, _time(around.earlier), _time(around.later)))
    try:
        return await handler(request)
    except web.HTTPRedirection as redirect:
        location = redirect.headers["Location"]
        redirect.headers["Location"] = address_at(location, print_instant(moment))
        raise


def _shows_state(request: web.Request) -> bool:
    """Whether an address is about projects: files of ours, logging in and the like have no past."""
    route = request.app[TABLE].get(request.match_info.route)
    return route is not None and route.role is not Role.NONE


async def _moment(past: Past, now: datetime, text: str) -> datetime:
    """The moment that an address names.

    Raises:
        HTTPBadRequest: It is no moment.
        HTTPNotFound: It is a commit that we know nothing of.
    """
    try:
        named = parse_instant(text, now)
    except ConfigError as error:
        raise web.HTTPBadRequest(text=f"{error}.") from error
    if isinstance(named, datetime):
        return named
    moment = await past.moment_of(named)
    if moment is None:
        raise web.HTTPNotFound(
            text=f"{named} is no commit of a branch that records states (github-metadata, "
            "status-… or results/…), so it stands for no moment."
        )
    return moment


async def _too_early(past: Past, moment: datetime) -> str:
    first = await past.first()
    if first is None:
        return "Nothing has been recorded yet."
    return (
        f"Nothing was recorded at {print_instant(moment)}: "
        f"what is known begins at {print_instant(first)}."
    )


def _here(request: web.Request) -> str:
    """The address of what is asked for, as it is now."""
    query = "&".join(
        part
        for part in request.rel_url.raw_query_string.split("&")
        if part and not part.startswith("at=")
    )
    path = request.rel_url.raw_path
    return f"{path}?{query}" if query else path


def _time(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def travel_in_time(app: web.Application, table: Table, past: Past | None) -> None:
    """Let ``app`` answer requests from ``past``.

    Call it after the middleware that turns errors into pages was added.

    Args:
        app: Where the past is asked for.
        table: What each address asks for: those that ask for nothing show no state.
        past: Shows the past; none: nothing can.
    """
    app[TABLE] = table
    if past is not None:
        app[PAST] = past
    app.middlewares.insert(0, _return_to_now)
    app.middlewares.append(_go_to_moment)
