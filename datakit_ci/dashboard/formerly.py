"""Addresses of other DataKit tools that name branches of the database: they lead to our pages."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from datakit_ci.dashboard.rendering import path_of
from datakit_ci.dashboard.routes import read
from datakit_ci.dashboard.scope import source_of
from datakit_ci.dashboard.source import Source, finish
from datakit_ci.ledger import target_of
from datakit_ci.state import BuildId, Status
from datakit_ci.target import decode_name

__all__ = ["ROUTES"]

_FAR = 2_000
"""Results of a stage among which that of a commit is looked for."""


async def find_live_log(request: web.Request) -> web.Response:
    """``/log/live/BRANCH``: what runs there now, or else ran there last.

    Raises:
        HTTPFound: To the build of a branch with results, or to the target of one with states.
        HTTPNotFound: There is none.
    """
    source, branch = source_of(request), request.match_info["branch"]
    await _to_target(source, branch)
    stage = _stage_of(branch)
    if stage is not None:
        build = _running(source, *stage) or await _recorded(source, *stage)
        if build is not None:
            raise web.HTTPFound(path_of("build", build.path) + "#end")
    raise web.HTTPNotFound(text=f"Nothing runs or ran on the branch {branch}.")


async def find_saved_log(request: web.Request) -> web.Response:
    """``/log/saved/BRANCH/COMMIT``: the build that a commit has recorded.

    Raises:
        HTTPFound: To the build, or to the target as of the commit.
        HTTPNotFound: There is none.
    """
    source, branch = source_of(request), request.match_info["branch"]
    commit = request.match_info["commit"]
    await _to_target(source, branch, f"?at={commit}")
    stage = _stage_of(branch)
    build = None if stage is None else await _recorded(source, *stage, commit)
    if build is None:
        raise web.HTTPNotFound(text=f"The commit {commit} of {branch} has recorded no build.")
    raise web.HTTPFound(path_of("build", build.path))


async def _to_target(source: Source, branch: str, query: str = "") -> None:
    """Lead to the target whose history is on ``branch``, if it is one of those."""
    target = target_of(branch)
    if target is None or not await source.history(target, 0, 1):
        return
    is_shown = query or source.target(target) is not None
    raise web.HTTPFound(
        path_of(target.path) + query if is_shown else path_of("history", target.path)
    )


def _stage_of(branch: str) -> tuple[str, str] | None:
    """Project and stage of a branch with results; none if it is another branch."""
    match branch.split("/"):
        case ["results", project, stage]:
            return "/".join(decode_name(project)), "-".join(decode_name(stage))
        case _:
            return None


def _running(source: Source, project: str, stage: str) -> BuildId | None:
    for state in source.targets():
        for node in state.graph:
            build = node.build
            if build is None or node.status is not Status.RUNNING:
                continue
            if (build.project, build.stage) == (project, stage):
                return build
    return None


async def _recorded(source: Source, project: str, stage: str, commit: str = "") -> BuildId | None:
    """The newest result of a stage; with ``commit``, the one that it has recorded."""
    looked, results = 0, source.results(project, stage)
    try:
        async for dossier in results:
            looked += 1
            if commit in ("", dossier.commit):
                return dossier.state.id
            if looked >= _FAR:
                break
    finally:
        await finish(results)
    return None


ROUTES: Final = (
    read("/log/live/{branch:.+}", find_live_log),
    read("/log/saved/{branch:.+}/{commit:[0-9a-f]{40}}", find_saved_log),
)
