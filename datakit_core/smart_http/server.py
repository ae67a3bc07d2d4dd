"""Git over HTTP: which requests there are, who may make them, and how much they may use.

There are three paths (gitprotocol-http(5)), and none of them leads into the file system. A push
needs the token; everything else is open to whoever can connect, which is this machine alone
unless the address says otherwise.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from aiohttp import web

from datakit_core.errors import ConfigError
from datakit_core.smart_http.address import FLAG, HttpAddress, Token
from datakit_core.smart_http.backend import Call
from datakit_core.smart_http.exchange import Exchange, Limits, too_large
from datakit_core.smart_http.hosts import is_for_us
from datakit_core.tls import anonymous_context

__all__ = ["serve_http"]

_log = logging.getLogger(__name__)

_READ, _WRITE = "git-upload-pack", "git-receive-pack"
_SHUTDOWN = 2.0
"""Seconds that requests under way get when the server stops."""


@asynccontextmanager
async def serve_http(
    repository: Path, address: HttpAddress, limits: Limits | None = None
) -> AsyncIterator[HttpAddress]:
    """Serve a repository until the context is left.

    Args:
        repository: A bare repository.
        address: Where, and to whom.
        limits: What requests may use.

    Yields:
        The address, with the port that the system has chosen if it was 0.

    Raises:
        ConfigError: The address cannot be had, or a file that it names cannot be used.
    """
    token = None if address.token is None else Token.read(address.token)
    tls = None if address.cert is None else anonymous_context(address.cert, address.key)
    with _bind(address) as listener:
        bound = replace(address, port=listener.getsockname()[1])
        app = web.Application()
        _Handlers(repository, bound, token, limits or Limits()).add_to(app)
        runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN
        )
        await runner.setup()
        try:
            await web.SockSite(runner, listener, ssl_context=tls).start()
            access = "read-only" if token is None else "pushes need the token"
            _log.info("serving Git on %s, %s", bound, access)
            yield bound
        finally:
            await runner.cleanup()


def _bind(address: HttpAddress) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {address}: {error.strerror or error}; "
            "stop what uses it, or choose another address",
            FLAG,
        ) from error


class _Handlers:
    """Answers requests for one repository."""

    def __init__(
        self, repository: Path, address: HttpAddress, token: Token | None, limits: Limits
    ) -> None:
        self._repository = repository
        self._address = address
        self._token = token
        self._limits = limits
        self._running = 0

    def add_to(self, app: web.Application) -> None:
        """Let ``app`` know Git's three paths."""
        path = self._address.path
        app.router.add_get(f"{path}/info/refs", self._refs, allow_head=False)
        app.router.add_post(f"{path}/{_READ}", self._transfer)
        app.router.add_post(f"{path}/{_WRITE}", self._transfer)
        app.on_response_prepare.append(_add_headers)

    async def _refs(self, request: web.Request) -> web.StreamResponse:
        service = request.query.get("service", "")
        if service not in (_READ, _WRITE) or len(request.query) != 1:
            raise web.HTTPForbidden(text="only Git's smart protocol is spoken here; update Git\n")
        self._check(request, service)
        call = Call("GET", "/info/refs", f"service={service}", pushing=service == _WRITE)
        return await self._answer(request, call)

    async def _transfer(self, request: web.Request) -> web.StreamResponse:
        service = request.path.rpartition("/")[2]
        self._check(request, service)
        if request.content_type != f"application/x-{service}-request":
            raise web.HTTPUnsupportedMediaType
        if (request.content_length or 0) > self._limits.body:
            raise too_large(self._limits)
        packed = "Content-Encoding" in request.headers  # aiohttp unpacks it
        call = Call(
            "POST",
            f"/{service}",
            content_type=request.content_type,
            length=None if packed else request.content_length,
            pushing=service == _WRITE,
        )
        return await self._answer(request, call)

    def _check(self, request: web.Request, service: str) -> None:
        """Refuse who may not ask for ``service``, before Git is started."""
        if not is_for_us(request.host, self._address.host):
            raise web.HTTPMisdirectedRequest(text=f"this is not {request.host}\n")
        if service == _READ:
            return
        if self._token is None:
            raise web.HTTPForbidden(text="this address is read-only\n")
        if not self._token.is_in(request.headers.get("Authorization", "")):
            raise web.HTTPUnauthorized(
                headers={"WWW-Authenticate": 'Basic realm="DataKit", charset="UTF-8"'},
                text="give the token as the password, with any user\n",
            )

    async def _answer(self, request: web.Request, call: Call) -> web.StreamResponse:
        if self._address.any_id:
            # Later versions of the protocol let a client ask for any id, whatever Git's settings.
            call = replace(call, protocol=request.headers.get("Git-Protocol", "")[:256])
        if self._running >= self._limits.at_once:
            raise web.HTTPServiceUnavailable(
                headers={"Retry-After": "1"}, text="too many requests at once; try again\n"
            )
        self._running += 1
        exchange = Exchange(request, self._limits)
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await exchange.run(self._repository, call, any_id=self._address.any_id)
        except TimeoutError:
            _log.warning("%s %s took over %g s", call.method, call.path, self._limits.seconds)
            return exchange.cut(web.HTTPGatewayTimeout(text="it took too long\n"))
        finally:
            self._running -= 1


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "datakit"
    response.headers["X-Content-Type-Options"] = "nosniff"
