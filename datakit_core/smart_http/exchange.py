"""One request on its way through Git, and the answer on its way back; and what that may use."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from datakit_core.smart_http.backend import Backend, BadAnswer, Call, Head

__all__ = ["Exchange", "Limits", "too_large"]

_log = logging.getLogger(__name__)

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


class Exchange:
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
            return self.cut(too_large(self._limits))
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


def too_large(limits: Limits) -> web.HTTPException:
    """The error for a request that has more bytes than it may."""
    return web.HTTPRequestEntityTooLarge(
        limits.body, limits.body, text=f"a request may have {limits.body} bytes\n"
    )
