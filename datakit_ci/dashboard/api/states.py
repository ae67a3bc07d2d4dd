"""The API on state: projects, targets, jobs, builds, reasons and pools."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Literal

from aiohttp import web
from pydantic import Field

from datakit_ci.acl import Role
from datakit_ci.dashboard.api import records
from datakit_ci.dashboard.api.addresses import target_url
from datakit_ci.dashboard.api.endpoint import Endpoint, reading, segment
from datakit_ci.dashboard.api.models import (
    BuildRecord,
    ExplanationRecord,
    Health,
    JobRecord,
    JobWhyRecord,
    Listing,
    Nothing,
    Pools,
    ProjectRecord,
    Record,
    ShownBuild,
    TargetRecord,
    TargetSummary,
    Version,
)
from datakit_ci.dashboard.api.paging import Part, cut
from datakit_ci.dashboard.rendering import PAGES
from datakit_ci.dashboard.scope import source_of
from datakit_ci.state import BuildId, BuildState, GraphNode, Status, TargetState
from datakit_ci.target import Target
from datakit_core import __version__
from datakit_core.errors import NoEntry

__all__ = ["BUILD", "ENDPOINTS", "TARGET", "asked_build", "asked_project", "asked_target"]

PROJECT = "/projects/{user}/{repo}"
TARGET = PROJECT + "/targets/{kind}/{name}"
BUILD = PROJECT + "/builds/{stage}/{static}/{key}"

_MOST_TARGETS = 50
"""Targets that are named for a build."""


class TargetQuery(Part):
    """Which targets."""

    status: Status | None = Field(None, description="Only those that stand there.")
    kind: Literal["heads", "tags", "pr"] | None = Field(None, description="Only such.")
    q: str = Field("", max_length=200, description="Words of the name, title, subject or author.")


class BuildQuery(Part):
    """Which builds."""

    status: Status | None = Field(None, description="Only those that stand there.")


class Why(Record):
    """Which job."""

    job: str = Field(min_length=1, max_length=300, description="The job's name.")


def asked_project(request: web.Request) -> str:
    """The project that the address names."""
    return f"{segment(request, 'user')}/{segment(request, 'repo')}"


def asked_target(request: web.Request) -> Target:
    """The target that the address names, whether there is one or not."""
    return Target(asked_project(request), segment(request, "kind"), segment(request, "name"))


def asked_build(request: web.Request) -> BuildId:
    """The build that the address names, whether there is one or not."""
    stage, static, key = (segment(request, part) for part in ("stage", "static", "key"))
    return BuildId(asked_project(request), stage, static, key)


def _target(request: web.Request) -> TargetState:
    target = asked_target(request)
    state = source_of(request).target(target)
    if state is None:
        raise web.HTTPNotFound(text=f"There is no target {records.text(target.path)}.")
    return state


async def find_build(request: web.Request) -> BuildState:
    """The build that the address names; raises ``HTTPNotFound``."""
    build = await source_of(request).build(asked_build(request))
    if build is None:
        raise web.HTTPNotFound(text="There is no such build; its record may have been dropped.")
    return build


def _states(request: web.Request) -> list[TargetState]:
    """The targets of the project in the address; raises ``HTTPNotFound`` if it has none."""
    project = asked_project(request)
    states = [each for each in source_of(request).targets() if each.target.project == project]
    if not states:
        raise web.HTTPNotFound(text=f"There is no project {records.text(project)}.")
    return states


async def show_version(_: web.Request, __: Nothing) -> Version:
    """Which server answers."""
    return Version(version=__version__, api="v1")


async def show_health(request: web.Request, _: Nothing) -> Health:
    """Whether the service works."""
    if request.app[PAGES].trouble():
        raise web.HTTPServiceUnavailable(text="The database is away, or the pipeline is broken.")
    return Health(healthy=True)


async def list_projects(request: web.Request, part: Part) -> Listing[ProjectRecord]:
    """List the projects that you may read."""
    states: dict[str, list[TargetState]] = defaultdict(list)
    for state in source_of(request).targets():
        states[state.target.project].append(state)
    shown, following = cut(sorted(states), part, lambda project: (project,))
    paused = source_of(request).paused()
    items = [records.project_record(each, states[each], paused.get(each)) for each in shown]
    return Listing(items=items, next=following)


async def show_project(request: web.Request, _: Nothing) -> ProjectRecord:
    """Show a project."""
    project, states = asked_project(request), _states(request)
    return records.project_record(project, states, source_of(request).paused().get(project))


async def list_all_targets(request: web.Request, query: TargetQuery) -> Listing[TargetSummary]:
    """List the targets of all projects that you may read."""
    return _listed(source_of(request).targets(), query)


async def list_targets(request: web.Request, query: TargetQuery) -> Listing[TargetSummary]:
    """List the targets of a project."""
    return _listed(_states(request), query)


def _listed(states: Iterable[TargetState], query: TargetQuery) -> Listing[TargetSummary]:
    words = query.q.casefold().split()
    wanted = sorted(
        (
            state
            for state in states
            if query.kind in (None, state.target.kind_value)
            and query.status in (None, state.status)
            and _has(state, words)
        ),
        key=lambda state: state.target,
    )
    shown, following = cut(wanted, query, lambda state: _key(state.target))
    return Listing(items=[records.target_summary(each) for each in shown], next=following)


def _key(target: Target) -> tuple[str, str, str]:
    return target.project, target.kind_value, target.name


def _has(state: TargetState, words: list[str]) -> bool:
    about = f"{state.title} {state.subject} {state.author} {state.head}"
    said = f"{state.target.short} {about}".casefold()
    return all(word in said for word in words)


async def show_target(request: web.Request, _: Nothing) -> TargetRecord:
    """Show a target with its jobs and its pipeline."""
    return records.target_record(_target(request))


async def list_jobs(request: web.Request, part: Part) -> Listing[JobRecord]:
    """List the jobs of a target."""
    jobs = sorted(_target(request).jobs, key=lambda job: job.name)
    shown, following = cut(jobs, part, lambda job: (job.name,))
    return Listing(items=[records.job_record(job) for job in shown], next=following)


async def why_job(request: web.Request, query: Why) -> JobWhyRecord:
    """Say why a job ran, did not run, or waits."""
    try:
        return records.job_why_record(
            await source_of(request).why(_target(request).target, query.job)
        )
    except NoEntry as error:
        raise web.HTTPNotFound(text=records.text(str(error))) from error


async def list_builds(request: web.Request, query: BuildQuery) -> Listing[ShownBuild]:
    """List the builds that the targets of a project show now, running or recorded."""
    found: dict[BuildId, tuple[GraphNode, list[Target]]] = {}
    for state in _states(request):
        for node in state.graph:
            if node.build is not None and query.status in (None, node.status):
                found.setdefault(node.build, (node, []))[1].append(state.target)
    shown, following = cut(
        sorted(found), query, lambda build: (build.stage, build.static, build.key)
    )
    return Listing(items=[_shown(each, *found[each]) for each in shown], next=following)


def _shown(build: BuildId, node: GraphNode, targets: list[Target]) -> ShownBuild:
    return ShownBuild(
        **dict(records.build_ref(build)),
        label=records.text(node.label),
        status=node.status,
        reason=records.text(node.reason),
        targets=[target_url(each) for each in targets[:_MOST_TARGETS]],
    )


async def show_build(request: web.Request, _: Nothing) -> BuildRecord:
    """Show a build."""
    return records.build_record(await find_build(request))


async def why_build(request: web.Request, _: Nothing) -> ExplanationRecord:
    """Say why a build ran or waits."""
    why = await source_of(request).why_build((await find_build(request)).id)
    if why is None:
        raise web.HTTPNotFound(text="Nothing is recorded of why this build ran.")
    return records.explanation_record(why)


async def show_pools(request: web.Request, _: Nothing) -> Pools:
    """Show what builds wait for: pools and locks, with what holds them and what waits."""
    source = source_of(request)
    return Pools(
        pools=[records.pool_record(*each) for each in sorted(source.pools().items())],
        locks=[records.lock_record(*each) for each in sorted(source.locks().items())],
    )


ENDPOINTS: tuple[Endpoint, ...] = (
    reading("/version", show_version, Version, Nothing, role=Role.NONE),
    reading("/health", show_health, Health, Nothing, role=Role.NONE),
    reading("/projects", list_projects, Listing[ProjectRecord], Part),
    reading("/targets", list_all_targets, Listing[TargetSummary], TargetQuery),
    reading("/pools", show_pools, Pools, Nothing),
    reading(PROJECT, show_project, ProjectRecord, Nothing),
    reading(PROJECT + "/targets", list_targets, Listing[TargetSummary], TargetQuery),
    reading(TARGET, show_target, TargetRecord, Nothing),
    reading(TARGET + "/jobs", list_jobs, Listing[JobRecord], Part),
    reading(TARGET + "/why", why_job, JobWhyRecord, Why),
    reading(PROJECT + "/builds", list_builds, Listing[ShownBuild], BuildQuery),
    reading(BUILD, show_build, BuildRecord, Nothing),
    reading(BUILD + "/why", why_build, ExplanationRecord, Nothing),
)
"""What can be read of the present state."""
