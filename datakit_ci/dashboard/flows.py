"""Pages on flows: where each stands, what it is made from, what it publishes, and its last runs.

A flow belongs to the service and not to a project: ``flows`` stands where a project's name has two
parts. Where an address would do for both, it is about the project.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from aiohttp import web

from datakit_ci.archive import Dossier
from datakit_ci.dashboard import graph, views
from datakit_ci.dashboard.actions import act_on_target
from datakit_ci.dashboard.found import BUILD, FLOW_BUILD
from datakit_ci.dashboard.grouping import Grouped
from datakit_ci.dashboard.rendering import PAGES
from datakit_ci.dashboard.routes import Route, act, read
from datakit_ci.dashboard.scope import source_of
from datakit_ci.dashboard.source import Source, finish
from datakit_ci.dashboard.timeline import timeline
from datakit_ci.state import BuildId, BuildState, GraphNode, TargetState
from datakit_ci.target import FLOWS

__all__ = ["ROUTES", "Runs", "origins", "show_flow", "with_flows"]

_MOST_STAGES, _MOST_RUNS = 12, 5
"""Stages of a flow whose last results are shown, and how many of each."""

_ORIGINS: Mapping[str, str] = {"head": "branch", "every": "schedule"}
"""The kinds of nodes that a flow begins with, for people."""


@dataclass(frozen=True, slots=True)
class Runs:
    """A stage of a flow, with its last results, the newest first."""

    stage: str
    label: str
    results: tuple[Dossier, ...]


def origins(state: TargetState) -> Sequence[tuple[str, str]]:
    """What a flow is made from: ``branch`` or ``schedule``, and which."""
    return [(_ORIGINS[node.kind], node.label) for node in state.graph if node.kind in _ORIGINS]


async def show_flows(request: web.Request) -> web.Response:
    """All flows, in the pipeline's order."""
    flows = source_of(request).flows()
    return request.app[PAGES].page("flows.html", flows=flows, origins=origins)


async def show_flow(request: web.Request) -> web.Response:
    """One flow."""
    source, match = source_of(request), request.match_info
    name = match["branch"] if "branch" in match else match["repo"]
    state = next((each for each in source.flows() if each.target.name == name), None)
    if state is None:
        raise web.HTTPNotFound(
            text=f"No flow publishes the branch {name}; how flows stood in the past is not kept."
        )
    found = [node.build for node in state.graph if node.build is not None]
    builds = await _builds(source, found)
    shown = request.app[PAGES]
    return shown.page(
        "flow.html",
        state=state,
        origins=origins(state),
        drawing=graph.layout(state.graph),
        pipeline=Grouped(state.graph, {}, ()),
        problem=views.first_problem(state.graph),
        timeline=timeline(tuple(builds.values()), shown.now()),
        commands={build.id: build.command for build in builds.values()},
        labels={node.build: node.label for node in state.graph},
        runs=await _runs(source, state),
    )


async def _builds(source: Source, wanted: Sequence[BuildId]) -> Mapping[BuildId, BuildState]:
    found = {build: await source.build(build) for build in dict.fromkeys(wanted)}
    return {build: state for build, state in found.items() if state is not None}


async def _runs(source: Source, state: TargetState) -> Sequence[Runs]:
    """The last results of each stage; stages of one name are one."""
    stages = {_stage_of(node): node.label for node in state.graph if node.kind == "stage"}
    return [
        Runs(stage, label, await _last(source, stage))
        for stage, label in list(stages.items())[:_MOST_STAGES]
    ]


def _stage_of(node: GraphNode) -> str:
    """What a node runs; until it is known as what build, its label without parameters says it."""
    return node.label.partition("(")[0] if node.build is None else node.build.stage


async def _last(source: Source, stage: str) -> tuple[Dossier, ...]:
    found: list[Dossier] = []
    results = source.results(FLOWS, stage)
    try:
        async for dossier in results:
            found.append(dossier)
            if len(found) == _MOST_RUNS:
                break
    finally:
        await finish(results)
    return tuple(found)


def with_flows(routes: Sequence[Route]) -> tuple[Route, ...]:
    """The same addresses, and after each of builds that of builds of flows."""
    found: list[Route] = []
    for route in routes:
        found.append(route)
        if route.path.startswith(BUILD):
            found.append(replace(route, path=FLOW_BUILD + route.path.removeprefix(BUILD)))
    return tuple(found)


ROUTES: Final = (
    read(f"/{FLOWS}", show_flows),
    act(f"/{{flows:{FLOWS}}}/{{branch:.+}}/{{verb:rebuild|cancel|confirm}}", act_on_target),
    read(f"/{{flows:{FLOWS}}}/{{branch:.+/.+|.*[{{}}].*}}", show_flow),
)
"""They go behind the addresses of projects. A name without a slash or brace looks like a project's,
which leads on to :func:`show_flow` if it is none.
"""
