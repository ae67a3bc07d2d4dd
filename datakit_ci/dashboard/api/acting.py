"""The API for acting: rebuild, cancel, confirm, approve, pause, resume."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from datakit_ci.acl import Role
from datakit_ci.control import Approve, Cancel, Command, Confirm, Pause, Rebuild, Resume
from datakit_ci.dashboard.api.endpoint import Endpoint, acting
from datakit_ci.dashboard.api.models import (
    ApproveRequest,
    CancelRequest,
    Done,
    Nothing,
    RebuildRequest,
)
from datakit_ci.dashboard.api.records import text
from datakit_ci.dashboard.api.states import (
    BUILD,
    PROJECT,
    TARGET,
    asked_build,
    asked_project,
    asked_target,
)
from datakit_ci.dashboard.controls import carry_out
from datakit_core.client.api import CommitId, ObjectId

__all__ = ["ENDPOINTS"]


async def _do(request: web.Request, make: Callable[[str], Command]) -> Done:
    return Done(text=text(await carry_out(request, make)))


async def rebuild_target(request: web.Request, body: RebuildRequest) -> Done:
    """Make the results of a target again, or of one of its jobs, or only of what failed."""
    what = asked_target(request)
    return await _do(
        request, lambda user: Rebuild(user, what, body.job, only_failed=body.only_failed)
    )


async def cancel_target(request: web.Request, body: CancelRequest) -> Done:
    """Stop what runs or waits for a target and for no other; it stays so until rebuilt."""
    what = asked_target(request)
    return await _do(request, lambda user: Cancel(user, what, body.job))


async def confirm_target(request: web.Request, body: CancelRequest) -> Done:
    """Let the dangerous builds of a target run, once, that wait for a person to say so."""
    what = asked_target(request)
    return await _do(request, lambda user: Confirm(user, what, body.job))


async def approve_target(request: web.Request, body: ApproveRequest) -> Done:
    """Let a fork's pull request be tested at the commit that it is at."""
    commit = None if body.commit is None else CommitId(ObjectId(body.commit))
    what = asked_target(request)
    return await _do(request, lambda user: Approve(user, what, commit))


async def rebuild_build(request: web.Request, _: Nothing) -> Done:
    """Make the result of a build again."""
    what = asked_build(request)
    return await _do(request, lambda user: Rebuild(user, what))


async def cancel_build(request: web.Request, _: Nothing) -> Done:
    """Stop a build; it stays so until somebody rebuilds it."""
    what = asked_build(request)
    return await _do(request, lambda user: Cancel(user, what))


async def confirm_build(request: web.Request, _: Nothing) -> Done:
    """Let a dangerous build run, once."""
    what = asked_build(request)
    return await _do(request, lambda user: Confirm(user, what))


async def pause_project(request: web.Request, _: Nothing) -> Done:
    """Start nothing new in a project; what runs goes on."""
    project = asked_project(request)
    return await _do(request, lambda user: Pause(user, project))


async def resume_project(request: web.Request, _: Nothing) -> Done:
    """End the pause of a project."""
    project = asked_project(request)
    return await _do(request, lambda user: Resume(user, project))


ENDPOINTS: tuple[Endpoint, ...] = (
    acting(TARGET + "/rebuild", rebuild_target, Done, RebuildRequest),
    acting(TARGET + "/cancel", cancel_target, Done, CancelRequest),
    acting(TARGET + "/confirm", confirm_target, Done, CancelRequest),
    acting(TARGET + "/approve", approve_target, Done, ApproveRequest),
    acting(BUILD + "/rebuild", rebuild_build, Done, Nothing),
    acting(BUILD + "/cancel", cancel_build, Done, Nothing),
    acting(BUILD + "/confirm", confirm_build, Done, Nothing),
    acting(PROJECT + "/pause", pause_project, Done, Nothing, role=Role.ADMIN),
    acting(PROJECT + "/resume", resume_project, Done, Nothing, role=Role.ADMIN),
)
"""What can be done."""
