"""What a request is about: the state that whoever asks may see, as of the moment they ask for."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from datakit_ci.dashboard.narrowed import Narrowed
from datakit_ci.dashboard.source import Source
from datakit_ci.dashboard.visitor import visitor_of

__all__ = ["SOURCE", "source_of"]

SOURCE: Final[web.AppKey[Source]] = web.AppKey("source")
"""Everything there is, now; handlers ask :func:`source_of`."""


def source_of(request: web.Request) -> Source:
    """What a handler shows from: nothing else of the engine is within its reach."""
    return Narrowed(request.app[SOURCE], visitor_of(request).reads)
