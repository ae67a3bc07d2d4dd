"""Addresses and what each asks of whoever uses it, so that no page can be added without a rule."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Handler

from datakit_ci.acl import Role

__all__ = ["Route", "act", "definitions", "public", "read"]


@dataclass(frozen=True, slots=True)
class Route:
    """One address.

    Attributes:
        method: In capitals.
        path: As aiohttp writes it; ``{user}/{repo}`` in it are the project that it is about.
        handler: What answers.
        role: What one has to be in that project, or, if there is none in the path, in any.
        head: Whether HEAD is answered as well, where the method is GET.
    """

    method: str
    path: str
    handler: Handler
    role: Role
    head: bool = True


def public(path: str, handler: Handler) -> Route:
    """A page for everybody, logged in or not: it shows nothing of any project."""
    return Route("GET", path, handler, Role.NONE)


def read(path: str, handler: Handler, *, head: bool = True) -> Route:
    """A page for those who may read the project; without a project, it shows what one may read."""
    return Route("GET", path, handler, Role.READ, head)


def act(path: str, handler: Handler, role: Role = Role.BUILD) -> Route:
    """A form that changes something; it takes POST only."""
    return Route("POST", path, handler, role)


def definitions(routes: Iterable[Route]) -> list[web.RouteDef]:
    """The routes as aiohttp wants them."""
    return [
        web.RouteDef(
            route.method,
            route.path,
            route.handler,
            {"allow_head": route.head} if route.method == "GET" else {},
        )
        for route in routes
    ]
