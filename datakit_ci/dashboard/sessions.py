"""Sessions: that a browser has logged in, kept by the server and named by a cookie.

The cookie is a random number, and the store knows its digest only: who reads the store cannot use
what is in it. A session gets a new number whenever somebody logs in, so that nobody can have
chosen it for them.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, Protocol

__all__ = [
    "COOKIE_BYTES",
    "MOST_EACH",
    "Lifetimes",
    "MemorySessions",
    "Session",
    "SessionStore",
    "SessionsAway",
    "key_of",
    "new_cookie",
]

COOKIE_BYTES: Final = 32

_MOST = 10_000
"""Sessions that are kept in memory; a further one ends the one that was used least lately."""

MOST_EACH: Final = 50
"""Sessions of one user: who logs in without end logs out themselves only."""


@dataclass(frozen=True, slots=True)
class Session:
    """That somebody has logged in.

    Attributes:
        user: Who, as :attr:`datakit_ci.acl.Identity.user` has it.
        began: When, in seconds since 1970.
        seen: When they were last here; not exact.
        stamp: Which credentials they have used: other ones end the session. Empty for who has an
            account elsewhere.
        groups: What their provider said of them then.
        repositories: The same, as :attr:`datakit_ci.acl.Identity.repositories` has it.
    """

    user: str
    began: float
    seen: float
    stamp: str = ""
    groups: frozenset[str] = frozenset()
    repositories: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """When sessions end, in seconds.

    Attributes:
        whole: After the log-in.
        idle: After the last request.
        provided: After the log-in of somebody whose groups another service has told: so late,
            somebody who has left a group may still have its rights.
    """

    whole: float = 7 * 86_400.0
    idle: float = 24 * 3_600.0
    provided: float = 8 * 3_600.0

    def left(self, session: Session, now: float) -> float:
        """For how long a session is good if nothing more happens; not above 0 if it has ended."""
        whole = self.whole if session.stamp else min(self.whole, self.provided)
        return min(session.began + whole, session.seen + self.idle) - now


class SessionsAway(Exception):
    """What keeps the sessions does not answer, so nobody knows who has logged in."""


class SessionStore(Protocol):
    """Where sessions are; every method may raise :class:`SessionsAway`."""

    async def load(self, key: str) -> Session | None:
        """The session of a key, if there is one that has not ended."""
        ...

    async def save(self, key: str, session: Session, seconds: float) -> None:
        """Begin a session, and keep it for so long."""
        ...

    async def touch(self, key: str, session: Session, seconds: float) -> None:
        """Keep a session for so long from now, unless it has ended meanwhile: then it stays so."""
        ...

    async def remove(self, key: str) -> None:
        """End a session, if there is one."""
        ...

    async def remove_all(self, user: str) -> Collection[str]:
        """End all sessions of a user; their keys."""
        ...


def new_cookie() -> str:
    """A number that nobody guesses."""
    return secrets.token_urlsafe(COOKIE_BYTES)


def key_of(cookie: str) -> str:
    """What stores know of a cookie."""
    return hashlib.sha256(cookie.encode(errors="replace")).hexdigest()


class MemorySessions:
    """Sessions in this process; a restart ends them."""

    def __init__(
        self, clock: Callable[[], float], *, most: int = _MOST, most_each: int = MOST_EACH
    ) -> None:
        """Keep at most ``most`` sessions, and ``most_each`` of each user."""
        self._clock = clock
        self._most = most
        self._most_each = most_each
        self._sessions: OrderedDict[str, tuple[Session, float]] = OrderedDict()

    async def load(self, key: str) -> Session | None:
        """As :meth:`SessionStore.load`."""
        found = self._sessions.get(key)
        if found is None:
            return None
        session, end = found
        if end <= self._clock():
            del self._sessions[key]
            return None
        self._sessions.move_to_end(key)
        return session

    async def save(self, key: str, session: Session, seconds: float) -> None:
        """As :meth:`SessionStore.save`."""
        is_new = key not in self._sessions
        self._sessions[key] = (session, self._clock() + seconds)
        self._sessions.move_to_end(key)
        if is_new:
            self._forget(session.user)

    async def touch(self, key: str, session: Session, seconds: float) -> None:
        """As :meth:`SessionStore.touch`."""
        if key in self._sessions:
            await self.save(key, session, seconds)

    async def remove(self, key: str) -> None:
        """As :meth:`SessionStore.remove`."""
        self._sessions.pop(key, None)

    async def remove_all(self, user: str) -> Collection[str]:
        """As :meth:`SessionStore.remove_all`."""
        own = self._of(user)
        for key in own:
            del self._sessions[key]
        return own

    def _of(self, user: str) -> list[str]:
        """The keys of a user's sessions, the one that was used least lately first."""
        return [key for key, (each, _) in self._sessions.items() if each.user == user]

    def _forget(self, user: str) -> None:
        own = self._of(user)
        for key in own[: max(0, len(own) - self._most_each)]:
            del self._sessions[key]
        while len(self._sessions) > self._most:
            self._sessions.popitem(last=False)
