"""The build that an address is about: found for who asks, or not there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from datakit_ci.archive import Dossier
from datakit_ci.dashboard.scope import source_of
from datakit_ci.state import BuildId, BuildState, stage_at
from datakit_ci.target import FLOWS

__all__ = ["BUILD", "FLOW_BUILD", "build_id", "find_build", "find_dossier"]

BUILD: Final = r"/build/{user}/{repo}/{stage:.+?}/{static:[0-9a-f]{64}}/{key:[0-9a-f]{64}}"
"""The address of a build; all that is about it is below, where paths may look like anything."""

FLOW_BUILD: Final = (
    rf"/build/{{flows:{FLOWS}}}/{{stage:[^/]+}}/{{static:[0-9a-f]{{64}}}}/{{key:[0-9a-f]{{64}}}}"
)
"""The same of a build of a flow, which belongs to no project."""

_MISSING = "There is no such build. Its record may have been dropped."


def build_id(match: Mapping[str, str]) -> BuildId:
    """The build that a matched address names."""
    project = FLOWS if FLOWS in match else f"{match['user']}/{match['repo']}"
    return BuildId(project, stage_at(project, match["stage"]), match["static"], match["key"])


async def find_build(request: web.Request) -> BuildState:
    """The build that the request is about.

    Raises:
        HTTPNotFound: There is none, or who asks must not see it.
    """
    build = await source_of(request).build(build_id(request.match_info))
    if build is None:
        raise web.HTTPNotFound(text=_MISSING)
    return build


async def find_dossier(request: web.Request) -> Dossier:
    """The dossier of the build that the request is about.

    Raises:
        HTTPNotFound: There is none, or who asks must not see it.
    """
    dossier = await source_of(request).dossier(build_id(request.match_info))
    if dossier is None:
        raise web.HTTPNotFound(text=_MISSING)
    return dossier
