"""Forms: rebuild, cancel, confirm, approve, pause and resume, for browsers without scripts too.

Each answers with a redirect (303) to the page that it was on, which says what came of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import unquote_to_bytes

from aiohttp import web

from datakit_ci.acl import Role
from datakit_ci.control import Approve, Cancel, Command, Confirm, Pause, Rebuild, Resume
from datakit_ci.dashboard.controls import carry_out
from datakit_ci.dashboard.flash import say
from datakit_ci.dashboard.found import BUILD
from datakit_ci.dashboard.rendering import path_of
from datakit_ci.dashboard.routes import Route, act
from datakit_ci.state import BuildId
from datakit_ci.target import Target
from datakit_core.client.api import CommitId
from datakit_core.errors import ConfigError, InvalidHash
from datakit_core.store.objects import parse_id

__all__ = ["ROUTES"]

_TOLD = frozenset((404, 409, 503))
"""Answers that the page tells: it has not been done, and somebody may try again."""


async def act_on_build(request: web.Request) -> web.Response:
    """Carry out a form about a build."""
    build = BuildId.parse(_named(request).removeprefix("build/"))
    if build is None:
        raise web.HTTPNotFound
    return await _do(request, lambda user: _about(request, user, build, {}), "build", build.path)


async def act_on_target(request: web.Request) -> web.Response:
    """Carry out a form about a target."""
    try:
        target = Target.named(_named(request))
    except ConfigError as error:
        raise web.HTTPNotFound from error
    fields = {
        name: value for name, value in (await request.post()).items() if isinstance(value, str)
    }
    return await _do(request, lambda user: _about(request, user, target, fields), target.path)


async def act_on_project(request: web.Request) -> web.Response:
    """Pause or resume a project."""
    project = _named(request)
    kind = Pause if request.match_info["verb"] == "pause" else Resume
    return await _do(request, lambda user: kind(user, project), project)


def _named(request: web.Request) -> str:
    """What an address is about, byte for byte: all of it but the verb at its end."""
    raw = request.rel_url.raw_path.rpartition("/")[0]
    return unquote_to_bytes(raw).decode(errors="surrogateescape").removeprefix("/")


def _about(
    request: web.Request, user: str, what: Target | BuildId, fields: dict[str, str]
) -> Command:
    """The command that a form says; raises ``ConfigError`` or ``InvalidArgument``."""
    job = fields.get("job", "")
    match request.match_info["verb"], what:
        case "rebuild", _:
            return Rebuild(user, what, job, only_failed=fields.get("only_failed") == "yes")
        case "cancel", _:
            return Cancel(user, what, job)
        case "confirm", _:
            return Confirm(user, what, job)
        case "approve", Target():
            return Approve(user, what, _commit(fields))
        case _:
            raise web.HTTPNotFound


def _commit(fields: dict[str, str]) -> CommitId:
    """What was on the page: nobody approves what they have not seen."""
    try:
        return CommitId(parse_id(fields.get("commit", "")))
    except InvalidHash as error:
        raise ConfigError("the form does not say which commit is approved") from error


async def _do(request: web.Request, make: Callable[[str], Command], *page: str) -> web.Response:
    """Carry out what a form says, and go back to its page."""
    response = web.Response(status=303, headers={"Location": path_of(*page)})
    try:
        text = await carry_out(request, make)
    except web.HTTPException as error:
        if error.status not in _TOLD or error.text is None:
            raise
        say(response, f"Not done: {error.text}", done=False)
    else:
        say(response, f"{text[:1].upper()}{text[1:]}.", done=True)
    return response


_VERB = "{verb:rebuild|cancel|confirm}"
_TARGET_VERB = "{verb:rebuild|cancel|confirm|approve}"

ROUTES: Final[tuple[Route, ...]] = (
    act(f"{BUILD}/{_VERB}", act_on_build),
    act(f"/{{user}}/{{repo}}/pr/{{name:[0-9]+}}/{_TARGET_VERB}", act_on_target),
    act(f"/{{user}}/{{repo}}/ref/{{kind:heads|tags}}/{{name:.+}}/{_VERB}", act_on_target),
    act("/{user}/{repo}/{verb:pause|resume}", act_on_project, Role.ADMIN),
)
"""The addresses that forms are sent to: those of what they are about, and a verb."""
