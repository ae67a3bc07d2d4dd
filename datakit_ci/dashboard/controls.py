"""Acting: what people tell the engine through pages and the API, by one command model.

Beside :class:`~datakit_ci.dashboard.source.Source`, which only shows. Whoever may use an address is
decided before its handler runs (:mod:`datakit_ci.dashboard.routes`); here the name of who asks
becomes part of the command, and so of the commit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from aiohttp import web

from datakit_ci.control import Command
from datakit_ci.dashboard.visitor import visitor_of
from datakit_core.errors import ConfigError, Disconnected, InvalidArgument, NoEntry

__all__ = ["CONTROLS", "Controls", "carry_out"]


class Controls(Protocol):
    """The engine's side for acting."""

    async def control(self, command: Command) -> str:
        """Do what a person says; returns what was done, for people.

        Raises:
            NoEntry: There is no such project, target or job, or nobody wants the build.
            InvalidArgument: There is nothing to do.
        """
        ...


CONTROLS: Final[web.AppKey[Controls]] = web.AppKey("controls")
"""Who takes commands; absent where the dashboard only shows."""

_NOBODY = "somebody at the dashboard"
"""The user in commits where everybody may act and has no name."""


async def carry_out(request: web.Request, make: Callable[[str], Command]) -> str:
    """Have a command carried out in the name of whoever asks.

    Args:
        request: What asks for it.
        make: Makes the command, given the user.

    Raises:
        HTTPBadRequest: The command makes no sense.
        HTTPNotFound: What it is about is not there, or nothing can be done here at all.
        HTTPConflict: There is nothing to do.
        HTTPServiceUnavailable: The database is away.
    """
    controls = request.app.get(CONTROLS)
    if controls is None:
        raise web.HTTPNotFound(text="This dashboard only shows; nothing can be done here.")
    try:
        command = make(visitor_of(request).user or _NOBODY)
    except (InvalidArgument, ConfigError) as error:
        raise web.HTTPBadRequest(text=str(error)) from error
    try:
        return await controls.control(command)
    except NoEntry as error:
        raise web.HTTPNotFound(text=str(error)) from error
    except InvalidArgument as error:
        raise web.HTTPConflict(text=str(error)) from error
    except Disconnected as error:
        raise web.HTTPServiceUnavailable(
            headers={"Retry-After": "5"}, text="The database is away; try again in a while."
        ) from error
