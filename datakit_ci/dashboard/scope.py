"""What a request is about: the state that whoever asks may see, as of the moment they ask for."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from datakit_ci.dashboard.narrowed import Narrowed
from datakit_ci.dashboard.source import Source
from datakit_ci.dashboard.visitor import visitor_of

__all__ = ["MOMENT", "SOURCE", "source_of"]

SOURCE: Final[web.AppKey[Source]] = web.AppKey("source")
"""Everything there is, now; handlers ask :func:`source_of`."""

MOMENT: Final[web.RequestKey[Source]] = web.RequestKey("moment")
"""Everything there was at the moment that a request asks about; absent: it is about now."""


def source_of(request: web.Request) -> Source:
    """What a handler shows from: nothing else of the engine is within its reach."""
    return Narrowed(_everything(request), visitor_of(request).reads)


def _everything(request: web.Request) -> Source:
    return request[MOMENT] if MOMENT in request else request.app[SOURCE]
