"""Posting messages over HTTP, and how they name things."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from urllib.parse import quote

import aiohttp

from datakit_ci.bridges.courier import Outcome
from datakit_ci.target import Target

__all__ = ["page_of", "plain", "post"]

_log = logging.getLogger(__name__)


async def post(
    session: aiohttp.ClientSession, url: str, body: bytes, headers: Mapping[str, str], title: str
) -> Outcome:
    """Send ``body`` to ``url``, following no redirect.

    Of what goes wrong only the kind is logged, since the address may be a secret.

    Args:
        session: Bounds the time that it may take.
        url: Where.
        body: What.
        headers: Besides those that HTTP demands.
        title: Names the recipient in the log.
    """
    try:
        async with session.post(url, data=body, headers=headers, allow_redirects=False) as reply:
            return _judged(reply.status, title)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        _log.info("%s is away: %s", title, type(error).__name__)
        return Outcome.AWAY


def _judged(status: int, title: str) -> Outcome:
    """What a status means (Standard Webhooks: 2xx is success, 410 ends it)."""
    match status:
        case 410:
            return Outcome.GONE
        case 408 | 425 | 429:
            return Outcome.AWAY
        case _ if 200 <= status < 300:
            return Outcome.TAKEN
        case _:
            _log.info("%s answered with status %d", title, status)
            return Outcome.REFUSED if 300 <= status < 500 else Outcome.AWAY


def page_of(base_url: str, target: Target) -> str:
    """The address of a target's page."""
    return f"{base_url}/{quote(target.path.encode(errors='surrogateescape'), safe='/')}"


def plain(raw: str) -> str:
    """Text that can be encoded: what was no UTF-8 is replaced."""
    return raw.encode(errors="surrogateescape").decode(errors="replace")
