"""A sentence for the next page: what came of a form, across the redirect that answers it.

It travels in a cookie that lives for a minute, and is taken by the first page that somebody opens;
a script that fetches a page again leaves it alone (Fetch Metadata, ``Sec-Fetch-Mode``).
"""

from __future__ import annotations

import base64
import json
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

__all__ = ["Said", "carry_sentence", "said", "say"]

_COOKIE = "datakit-said"
_SECONDS = 60
_LONGEST = 1_000


@dataclass(slots=True)
class Said:
    """What came of it.

    Attributes:
        text: For people.
        done: Whether it was done.
        taken: Whether a page shows it.
    """

    text: str
    done: bool
    taken: bool = False


_SAID: Final[ContextVar[Said | None]] = ContextVar("said", default=None)


def say(response: web.Response, text: str, *, done: bool) -> None:
    """Have the next page say ``text``."""
    raw = json.dumps([text[:_LONGEST], done]).encode()
    response.set_cookie(
        _COOKIE,
        base64.urlsafe_b64encode(raw).decode(),
        max_age=_SECONDS,
        httponly=True,
        samesite="Lax",
        path="/",
    )


def said() -> Said | None:
    """What there is to say on the page that is being made; templates ask, once."""
    found = _SAID.get()
    if found is not None:
        found.taken = True
    return found


@web.middleware
async def carry_sentence(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give pages what the one before has left for them."""
    raw = request.cookies.get(_COOKIE)
    if raw is None or request.headers.get("Sec-Fetch-Mode", "navigate") != "navigate":
        return await handler(request)
    sentence = _parse(raw)
    token = _SAID.set(sentence)
    try:
        response = await handler(request)
    finally:
        _SAID.reset(token)
    if not response.prepared and (sentence is None or sentence.taken):
        response.del_cookie(_COOKIE, path="/")
    return response


def _parse(raw: str) -> Said | None:
    try:
        match json.loads(base64.b64decode(raw, altchars=b"-_", validate=True)):
            case [str(text), bool(done)]:
                return Said(text[:_LONGEST], done)
            case _:
                return None
    except (ValueError, RecursionError):
        return None
