"""Lists in parts: a cursor says after which item to go on, so that nothing is told twice."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from aiohttp import web
from pydantic import Field

from datakit_ci.dashboard.api.models import Record

__all__ = ["Part", "cut", "decode_cursor", "encode_cursor"]

_MOST = 500

_Item = TypeVar("_Item")


class Part(Record):
    """Which part of a list."""

    limit: int = Field(100, ge=1, le=_MOST, description="Items at most.")
    cursor: str = Field(
        "", max_length=4096, description="`next` of the part before; none: the first."
    )


def cut(
    items: Iterable[_Item], part: Part, key: Callable[[_Item], Sequence[str]]
) -> tuple[list[_Item], str | None]:
    """The items of a part, and the cursor of the next one.

    Args:
        items: All of them, in the order of ``key``.
        part: Which.
        key: Tells them apart and orders them; a cursor is a key, so an item that has gone
            meanwhile does no harm.

    Raises:
        HTTPBadRequest: The cursor is none of ours.
    """
    after = decode_cursor(part.cursor) if part.cursor else None
    found: list[_Item] = []
    for item in items:
        if after is not None and tuple(key(item)) <= after:
            continue
        if len(found) == part.limit:
            return found, encode_cursor(key(found[-1]))
        found.append(item)
    return found, None


def encode_cursor(key: Sequence[str]) -> str:
    """A key as text that is opaque to clients, so that it may become another."""
    return base64.urlsafe_b64encode(json.dumps(list(key)).encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[str, ...]:
    """Read :func:`encode_cursor`; raises ``HTTPBadRequest``."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        match json.loads(raw):
            case [*parts] if all(isinstance(part, str) for part in parts):
                return tuple(parts)
            case _:
                pass
    except (ValueError, binascii.Error, RecursionError):
        pass
    raise web.HTTPBadRequest(text="parameter cursor: it is not one that this server has given")
