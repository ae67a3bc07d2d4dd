"""Two results side by side: ``…/compare?with=`` another one of any stage that one may see."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from aiohttp import web

from datakit_ci.archive import Dossier
from datakit_ci.dashboard.comparing import (
    compare_facts,
    compare_logs,
    compare_trees,
    last_bytes,
)
from datakit_ci.dashboard.found import BUILD, find_dossier
from datakit_ci.dashboard.naming import known_label
from datakit_ci.dashboard.neighbours import find_neighbours
from datakit_ci.dashboard.rendering import PAGES, path_of
from datakit_ci.dashboard.routes import read
from datakit_ci.dashboard.scope import source_of
from datakit_ci.dashboard.shelf import SHELVES
from datakit_ci.dashboard.views import targets_of
from datakit_ci.state import BuildId
from datakit_core.client.api import CommitId
from datakit_core.store.objects import parse_id

__all__ = ["ROUTES", "show_comparison"]

_WITH = re.compile(r"(.+?)(?:@([0-9a-f]{40})?)?\Z", re.DOTALL)


async def show_comparison(request: web.Request) -> web.StreamResponse:
    """What differs from another result to this one; ``green`` and ``previous`` name one."""
    dossier = await find_dossier(request)
    wanted = request.query.get("with", "green")
    if wanted in ("green", "previous"):
        return await _to_neighbour(request, dossier, wanted)
    other = await _other(request, wanted)
    return request.app[PAGES].page(
        "compare.html",
        build=dossier.state,
        other=other.state,
        facts=compare_facts(other.state, dossier.state),
        inputs=await compare_trees(dossier.objects, other.state.input, dossier.state.input),
        outputs=await compare_trees(dossier.objects, other.state.output, dossier.state.output),
        **await _logs(other, dossier),
    )


async def _to_neighbour(request: web.Request, dossier: Dossier, wanted: str) -> web.StreamResponse:
    """On to a definite address, which will mean the same when there are newer results."""
    state, source = dossier.state, source_of(request)
    targets = targets_of(request.app[SHELVES].of(source.targets()), state.id)
    results = source.results(state.id.project, state.id.stage)
    around = await find_neighbours(results, state, known_label(state, targets))
    step = around.green if wanted == "green" else around.older
    if step is None:
        words = "result before it that passed" if wanted == "green" else "result before it"
        raise web.HTTPNotFound(text=f"There is no {words} to compare this build with.")
    address = f"{path_of('build', state.id.path)}/compare?with={quote(step.name, safe='/@')}"
    raise web.HTTPSeeOther(address)


async def _other(request: web.Request, wanted: str) -> Dossier:
    match = _WITH.match(wanted)
    build = BuildId.parse(match[1]) if match is not None else None
    if match is None or build is None:
        raise web.HTTPBadRequest(
            text="?with= takes the address of a build below /build/, or green, or previous."
        )
    commit = CommitId(parse_id(match[2])) if match[2] else None
    found = await source_of(request).dossier(build, commit)
    if found is None:
        raise web.HTTPNotFound(text="There is no such build to compare with (any more).")
    return found


async def _logs(old: Dossier, new: Dossier) -> dict[str, object]:
    """The logs' difference, as far as it can be told."""
    if old.log is None or new.log is None:
        return {"log": None, "log_note": "Only builds that have ended have logs to compare."}
    before, is_whole = await last_bytes(old.objects, old.log)
    after, is_whole_too = await last_bytes(new.objects, new.log)
    lines = await compare_logs(before, after)
    note = "" if is_whole and is_whole_too else "The logs are long; only their ends are compared."
    return {"log": lines, "log_note": note if lines is not None else "One of the logs is no text."}


ROUTES: Final = (read(BUILD + "/compare", show_comparison),)
"""The address of a comparison."""
