"""``/metrics`` for Prometheus on the dashboard's own address, for who has a token for that.

The token is no API token: its only use is to read these figures. The service is given its digest,
so that neither a command line nor a file of the service holds what opens the door.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from datakit_ci.dashboard.routes import Route, public

__all__ = ["ROUTES", "Meters", "serve_meters"]

_ADDRESS: Final = "/metrics"


@dataclass(frozen=True, slots=True)
class Meters:
    """The figures, and who may read them.

    Attributes:
        digest: SHA-256 of the token, in hex.
        show: The figures, in Prometheus' text format.
    """

    digest: str
    show: Callable[[], bytes]

    def is_open_to(self, authorization: str) -> bool:
        """Whether a header has the token; takes as long for every wrong one."""
        scheme, _, token = authorization.strip().partition(" ")
        given = hashlib.sha256(token.strip().encode(errors="surrogateescape")).hexdigest()
        return scheme.lower() == "bearer" and hmac.compare_digest(given, self.digest.lower())


def serve_meters(app: web.Application, meters: Meters) -> None:
    """Let ``app`` answer ``/metrics``; before its gate, which knows API tokens only."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.rel_url.raw_path != _ADDRESS or request.method not in ("GET", "HEAD"):
            return await handler(request)
        if not meters.is_open_to(request.headers.get("Authorization", "")):
            raise web.HTTPUnauthorized(
                text="Give the token for metrics.",
                headers={"WWW-Authenticate": 'Bearer realm="metrics"'},
            )
        return web.Response(
            body=meters.show(),
            headers={
                "Content-Type": "text/plain; version=0.0.4; charset=utf-8",
                "Cache-Control": "no-store",
            },
        )

    app.middlewares.append(answer)


async def _say_that_there_are_none(_: web.Request) -> web.StreamResponse:
    raise web.HTTPNotFound(text="No metrics here: start the service with --metrics-token-hash.")


ROUTES: Final[tuple[Route, ...]] = (public(_ADDRESS, _say_that_there_are_none),)
"""Where there are no figures, the address says how to have them."""
