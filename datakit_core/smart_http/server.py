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
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from datakit_core.errors import ConfigError
from datakit_core.smart_http.address import FLAG, HttpAddress, Token
from datakit_core.smart_http.backend import Backend, BadAnswer, Call, Head
from datakit_core.tls import anonymous_context

__all__ = ["Limits", "serve_http"]

_log = logging.getLogger(__name__)

_READ, _WRITE = "git-upload-pack", "git-receive-pack"
_SHUTDOWN = 2.0
"""Seconds that requests under way get when the server stops."""

_PASSED_ON = {"content-type", "cache-control", "expires", "pragma"}


@dataclass(frozen=True, slots=True)
class Limits:
    """What requests may use.

    Attributes:
        body: Bytes of a request, unpacked.
        seconds: From its beginning to the end of the answer.
        at_once: Requests for which Git runs; further ones are asked to come again.
    """

    body: int = 1 << 30
    seconds: float = 600.0
    at_once: int = 16


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
            raise _too_large(self._limits)
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
        if not _is_for_us(request.host, self._address.host):
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
        exchange = _Exchange(request, self._limits)
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await exchange.run(self._repository, call, any_id=self._address.any_id)
        except TimeoutError:
            _log.warning("%s %s took over %g s", call.method, call.path, self._limits.seconds)
            return exchange.cut(web.HTTPGatewayTimeout(text="it took too long\n"))
        finally:
            self._running -= 1


class _Exchange:
    """One request on its way through Git, and the answer on its way back."""

    def __init__(self, request: web.Request, limits: Limits) -> None:
        self._request = request
        self._limits = limits
        self._begun: web.StreamResponse | None = None
        self._read = 0

    async def run(self, repository: Path, call: Call, *, any_id: bool) -> web.StreamResponse:
        """Answer; what ends this also ends Git."""
        longest = self._limits.body
        async with (
            Backend.run(repository, call, any_id=any_id, longest=longest) as backend,
            asyncio.TaskGroup() as tasks,
        ):
            feeding = tasks.create_task(self._feed(backend))
            answer = await self._relay(backend)
            feeding.cancel()
        return answer

    def cut(self, error: web.HTTPException) -> web.StreamResponse:
        """What to answer when it goes wrong: ``error``, or half an answer if that is out."""
        if self._begun is None:
            answer = web.Response(status=error.status, text=error.text)
            answer.force_close()  # nobody reads the rest of the body
            return answer
        if self._request.transport is not None:
            self._request.transport.abort()  # so that it does not look whole
        return self._begun

    async def _feed(self, backend: Backend) -> None:
        try:
            await backend.feed(self._pieces(backend))
        except (ConnectionError, web.RequestPayloadError, HttpProcessingError) as error:
            _log.debug("a request broke off: %s", error)
            backend.stop()

    async def _pieces(self, backend: Backend) -> AsyncIterator[bytes]:
        async for piece in self._request.content.iter_any():
            self._read += len(piece)
            if self._read > self._limits.body:
                backend.stop()
                return
            yield piece

    async def _relay(self, backend: Backend) -> web.StreamResponse:
        pieces = backend.pieces()
        head, first = Head(HTTPStatus.BAD_GATEWAY, {}), b""
        with suppress(BadAnswer):
            head = await backend.head()
            # Git says that all is well before it looks at the request; so wait for what follows.
            first = await anext(pieces, b"")
        if self._read > self._limits.body:  # whatever Git says of being stopped
            return self.cut(_too_large(self._limits))
        if not first and not await backend.succeeded():
            return self.cut(web.HTTPBadGateway(text="Git gave no answer\n"))
        headers = {name: value for name, value in head.headers.items() if name in _PASSED_ON}
        self._begun = answer = web.StreamResponse(status=head.status, headers=headers)
        try:
            await answer.prepare(self._request)
            await answer.write(first)
            async for piece in pieces:
                await answer.write(piece)
        except ConnectionError:  # the client has gone
            return answer
        if head.status == HTTPStatus.OK and not await backend.succeeded():
            return self.cut(web.HTTPBadGateway())
        await answer.write_eof()
        return answer


def _too_large(limits: Limits) -> web.HTTPException:
    return web.HTTPRequestEntityTooLarge(
        limits.body, limits.body, text=f"a request may have {limits.body} bytes\n"
    )


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "datakit"
    response.headers["X-Content-Type-Options"] = "nosniff"


def _is_for_us(asked: str, host: str) -> bool:
    """Whether a request names this server, if only this machine can reach it.

    A page in somebody's browser may have a name that it lets point to 127.0.0.1; what it reads
    would otherwise leave the machine (DNS rebinding).
    """
    if not _is_loopback(host):
        return True
    name = asked.rpartition(":")[0] if not asked.endswith("]") and ":" in asked else asked
    return _is_loopback(name.strip("[]"))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
