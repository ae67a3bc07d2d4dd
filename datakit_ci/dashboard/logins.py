"""Passwords: who has which, tried a few at a time and not too often."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from typing import Final

from aiohttp import web

from datakit_ci.accounts import AccountBook
from datakit_ci.dashboard.attempts import Attempts, Limit, network_of
from datakit_ci.passwords import verify_password

__all__ = ["LOGINS", "Logins"]

_LOG = logging.getLogger(__name__)

_AT_ONCE = 2
"""Passwords that are tried at a time: each takes 64 MiB and a processor."""

_WAITING = 50
"""Log-ins that wait for that; a further one is turned away."""

_BY_PAIR = Limit(5, 300.0)
_BY_ADDRESS = Limit(30, 300.0)
_BY_USER = Limit(100, 3_600.0)
"""Many addresses may try one user; then that user waits as well, but neither by a few attempts, nor
where they have logged in before."""

_MOST_KNOWN = 10_000
"""Places that are remembered from which somebody has logged in."""


class _Busy(web.HTTPTooManyRequests):
    """Not now."""

    def __init__(self, seconds: float) -> None:
        wait = max(1, ceil(seconds))
        super().__init__(
            text=f"Too many attempts. Try again in {_in_words(wait)}.",
            headers={"Retry-After": str(wait)},
        )


def _without_port(address: str) -> str:
    """``[2001:db8::1]:80`` and ``192.0.2.1:80`` are hosts with a port, which some proxies tell."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    host, _, port = address.rpartition(":")
    return host if ":" not in host and port.isdecimal() and host else address


def _in_words(seconds: int) -> str:
    return f"{seconds} seconds" if seconds < 120 else f"{ceil(seconds / 60)} minutes"


@dataclass(slots=True)
class Logins:
    """Checks passwords, a few at a time and not too often.

    Attributes:
        book: Who has an account here; none: nobody can.
        clock: Seconds, for :class:`Attempts`.
        setup: What the set-up link carries; empty: there is none.
        is_behind_proxy: Whether a proxy on this machine says who connects (``X-Forwarded-For``).
    """

    book: AccountBook | None
    clock: Callable[[], float]
    setup: str = ""
    is_behind_proxy: bool = False
    attempts: Attempts = field(init=False)
    _known: OrderedDict[str, None] = field(init=False, default_factory=OrderedDict, repr=False)
    _turn: asyncio.Semaphore = field(init=False)
    _waiting: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        """Start to count."""
        self.attempts = Attempts(self.clock)
        self._turn = asyncio.Semaphore(_AT_ONCE)

    @property
    def needs_setup(self) -> bool:
        """Whether nobody may do everything yet, and the link is good."""
        return bool(self.setup) and self.book is not None and not self.book.has_admin

    def address_of(self, request: web.Request) -> str:
        """Who connects, as far as it can be told."""
        remote = request.remote or ""
        if self.is_behind_proxy and remote in ("127.0.0.1", "::1", ""):
            # The proxy's word is the last one: those before are the client's own. Some proxies add
            # a header of their own to the one that came, others go on with that.
            told = ",".join(request.headers.getall("X-Forwarded-For", ())).rpartition(",")[2]
            remote = _without_port(told.strip()) or remote
        return network_of(remote)

    async def is_right(self, name: str, password: str, address: str) -> bool:
        """Whether this is the password of an account; takes as long if there is no such account.

        Raises:
            HTTPTooManyRequests: It was tried too often.
        """
        pair = f"pair {address} {name}"
        limits = [(pair, _BY_PAIR), (f"from {address}", _BY_ADDRESS)]
        if pair not in self._known:
            limits.append((f"user {name}", _BY_USER))
        if (wait := self.attempts.take(limits)) > 0:
            _LOG.warning("too many attempts to log in as %r from %s", name, address)
            raise _Busy(wait)
        hashed = None if self.book is None else self.book.password_hash(name)
        if not await self.slowly(verify_password, hashed, password):
            _LOG.warning("wrong password for %r from %s", name, address)
            return False
        self.attempts.give_back(limits)
        self._known[pair] = None
        self._known.move_to_end(pair)
        while len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return True

    async def make_first(self, name: str, password: str) -> None:
        """Make the account of the first administrator.

        Raises:
            ConfigError: The name or the password will not do, or there is an administrator.
            HTTPTooManyRequests: Not now.
        """
        assert self.book is not None, "there is a set-up link"
        await self.slowly(partial(self.book.add, is_admin=True, first=True), name, password)

    async def slowly(self, work: Callable[..., bool | None], *arguments: object) -> bool | None:
        """Do what takes a processor and memory, when it is its turn, in a thread.

        Raises:
            HTTPTooManyRequests: Too many wait already.
        """
        if self._waiting >= _WAITING:
            raise _Busy(2)
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(work, *arguments)
        finally:
            self._waiting -= 1


LOGINS: Final = web.AppKey("logins", Logins)
