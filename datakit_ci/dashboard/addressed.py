"""What an address is about, byte for byte: names of branches need not be UTF-8."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from aiohttp import web

from datakit_ci.metadata import BRANCH
from datakit_ci.state import BuildId, stage_at
from datakit_ci.target import FLOWS, Target

__all__ = ["branch_in", "number_in", "project_in", "stage_in", "target_in"]

_TARGET = re.compile(
    r"/(?:history/)?([^/]+/[^/]+)/(?:ref/(heads|tags)|(pr))/(.+)",
    re.DOTALL,
)


def project_in(request: web.Request) -> str:
    """The project that an address with ``{user}/{repo}`` names; or that of flows."""
    match = request.match_info
    return FLOWS if FLOWS in match else f"{match['user']}/{match['repo']}"


def stage_in(request: web.Request) -> str:
    """The stage that an address with ``{stage}`` names."""
    return stage_at(project_in(request), request.match_info["stage"])


def target_in(request: web.Request) -> Target | None:
    """The target that an address names; none if it is another kind of address."""
    path = unquote_to_bytes(request.rel_url.raw_path).decode(errors="surrogateescape")
    match = _TARGET.fullmatch(path)
    return None if match is None else Target(match[1], match[2] or match[3], match[4])


def branch_in(request: web.Request) -> str:
    """The branch of the database whose commits change what an address shows."""
    match = request.match_info
    if "stage" in match:
        return BuildId(project_in(request), stage_in(request), "", "").branch
    target = target_in(request) if "name" in match else None
    return BRANCH if target is None else target.status_branch


def number_in(request: web.Request, name: str) -> int:
    """The number that ``?name=`` gives, at least 1; that is also what it is without.

    Raises:
        HTTPBadRequest: It is no number.
    """
    text = request.query.get(name, "1")
    if not (text.isascii() and text.isdigit()) or len(text) > 12:
        raise web.HTTPBadRequest(text=f"?{name}= takes a number.")
    return max(1, int(text))
