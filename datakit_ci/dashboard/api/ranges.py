"""Which bytes a request asks for (RFC 9110, section 14)."""

from __future__ import annotations

import re

from aiohttp import web

__all__ = ["byte_range", "range_headers"]

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """The first byte that is asked for and the one after the last; none: send everything.

    A header that makes no sense, or asks for several ranges, is as if it were not there.

    Args:
        header: The value of ``Range``.
        size: How many bytes there are.

    Raises:
        HTTPRequestRangeNotSatisfiable: No byte of it is there.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    if start >= size or start >= end:
        raise web.HTTPRequestRangeNotSatisfiable(
            headers={"Content-Range": f"bytes */{size}"}, text=f"There are {size} bytes."
        )
    return start, end


def range_headers(wanted: tuple[int, int] | None, size: int) -> dict[str, str]:
    """The headers of an answer with ``wanted`` bytes of ``size``; none: with all of them."""
    start, end = wanted or (0, size)
    headers = {"Accept-Ranges": "bytes", "Content-Length": str(end - start)}
    if wanted is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return headers
