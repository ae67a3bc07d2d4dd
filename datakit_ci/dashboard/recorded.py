"""The pages on what was recorded: a target's history, a stage's results, a commit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from aiohttp import web

from datakit_ci.annals import Change
from datakit_ci.archive import Dossier
from datakit_ci.dashboard import views
from datakit_ci.dashboard.addressed import project_in, stage_in, target_in
from datakit_ci.dashboard.days import by_day
from datakit_ci.dashboard.rendering import PAGES, path_of
from datakit_ci.dashboard.routes import read
from datakit_ci.dashboard.rows import ROWS
from datakit_ci.dashboard.scope import source_of
from datakit_ci.dashboard.source import Source, finish
from datakit_ci.state import BuildId, BuildState, JobState, TargetState
from datakit_ci.target import FLOWS
from datakit_core.client.api import CommitId, ObjectId

__all__ = ["ROUTES", "Step", "steps"]

_PAGE = 50
"""Changes or results on a page."""

_MOST_PAGES = 200
"""Beyond that, pages of the past are the way: what is skipped has to be read."""

_MOST_BUILDS = 200
"""Builds of a commit that are listed."""


@dataclass(frozen=True, slots=True)
class Step:
    """A change of a target, and what is new in it.

    Attributes:
        change: What it came to.
        jobs: The jobs that stand elsewhere than before, or are new.
        moved: Whether it was at another source commit before, or there was nothing before.
    """

    change: Change
    jobs: tuple[JobState, ...]
    moved: bool


def steps(changes: Sequence[Change], *, is_end: bool) -> list[Step]:
    """What is new in each of these changes, which are newest first.

    Args:
        changes: Without ``is_end``, the last is only there to be compared with.
        is_end: Whether the last one is the first that there ever was.
    """
    found = [_step(new, old) for new, old in pairwise(changes)]
    if is_end and changes:
        found.append(_step(changes[-1], None))
    return found


def _step(new: Change, old: Change | None) -> Step:
    if old is None:
        return Step(new, new.state.jobs, moved=True)
    before = {job.name: job.status for job in old.state.jobs}
    moved = new.state.head != old.state.head
    jobs = tuple(job for job in new.state.jobs if moved or before.get(job.name) is not job.status)
    return Step(new, jobs, moved)


async def show_history(request: web.Request) -> web.Response:
    """Everything that a target came to, the newest first."""
    target, number, source = target_in(request), _page_number(request), source_of(request)
    assert target is not None
    changes = await source.history(target, (number - 1) * _PAGE, _PAGE + 1)
    if not changes and (number > 1 or source.target(target) is None):
        raise web.HTTPNotFound(text=f"Nothing is recorded of {target.path} here.")
    pages = request.app[PAGES]
    return pages.page(
        "history.html",
        target=target,
        state=source.target(target),
        days=by_day(
            steps(changes, is_end=len(changes) <= _PAGE),
            lambda step: step.change.state.updated,
            pages.now(),
        ),
        number=number,
        has_more=len(changes) > _PAGE and number < _MOST_PAGES,
    )


async def show_results(request: web.Request) -> web.Response:
    """All recorded results of a stage, the newest first."""
    project, stage = project_in(request), stage_in(request)
    number = _page_number(request)
    found = await _some(source_of(request), project, stage, (number - 1) * _PAGE, _PAGE + 1)
    if not found and (number > 1 or not _is_drawn(source_of(request), project, stage)):
        raise web.HTTPNotFound(text=f"No {'more ' * (number > 1)}results of {stage} are recorded.")
    pages = request.app[PAGES]
    return pages.page(
        "results.html",
        project=project,
        stage=stage,
        days=by_day(found[:_PAGE], lambda each: each.state.finished, pages.now()),
        newest={each.state.id: each.commit for each in reversed(found)},
        number=number,
        has_more=len(found) > _PAGE and number < _MOST_PAGES,
    )


def _is_drawn(source: Source, project: str, stage: str) -> bool:
    """Whether a pipeline has such a stage now, whether it has ever ended or not."""
    return any(
        node.build is not None and (node.build.project, node.build.stage) == (project, stage)
        for state in (*source.targets(), *source.flows())
        if state.target.project == project
        for node in state.graph
    )


async def _some(source: Source, project: str, stage: str, skip: int, most: int) -> list[Dossier]:
    """Results of a stage; those at the beginning are skipped."""
    found: list[Dossier] = []
    results = source.results(project, stage)
    try:
        async for dossier in results:
            if skip > 0:
                skip -= 1
                continue
            found.append(dossier)
            if len(found) == most:
                break
    finally:
        await finish(results)
    return found


def _page_number(request: web.Request) -> int:
    text = request.query.get("page", "1")
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
    if not 1 <= number <= _MOST_PAGES:
        raise web.HTTPBadRequest(
            text=f"The page is a number from 1 to {_MOST_PAGES}. "
            "To go further back, choose a moment of the past."
        )
    return number


async def show_commit(request: web.Request) -> web.Response:
    """A commit: the targets that are or were at it, and their builds; ``?test=JOB``: its build."""
    project, source = project_in(request), source_of(request)
    commit = CommitId(ObjectId(request.match_info["commit"]))
    here = [s for s in source.targets() if s.target.project == project and s.head == commit]
    now = {state.target for state in here}
    recorded = await source.recorded_at(project, commit)
    left = [state for state in recorded if state.target not in now]
    if not here and not left:
        raise web.HTTPNotFound(
            text=f"No branch, tag or pull request of {project} is or was at {commit}."
        )
    if test := request.query.get("test", ""):
        here, left = [_only(state, test) for state in here], [_only(state, test) for state in left]
        _go_to_only_build(here + left, test)
    rows = await _builds(source, here + left)
    return request.app[PAGES].page(
        "commit.html",
        project=project,
        commit=commit,
        test=test,
        subject=next((state for state in here + left if state.subject), None),
        at_it=here,
        left=left,
        rows=rows,
        row=request.app[ROWS].of,
        broken=views.broken_build,
    )


def _only(state: TargetState, test: str) -> TargetState:
    """A target with one of its jobs."""
    jobs = tuple(job for job in state.jobs if job.name == test)
    return replace(state, jobs=jobs, graph=(), problem="")


def _go_to_only_build(states: Iterable[TargetState], test: str) -> None:
    """Lead to the build of a job, if all targets share it.

    Raises:
        HTTPNotFound: No target has such a job.
        HTTPFound: To the build.
    """
    jobs = [job for state in states for job in state.jobs]
    if not jobs:
        raise web.HTTPNotFound(text=f"There is no job {test} of that commit.")
    builds = {job.builds[-1] if job.builds else None for job in jobs}
    build = builds.pop()
    if not builds and build is not None:
        raise web.HTTPFound(path_of("build", build.path))


@dataclass(frozen=True, slots=True)
class _Row:
    """A build of a commit; ``build`` is none if it is no longer known."""

    id: BuildId
    build: BuildState | None
    jobs: tuple[str, ...]


async def _builds(source: Source, states: Iterable[TargetState]) -> list[_Row]:
    """The builds behind the jobs of some targets, each once."""
    jobs: dict[BuildId, dict[str, None]] = {}
    for state in states:
        for job in state.jobs:
            for build in job.builds:
                jobs.setdefault(build, {})[job.name] = None
    wanted = list(jobs.items())[:_MOST_BUILDS]
    return [_Row(build, await source.build(build), tuple(names)) for build, names in wanted]


ROUTES: Final = (
    read("/history/{user}/{repo}/pr/{name:[0-9]+}", show_history),
    read("/history/{user}/{repo}/ref/{kind:heads|tags}/{name:.+}", show_history),
    read("/results/{user}/{repo}/{stage:.+}", show_results),
    read(f"/results/{{flows:{FLOWS}}}/{{stage:[^/]+}}", show_results),
    read("/{user}/{repo}/commit/{commit:[0-9a-f]{40}}", show_commit),
)
