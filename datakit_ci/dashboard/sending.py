"""Contents as answers: streamed, in ranges, and such that no browser does anything with them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from aiohttp import web

from datakit_ci.archive import Objects
from datakit_ci.dashboard.source import finish
from datakit_core.client.api import BlobId

__all__ = ["FRAMED", "INERT", "Body", "disposition", "is_known", "send_blob", "send_pieces"]

INERT: Final = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)
"""For contents from strangers: no scripts, no forms, nothing from elsewhere, no origin of ours."""

FRAMED: Final[Mapping[str, str]] = {
    "Content-Security-Policy": INERT,
    "X-Frame-Options": "SAMEORIGIN",
    "X-Content-Type-Options": "nosniff",
}

_STALLED = 60.0
"""Seconds after which a client that does not read is cut off."""

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})\Z")


@dataclass(frozen=True, slots=True)
class Body:
    """A blob and how to present it.

    Attributes:
        blob: What is sent.
        size: Its bytes.
        content_type: For the header.
        saved_as: The name under which it is saved; none: it is shown.
    """

    blob: BlobId
    size: int
    content_type: str
    saved_as: str | None = None


def disposition(name: str) -> str:
    """The header Content-Disposition of a file to be saved (RFC 6266), whatever its name has."""
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", name) or "_"
    whole = quote(name.encode(errors="replace"), safe="")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{whole}"


def is_known(request: web.Request, tag: str) -> bool:
    """Whether who asks has the content already (If-None-Match)."""
    return any(each.value in (tag, "*") for each in request.if_none_match or ())


async def send_blob(request: web.Request, objects: Objects, body: Body) -> web.StreamResponse:
    """Send a blob, or the range of it that is asked for (RFC 9110, 14)."""
    headers = {
        **FRAMED,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Type": body.content_type,
        "ETag": f'"{body.blob}"',
    }
    if body.saved_as is not None:
        headers["Content-Disposition"] = disposition(body.saved_as)
    if is_known(request, body.blob):
        return web.Response(status=304, headers=headers)
    wanted = _wanted(request, body)
    if wanted is None:
        raise web.HTTPRequestRangeNotSatisfiable(
            headers={"Content-Range": f"bytes */{body.size}"},
            text=f"The file has {body.size} bytes; the range that you ask for begins after them.",
        )
    status = 200
    if len(wanted) != body.size:
        status = 206
        headers["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{body.size}"
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = len(wanted)
    pieces = objects.stream_blob(body.blob, wanted.start, len(wanted))
    return await send_pieces(request, response, pieces)


async def send_pieces(
    request: web.Request, response: web.StreamResponse, pieces: AsyncIterator[bytes]
) -> web.StreamResponse:
    """Send what comes; a client that does not take it is cut off."""
    try:
        await response.prepare(request)
        if request.method != "HEAD":
            async for piece in pieces:
                async with asyncio.timeout(_STALLED):
                    await response.write(piece)
        await response.write_eof()
    finally:
        await finish(pieces)
    return response


def _wanted(request: web.Request, body: Body) -> range | None:
    """The bytes that are asked for; none if there are no such. Several ranges are answered whole.

    What the client has of another version is of no use to it (If-Range).
    """
    whole = range(body.size)
    match = _RANGE.match(request.headers.get("Range", ""))
    if match is None or request.headers.get("If-Range", f'"{body.blob}"') != f'"{body.blob}"':
        return whole
    first, last = match.groups()
    if first:
        found = range(int(first), min(int(last or body.size) + 1, body.size))
        return found or (None if int(first) >= body.size else whole)
    if not last:
        return whole
    return range(max(0, body.size - int(last)), body.size) if int(last) else None
