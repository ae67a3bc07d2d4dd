"""Somebody's own page: what they may do, their password, and tokens for their programs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from aiohttp import web

from datakit_ci.accounts import AccountBook, NewToken, Token
from datakit_ci.acl import LOCAL, Role
from datakit_ci.dashboard import forms
from datakit_ci.dashboard.keeper import KEEPER
from datakit_ci.dashboard.logins import LOGINS
from datakit_ci.dashboard.rendering import PAGES
from datakit_ci.dashboard.routes import Route, account
from datakit_ci.dashboard.visitor import Visitor, visitor_of
from datakit_ci.passwords import SHORTEST
from datakit_ci.target import FLOWS
from datakit_core.errors import ConfigError

__all__ = ["DAYS", "ROLES", "ROUTES", "make_token", "revoke_token", "show_profile"]

DAYS: Final = (7, 30, 90, 365)
"""How long tokens may be good for."""

ROLES: Final = {
    Role.READ: "read",
    Role.BUILD: "read and build",
    Role.ADMIN: "everything that I may do",
}
"""What tokens may be good for, in words."""

_LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token, as the page shows it."""

    token: Token
    may: str
    is_over: bool


async def show_profile(request: web.Request) -> web.StreamResponse:
    """Who one is, what one may do where, and one's tokens."""
    return _page(request)


async def make_token(request: web.Request) -> web.StreamResponse:
    """Make a token and show it, this once."""
    book, visitor = _book(request), visitor_of(request)
    try:
        wanted = await _wanted(request, visitor)
        secret = await asyncio.to_thread(book.make_token, visitor.identity, wanted)
    except ConfigError as error:
        return _page(request, 422, problem=str(error))
    return _page(request, secret=secret, made=wanted.name)


async def revoke_token(request: web.Request) -> web.StreamResponse:
    """End one of one's tokens."""
    book, visitor = _book(request), visitor_of(request)
    await asyncio.to_thread(book.revoke_token, visitor.user, await forms.field(request, "id"))
    raise web.HTTPSeeOther("/profile")


async def change_password(request: web.Request) -> web.StreamResponse:
    """Choose another password: all other sessions of the account end."""
    logins, visitor = request.app[LOGINS], visitor_of(request)
    book = _book(request)
    if visitor.identity.provider != LOCAL:
        raise web.HTTPForbidden(text="Your password is not kept here.")
    old = await forms.field(request, "old", strip=False)
    password = await forms.field(request, "password", strip=False)
    problem = ""
    if password != await forms.field(request, "again", strip=False):
        problem = "The two passwords differ."
    elif not await logins.is_right(visitor.user, old, logins.address_of(request)):
        problem = "This is not your present password."
    else:
        try:
            await logins.slowly(book.set_password, visitor.user, password)
        except ConfigError as error:
            problem = str(error)
    if problem:
        return _page(request, 422, password_problem=problem)
    response = web.Response(status=303, headers={"Location": "/profile"})
    await request.app[KEEPER].let_in(request, response, visitor.identity)
    return response


async def _wanted(request: web.Request, visitor: Visitor) -> NewToken:
    """The token that a form asks for.

    Raises:
        ConfigError: There can be no such token.
    """
    name = await forms.field(request, "name")
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise ConfigError(f"say in at most {_LONGEST_NAME} characters what the token is for")
    role, days = await forms.field(request, "role"), await forms.field(request, "days")
    if role not in {each.name.lower() for each in ROLES} or days not in map(str, DAYS):
        raise ConfigError("choose what it may do, and for how long")
    project = await forms.field(request, "project")
    if project and not visitor.reads(project):
        raise ConfigError(f"there is no project {project} that you may read")
    expires = request.app[KEEPER].now() + timedelta(days=int(days))
    return NewToken(name, Role[role.upper()], (project,) if project else None, expires)


def _book(request: web.Request) -> AccountBook:
    book = request.app[LOGINS].book
    if book is None:
        raise web.HTTPForbidden(text="This service keeps no accounts.")
    return book


def _page(request: web.Request, status: int = 200, **values: object) -> web.Response:
    visitor, book = visitor_of(request), request.app[LOGINS].book
    known = sorted(project for project in visitor.rules().projects if project != FLOWS)
    projects = {each: role for each in known if (role := visitor.role_in(each))}
    now = request.app[KEEPER].now()
    tokens = [] if book is None else book.tokens_of(visitor.user)
    rows = [TokenRow(each, ROLES[Role(each.role)], each.expires <= now) for each in tokens]
    response = request.app[PAGES].page(
        "profile.html",
        status,
        **{
            "projects": projects,
            "tokens": rows,
            "roles": {role.name.lower(): words for role, words in ROLES.items()},
            "days": DAYS,
            "is_local": visitor.identity.provider == LOCAL,
            "provider": visitor.identity.provider,
            "has_book": book is not None,
            "shortest": SHORTEST,
            "secret": "",
            "made": "",
            "problem": "",
            "password_problem": "",
            **values,
        },
    )
    response.headers["Cache-Control"] = "no-store"
    return response


ROUTES: Final[tuple[Route, ...]] = (
    account("/profile", show_profile),
    account("/profile/tokens", make_token, "POST"),
    account("/profile/tokens/revoke", revoke_token, "POST"),
    account("/profile/password", change_password, "POST"),
)
