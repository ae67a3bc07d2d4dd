"""What forms say: text, of bounded length."""

from __future__ import annotations

from aiohttp import web

__all__ = ["field"]

_LONGEST = 2_000


async def field(request: web.Request, name: str, *, strip: bool = True) -> str:
    """A field of the form that was sent; empty if it is not there.

    Raises:
        HTTPBadRequest: It is a file, or longer than any text that a form of ours asks for.
    """
    value = (await request.post()).get(name, "")
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise web.HTTPBadRequest(text=f"The field {name} is not one that this form has.")
    return value.strip() if strip else value
