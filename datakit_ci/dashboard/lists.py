"""Pages that list pull requests, branches or tags, of all projects or of one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from datakit_ci.dashboard import views
from datakit_ci.dashboard.listing import Choice, listing
from datakit_ci.dashboard.rendering import PAGES
from datakit_ci.dashboard.routes import Route, read
from datakit_ci.dashboard.rows import ROWS
from datakit_ci.dashboard.scope import source_of
from datakit_ci.dashboard.shelf import SHELVES

__all__ = ["ROUTES", "address"]

_LONGEST = 200
"""Characters of a search, a project or an author that are looked at."""

_MOST_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Kind:
    """What is listed.

    Attributes:
        value: As targets have it.
        word: The last part of the address.
        title: For people.
        one: The same, of one.
    """

    value: str
    word: str
    title: str
    one: str


_KINDS = (
    Kind("pr", "pr", "Pull requests", "pull request"),
    Kind("heads", "branch", "Branches", "branch"),
    Kind("tags", "tag", "Tags", "tag"),
)


def address(choice: Choice, **changed: str | int) -> str:
    """The query of a list that shows ``choice`` but for what is ``changed``; ``?`` if nothing."""
    asked = {
        "state": choice.wanted.value,
        "q": choice.search,
        "project": choice.project,
        "author": choice.author,
        "page": 1,
        **changed,
    }
    wanted = {name: value for name, value in asked.items() if value not in ("", 1)}
    return "?" + urlencode(wanted, errors="surrogateescape")


async def _show(kind: Kind, request: web.Request) -> web.Response:
    shelf = request.app[SHELVES].of(source_of(request).targets())
    choice, project = _choice(request), ""
    if "user" in request.match_info:
        project = f"{request.match_info['user']}/{request.match_info['repo']}"
        if not shelf.projects.get(project):
            raise web.HTTPNotFound(text=f"There is no project {project} here.")
    view = listing(shelf, kind.value, choice, project)
    return request.app[PAGES].page(
        "listing.html",
        kind=kind,
        kinds=_KINDS,
        project=project,
        view=view,
        choice=choice,
        filters=views.Filter,
        row=request.app[ROWS].of,
        query=partial(address, choice),
    )


def _choice(request: web.Request) -> Choice:
    query = request.query
    try:
        wanted = views.Filter(query.get("state", ""))
    except ValueError as error:
        raise web.HTTPBadRequest(text="Choose failing, running or passing targets.") from error
    page = query.get("page", "1")
    if not (page.isascii() and page.isdigit()) or len(page) > _MOST_DIGITS:
        raise web.HTTPBadRequest(text="A page is a number, as in ?page=2.")
    return Choice(
        wanted,
        query.get("q", "")[:_LONGEST].strip(),
        query.get("project", "")[:_LONGEST],
        query.get("author", "")[:_LONGEST],
        int(page),
    )


def _routes() -> tuple[Route, ...]:
    return tuple(
        read(prefix + kind.word, partial(_show, kind))
        for kind in _KINDS
        for prefix in ("/", "/{user}/{repo}/")
    )


ROUTES: Final = _routes()
"""``/pr``, ``/branch`` and ``/tag``, and the same below a project."""
