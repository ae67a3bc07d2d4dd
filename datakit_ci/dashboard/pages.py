"""The pages on state: the overview, a project, a target."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from urllib.parse import unquote_to_bytes, urlencode

from aiohttp import web

from datakit_ci.dashboard import graph, views
from datakit_ci.dashboard.courses import COURSES
from datakit_ci.dashboard.flows import show_flow
from datakit_ci.dashboard.frontpage import Front, front
from datakit_ci.dashboard.grouping import grouped
from datakit_ci.dashboard.rendering import PAGES
from datakit_ci.dashboard.rows import ROWS
from datakit_ci.dashboard.scope import source_of
from datakit_ci.dashboard.shelf import SHELVES
from datakit_ci.dashboard.source import Source
from datakit_ci.dashboard.timeline import timeline
from datakit_ci.state import BuildId, BuildState, JobState, TargetState
from datakit_ci.target import FLOWS, Target

__all__ = ["show_overview", "show_project", "show_target"]

_MAX_SEARCH = 200
"""Characters of a search that are looked at."""

_MAX_RUNNING = 24
"""Running builds that the overview describes one by one."""

_MAX_SPOTLIGHT = 30
"""Nodes of a pipeline that is drawn on the overview; a larger one would push the rest away."""

_MOST_EXPANDED = 20
"""Groups of a pipeline that may be asked for one by one."""

_TARGET = re.compile(r"/([^/]+/[^/]+)/(?:ref/)?(heads|tags|pr)/(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job with the build that says most about it."""

    job: JobState
    build: BuildState | None

    @property
    def says(self) -> str:
        """What the job says of itself, unless the row shows that anyway."""
        job, build = self.job, self.build
        timed = build is not None and build.started is not None
        idle = timed and job.description.startswith(("passed in ", "running"))
        return "" if idle else job.description


async def show_overview(request: web.Request) -> web.Response:
    """All projects: what is red, what runs, and every target."""
    source = source_of(request)
    shelf = request.app[SHELVES].of(source.targets())
    first = front(
        shelf.asking.values(),
        source.target,
        source.projects(),
        source.pools(),
        source.paused(),
        source.flows(),
    )
    wanted, search = _choice(request)
    view = views.overview(shelf, wanted, search)
    return await _overview(request, view, "overview.html", first)


async def show_project(request: web.Request) -> web.Response:
    """One project's targets."""
    project, source = _project(request), source_of(request)
    shelf = request.app[SHELVES].of(source.targets())
    if not shelf.projects.get(project):
        if request.match_info["user"] == FLOWS:
            return await show_flow(request)
        raise web.HTTPNotFound(text=f"There is no project {project} here.")
    wanted, search = _choice(request)
    view = views.overview(shelf, wanted, search, project)
    return await _overview(
        request,
        view,
        "project.html",
        project=project,
        paused=source.paused().get(project),
        kinds={kind: len(shelf.of_kind(kind, project)) for kind in ("pr", "heads", "tags")},
    )


async def show_target(request: web.Request) -> web.Response:
    """One target: its jobs, its pipeline as a picture, and when its builds ran."""
    state = _target(request)
    builds = await _builds(request, _builds_of(state))
    pages = request.app[PAGES]
    expanded = frozenset(request.query.getall("expand", ())[:_MOST_EXPANDED])
    pipeline = grouped(state.graph, expanded)
    return pages.page(
        "target.html",
        state=state,
        summary=views.summary(state),
        rows=[_job_row(state, job, builds) for job in views.red_first(state.jobs)],
        drawing=graph.layout(pipeline.nodes),
        pipeline=pipeline,
        toggled=partial(_toggled, expanded),
        problem=views.first_problem(state.graph),
        timeline=timeline(tuple(builds.values()), pages.now()),
        commands={build.id: build.command for build in builds.values()},
        labels={node.build: node.label for node in state.graph},
    )


def _toggled(expanded: frozenset[str], stage: str) -> str:
    """The query with which a stage is drawn as one node, if it is expanded, and else expanded."""
    return "?" + urlencode(
        [("expand", each) for each in sorted(expanded ^ {stage})], errors="surrogateescape"
    )


async def _overview(
    request: web.Request,
    view: views.Overview,
    template: str,
    first: Front | None = None,
    **values: object,
) -> web.Response:
    wanted, search = _choice(request)
    source, boards = source_of(request), () if first is None else first.boards
    told = [board.state for board in boards if board.state is not None]
    told += [item.target for item in view.trouble]
    shown = [running.build for running in view.running[:_MAX_RUNNING]]
    return request.app[PAGES].page(
        template,
        view=view,
        wanted=wanted,
        search=search,
        filters=views.Filter,
        builds=await _builds(request, shown),
        row=request.app[ROWS].of,
        broken=views.broken_build,
        front=first,
        courses=await request.app[COURSES].of(source, told),
        spot=None if search else _spotlight(source, view),
        **values,
    )


def _spotlight(source: Source, view: views.Overview) -> tuple[TargetState, graph.Drawing] | None:
    """The main branch of the only project, with its picture, on a page that shows everything."""
    if len(view.groups) != 1:
        return None
    state = views.main_branch(view.groups[0].project, source.target)
    if state is None or not 1 < len(state.graph) <= _MAX_SPOTLIGHT:
        return None
    return state, graph.layout(state.graph)


def _choice(request: web.Request) -> tuple[views.Filter, str]:
    try:
        wanted = views.Filter(request.query.get("state", ""))
    except ValueError as error:
        raise web.HTTPBadRequest(text="Choose failing, running or passing targets.") from error
    return wanted, request.query.get("q", "")[:_MAX_SEARCH].strip()


def _project(request: web.Request) -> str:
    return f"{request.match_info['user']}/{request.match_info['repo']}"


def _target(request: web.Request) -> TargetState:
    """The target that an address names, byte for byte: names need not be UTF-8."""
    path = unquote_to_bytes(request.rel_url.raw_path).decode(errors="surrogateescape")
    match = _TARGET.fullmatch(path)
    state = None
    if match is not None:
        state = source_of(request).target(Target(match[1], match[2], match[3]))
    if state is None:
        raise web.HTTPNotFound(
            text="No such branch, tag or pull request is tested here (any more)."
        )
    return state


def _builds_of(state: TargetState) -> Iterable[BuildId]:
    in_graph = (node.build for node in state.graph if node.build is not None)
    in_jobs = (build for job in state.jobs for build in job.builds)
    return dict.fromkeys((*in_graph, *in_jobs))


async def _builds(request: web.Request, wanted: Iterable[BuildId]) -> dict[BuildId, BuildState]:
    """Look builds up; those that are gone are left out."""
    source, found = source_of(request), {}
    for build in wanted:
        state = await source.build(build)
        if state is not None:
            found[build] = state
    return found


def _job_row(state: TargetState, job: JobState, builds: dict[BuildId, BuildState]) -> JobRow:
    build = views.broken_build(state, job)
    return JobRow(job, builds.get(build) if build is not None else None)
