"""``git clone`` of the state: ``/db.git``, read-only, with the branches that somebody may read.

A branch is advertised to who may read everything in it: ``results/PROJECT/…`` and ``status-…`` by
project, and all others (``github-metadata``, ``control``, ``commit-index`` and what flows read and
write) to who may read every project. What is not advertised cannot be fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from datakit_ci.acl import Role
from datakit_ci.dashboard.routes import Route
from datakit_ci.dashboard.visitor import Visitor, visitor_of
from datakit_ci.target import decode_name, encode_name
from datakit_core.smart_http import Views

__all__ = ["CLONES", "ROUTES", "Clones", "project_of", "visible"]

_RESULTS, _STATUS = "results/", "status-"


@dataclass(frozen=True, slots=True)
class Clones:
    """The repository of the state.

    Attributes:
        heads: Every branch and its head, now.
        views: Serves some of them.
    """

    heads: Callable[[], Mapping[str, str]]
    views: Views


CLONES: Final = web.AppKey("clones", Clones)
"""The repository; absent where a server has the database."""


def project_of(branch: str) -> str:
    """The only project that a branch is about; empty if there is not exactly one.

    A name that :func:`~datakit_ci.target.encode_name` would not have made says nothing.
    """
    if branch.startswith(_RESULTS):
        encoded, _, stage = branch.removeprefix(_RESULTS).partition("/")
        parts = decode_name(encoded)
        is_ours = bool(stage) and encode_name(*parts) == encoded
        return "/".join(parts) if is_ours else ""
    if branch.startswith(_STATUS):
        encoded = branch.removeprefix(_STATUS)
        user, *rest = parts = decode_name(encoded)
        if len(rest) > 1 and encode_name(*parts) == encoded:
            return f"{user}/{rest[0]}"
    return ""


def visible(heads: Mapping[str, str], visitor: Visitor) -> Mapping[str, str]:
    """The branches that a visitor may read."""
    projects = {branch: project_of(branch) for branch in heads}
    known = {*projects.values(), *visitor.rules().projects} - {""}
    readable = {project for project in known if visitor.reads(project)}
    reads_all = readable == known and visitor.best_role >= Role.READ
    return {
        branch: head
        for branch, head in heads.items()
        if (projects[branch] in readable if projects[branch] else reads_all)
    }


async def advertise(request: web.Request) -> web.StreamResponse:
    """Tell Git which branches there are."""
    clones, heads = _asked(request)
    return await clones.views.advertise(request, heads)


async def transfer(request: web.Request) -> web.StreamResponse:
    """Send objects to Git."""
    clones, heads = _asked(request)
    return await clones.views.transfer(request, heads)


async def refuse(_: web.Request) -> web.StreamResponse:
    """Nothing is pushed here."""
    raise web.HTTPForbidden(text="this repository is read-only\n")


def _asked(request: web.Request) -> tuple[Clones, Mapping[str, str]]:
    """The repository, and what of it the visitor may read.

    Raises:
        HTTPNotFound: Another server has it.
        HTTPUnauthorized: They may read something if they say who they are. Git asks then.
    """
    clones, visitor = request.app.get(CLONES), visitor_of(request)
    if clones is None:
        raise web.HTTPNotFound(
            text="The database of this service is at another server; clone it there."
        )
    heads = visible(clones.heads(), visitor)
    may_read = visitor.best_role >= Role.READ
    must_say = request.path.startswith("/private/") or not (heads or may_read)
    if visitor.is_anonymous and must_say:
        raise web.HTTPUnauthorized(
            text="Give an API token as the password, with any user.",
            headers={"WWW-Authenticate": 'Basic realm="datakit", charset="UTF-8"'},
        )
    return clones, heads


def _routes(prefix: str) -> tuple[Route, ...]:
    return (
        Route("GET", f"{prefix}/db.git/info/refs", advertise, Role.NONE, head=False),
        Route("POST", f"{prefix}/db.git/git-upload-pack", transfer, Role.NONE, form=False),
        Route("POST", f"{prefix}/db.git/git-receive-pack", refuse, Role.NONE, form=False),
    )


ROUTES: Final[tuple[Route, ...]] = (*_routes(""), *_routes("/private"))
"""``/db.git`` has what one may read; ``/private/db.git`` the same, but asks for a token first."""
