"""One address of the API: what it takes, what it gives, and so the route and its description."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import unquote_to_bytes

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import BaseModel, ValidationError

from datakit_ci.acl import Role
from datakit_ci.dashboard.api.addresses import PREFIX
from datakit_ci.dashboard.api.models import Nothing
from datakit_ci.dashboard.routes import Route

__all__ = ["PATTERNS", "Endpoint", "acting", "reading", "segment", "streaming"]

_Query = TypeVar("_Query", bound=BaseModel)

PATTERNS: Final[Mapping[str, str]] = {
    "user": "[A-Za-z0-9._-]+",
    "repo": "[A-Za-z0-9._-]+",
    "kind": "heads|tags|pr",
    "static": "[0-9a-f]{64}",
    "key": "[0-9a-f]{64}",
    "which": "input|output|reports",
}
"""What parts of addresses look like. Others are any text in one segment: a slash is ``%2F``."""

_PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one address.

    Attributes:
        method: In capitals.
        path: Below ``/api/v1``, with ``{NAME}`` for what :data:`PATTERNS` knows or any text.
        handler: What answers.
        role: What one has to be, as :class:`Route` has it.
        name: Its own, for programs that are made from the description.
        summary: One line on what it does.
        query: The parameters that it takes.
        body: What it is sent; none: nothing.
        answer: The model of its answer; none for one of ``media_type``.
        media_type: Of the answer.
        statuses: Further statuses that it may answer with, and what they mean.
        head: Whether HEAD is answered as well.
    """

    method: str
    path: str
    handler: Handler
    role: Role
    name: str
    summary: str
    query: type[BaseModel] = Nothing
    body: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None
    media_type: str = "application/json"
    statuses: Mapping[int, str] = field(default_factory=dict)
    head: bool = True

    @property
    def route(self) -> Route:
        """For the table of addresses."""
        return Route(self.method, PREFIX + self.pattern, self.handler, self.role, self.head)

    @property
    def pattern(self) -> str:
        """The path as aiohttp writes it."""
        return _PLACE.sub(
            lambda found: (
                f"{{{found[1]}:{PATTERNS[found[1]]}}}" if found[1] in PATTERNS else found[0]
            ),
            self.path,
        )

    @property
    def parameters(self) -> list[str]:
        """The names of the parts of the path that vary."""
        return _PLACE.findall(self.path)


def reading(
    path: str,
    handle: Callable[[web.Request, _Query], Awaitable[BaseModel]],
    answer: type[BaseModel],
    query: type[_Query],
    *,
    role: Role = Role.READ,
) -> Endpoint:
    """A GET that answers with a model; the first line of the handler's docstring describes it."""

    async def handler(request: web.Request) -> web.StreamResponse:
        return _answer(request, await handle(request, parse_query(request, query)))

    return Endpoint(
        "GET", path, handler, role, handle.__name__, _summary(handle), query, answer=answer
    )


def acting(
    path: str,
    handle: Callable[[web.Request, _Query], Awaitable[BaseModel]],
    answer: type[BaseModel],
    body: type[_Query],
    *,
    role: Role = Role.BUILD,
) -> Endpoint:
    """A POST that carries something out; its body is JSON, or empty for all the defaults."""

    async def handler(request: web.Request) -> web.StreamResponse:
        parse_query(request, Nothing)
        return _json(await handle(request, await parse_body(request, body)))

    conflict = {
        409: "There is nothing to do: it is done already, not under way, or waits for nobody.",
        413: "The body is too large.",
        415: "The body is not `application/json`.",
    }
    return Endpoint(
        "POST",
        path,
        handler,
        role,
        handle.__name__,
        _summary(handle),
        Nothing,
        body,
        answer,
        statuses=conflict,
    )


def streaming(
    path: str,
    handle: Callable[[web.Request, _Query], Awaitable[web.StreamResponse]],
    media_type: str,
    query: type[_Query],
    *,
    statuses: Mapping[int, str] | None = None,
    role: Role = Role.READ,
    head: bool = False,
) -> Endpoint:
    """A GET that answers with bytes or events."""

    async def handler(request: web.Request) -> web.StreamResponse:
        return await handle(request, parse_query(request, query))

    return Endpoint(
        "GET",
        path,
        handler,
        role,
        handle.__name__,
        _summary(handle),
        query,
        media_type=media_type,
        statuses=statuses or {},
        head=head,
    )


def segment(request: web.Request, name: str) -> str:
    """A part of the address, byte for byte: names need not be UTF-8 and may hold slashes."""
    resource = request.match_info.route.resource
    assert resource is not None, "it has matched"
    index = resource.canonical.split("/").index(f"{{{name}}}")
    raw = request.rel_url.raw_path.split("/")[index]
    return unquote_to_bytes(raw).decode(errors="surrogateescape")


def parse_query(request: web.Request, model: type[_Query]) -> _Query:
    """The parameters of a request; raises ``HTTPBadRequest``."""
    if len(request.query) != len(set(request.query)):
        raise web.HTTPBadRequest(text="A parameter is given twice.")
    values = dict(request.query)
    values.pop("at", None)  # whoever finds the state has seen to it
    return _checked(model, values, "parameter")


async def parse_body(request: web.Request, model: type[_Query]) -> _Query:
    """The body of a request; raises ``HTTPBadRequest`` or ``HTTPUnsupportedMediaType``."""
    content = await request.read()
    if not content:
        return _checked(model, {}, "field")
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="Send JSON, as Content-Type: application/json.")
    try:
        return _checked(model, json.loads(content), "field")
    except (ValueError, RecursionError) as error:
        raise web.HTTPBadRequest(text="The body is not JSON in UTF-8.") from error


def _checked(model: type[_Query], values: Any, what: str) -> _Query:
    try:
        return model.model_validate(values, strict=what == "field")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        place = f"{what} {name}: " if name else "body: "
        raise web.HTTPBadRequest(
            text=f"{place}{first['msg']}".encode(errors="replace").decode()
        ) from error


def _answer(request: web.Request, model: BaseModel) -> web.Response:
    """A model with its ETag; nothing if the client has it already (RFC 9110, 13.1.2)."""
    response = _json(model)
    assert isinstance(response.body, bytes)
    etag = hashlib.sha256(response.body).hexdigest()[:32]
    response.headers["ETag"] = f'"{etag}"'
    if any(tag.value in (etag, "*") for tag in request.if_none_match or ()):
        return web.Response(
            status=304, headers={"ETag": f'"{etag}"', "Cache-Control": "private, no-cache"}
        )
    return response


def _json(model: BaseModel) -> web.Response:
    return web.Response(
        body=model.model_dump_json().encode() + b"\n",
        headers={"Content-Type": "application/json", "Cache-Control": "private, no-cache"},
    )


def _summary(handle: Callable[..., object]) -> str:
    return (handle.__doc__ or "").strip().splitlines()[0].rstrip(".")
