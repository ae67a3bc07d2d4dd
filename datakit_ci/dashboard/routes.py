"""Addresses and what each asks of whoever uses it, so that no page can be added without a rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from aiohttp import web
from aiohttp.typedefs import Handler

from datakit_ci.acl import Role

__all__ = ["Route", "Table", "account", "act", "add_routes", "public", "read"]


@dataclass(frozen=True, slots=True)
class Route:
    """One address.

    Attributes:
        method: In capitals.
        path: As aiohttp writes it; ``{user}/{repo}`` in it are the project that it is about.
        handler: What answers.
        role: What one has to be in that project, or, if there is none in the path, in any.
        head: Whether HEAD is answered as well, where the method is GET.
        account: Whether it is for who has logged in with a browser, and so not for programs.
        form: Whether a POST has to come from a form of ours; if not, the handler finds out itself
            whether it is meant (a signature), or changes nothing.
    """

    method: str
    path: str
    handler: Handler
    role: Role
    head: bool = True
    account: bool = False
    form: bool = True


Table: TypeAlias = Mapping[web.AbstractRoute, Route]
"""What aiohttp has matched, and what we know of it."""


def public(path: str, handler: Handler, method: str = "GET") -> Route:
    """A page for everybody, logged in or not: it shows nothing of any project."""
    return Route(method, path, handler, Role.NONE)


def account(path: str, handler: Handler, method: str = "GET") -> Route:
    """A page of somebody's own: whoever they are, they have logged in with a browser."""
    return Route(method, path, handler, Role.NONE, account=True)


def read(path: str, handler: Handler, *, head: bool = True) -> Route:
    """A page for those who may read the project; without a project, it shows what one may read."""
    return Route("GET", path, handler, Role.READ, head)


def act(path: str, handler: Handler, role: Role = Role.BUILD) -> Route:
    """A form that changes something; it takes POST only."""
    return Route("POST", path, handler, role)


def add_routes(app: web.Application, routes: Iterable[Route]) -> Table:
    """Let ``app`` answer them; what it will have matched for each."""
    table: dict[web.AbstractRoute, Route] = {}
    for route in routes:
        methods = ("HEAD", "GET") if route.method == "GET" and route.head else (route.method,)
        resource = app.router.add_resource(route.path)
        table.update({resource.add_route(each, route.handler): route for each in methods})
    return table
