"""Finds out who asks: by the cookie of a session, or by a token in a header."""

from __future__ import annotations

import base64
import binascii
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Protocol

from aiohttp import web

from datakit_ci.acl import LOCAL, Identity, Rules, Scope
from datakit_ci.dashboard.sessions import (
    Lifetimes,
    Session,
    SessionsAway,
    SessionStore,
    key_of,
    new_cookie,
)
from datakit_ci.dashboard.visitor import How, Visitor, introduce, visitor_of

__all__ = ["KEEPER", "Accounts", "Keeper", "NoAccounts"]

_COOKIE = re.compile(r"[A-Za-z0-9_-]{43}")
"""32 bytes in base64."""

_PORT = re.compile(r":([0-9]{1,5})\Z")

_TOUCH = 300.0
"""Seconds after which a session is noted to be still in use: not with every request."""

_MOST_ENDED = 10_000

_UNAUTHORIZED: Final = "This API token is not good (any more). Make another one on your profile."


class Accounts(Protocol):
    """What the service itself knows of users."""

    def stamp(self, user: str) -> str | None:
        """Which credentials an account of ours has; none if there is no such account."""
        ...

    def is_admin(self, user: str) -> bool:
        """Whether an account of ours may do everything."""
        ...

    def of_token(self, secret: str) -> tuple[Identity, Scope] | None:
        """Whose token this is, and what it is good for; none if it is not (any more)."""
        ...


class NoAccounts:
    """Nobody has an account here."""

    def stamp(self, _user: str) -> str | None:
        """As :meth:`Accounts.stamp`."""
        return None

    def is_admin(self, _user: str) -> bool:
        """As :meth:`Accounts.is_admin`."""
        return False

    def of_token(self, _secret: str) -> tuple[Identity, Scope] | None:
        """As :meth:`Accounts.of_token`."""
        return None


@dataclass(frozen=True, slots=True)
class Keeper:
    """Knows visitors, lets them in and out.

    Attributes:
        rules: Who may do what, now.
        sessions: Who has logged in.
        accounts: Who has an account or a token here.
        now: The time.
        is_secure: Whether browsers speak TLS to us; then cookies travel by nothing else.
        lifetimes: When sessions end.
        ended: Keys of sessions that ended lately, for streams that are still open.
    """

    rules: Callable[[], Rules]
    sessions: SessionStore
    accounts: Accounts
    now: Callable[[], datetime]
    is_secure: bool = False
    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    ended: OrderedDict[str, None] = field(default_factory=OrderedDict, repr=False)

    def cookie_name(self, host: str) -> str:
        """What the cookie is called where browsers know us as ``host``, ``NAME[:PORT]``.

        Under TLS browsers let nobody but this very host set it (RFC 6265bis, 4.1.3.2). They give it
        to all ports of a host, though, so that services side by side must not share a name.
        """
        port = _PORT.search(host)
        return ("__Host-datakit" if self.is_secure else "datakit") + (f"-{port[1]}" if port else "")

    async def identify(self, request: web.Request) -> Visitor:
        """Who a request is from; with a token, whatever cookie comes along does not count.

        Raises:
            HTTPUnauthorized: It carries a token that is not good.
        """
        authorization = request.headers.get("Authorization")
        if authorization is not None:
            return self._by_token(authorization)
        cookie = request.cookies.get(self.cookie_name(request.host), "")
        if not _COOKIE.fullmatch(cookie):
            return Visitor(rules=self.rules)
        session = await self._session(cookie)
        if session is None:
            return self.stranger(cookie)
        return self._visitor(session, cookie)

    def _visitor(self, session: Session, cookie: str) -> Visitor:
        """Somebody who has rights for as long as their session is good, also in open streams."""
        key, end = key_of(cookie), self._end_of(session)

        def is_good() -> bool:
            is_over = key in self.ended or self.now().timestamp() >= end
            return not is_over and self._is_current(session)

        return Visitor(
            self._identity(session), How.SESSION, self.rules, cookie=cookie, is_good=is_good
        )

    def _end_of(self, session: Session) -> float:
        now = self.now().timestamp()
        return now + self.lifetimes.left(session, now)

    def _is_current(self, session: Session) -> bool:
        """Whether the credentials that began a session are still somebody's."""
        if Identity(session.user).provider != LOCAL:
            return True
        return self.accounts.stamp(session.user) == session.stamp

    def _by_token(self, authorization: str) -> Visitor:
        """A bearer's token, or the password of any user, as Git sends it (RFC 6750, RFC 7617)."""
        found = self.accounts.of_token(_secret_in(authorization))
        if found is None:
            raise web.HTTPUnauthorized(
                text=_UNAUTHORIZED,
                headers={"WWW-Authenticate": 'Bearer realm="datakit", error="invalid_token"'},
            )
        identity, scope = found
        secret = _secret_in(authorization)
        return Visitor(
            identity,
            How.BEARER,
            self.rules,
            scope,
            is_good=lambda: self.accounts.of_token(secret) is not None,
        )

    async def _session(self, cookie: str) -> Session | None:
        """The session of a cookie, if it is still good."""
        key, now = key_of(cookie), self.now().timestamp()
        session = await self.sessions.load(key)
        if session is None:
            return None
        if not self._is_current(session):
            await self.sessions.remove(key)
            return None
        if (left := self.lifetimes.left(session, now)) <= 0:
            await self.sessions.remove(key)
            return None
        if now - session.seen > _TOUCH:
            session = replace(session, seen=now)
            left = self.lifetimes.left(session, now)
            await self.sessions.touch(key, session, left)
        return session

    def _identity(self, session: Session) -> Identity:
        return Identity(
            session.user,
            session.groups,
            session.repositories,
            is_admin=Identity(session.user).provider == LOCAL
            and self.accounts.is_admin(session.user),
        )

    async def let_in(
        self, request: web.Request, response: web.StreamResponse, identity: Identity
    ) -> Visitor:
        """Begin a session, under a new number; the one before, if any, ends."""
        if old := visitor_of(request).cookie:
            await self._end(old)
        now = self.now().timestamp()
        session = Session(
            identity.user,
            now,
            now,
            self.accounts.stamp(identity.user) or "",
            identity.groups,
            identity.repositories,
        )
        cookie = new_cookie()
        await self.sessions.save(key_of(cookie), session, self.lifetimes.left(session, now))
        self.set_cookie(request, response, cookie)
        visitor = self._visitor(session, cookie)
        introduce(request, visitor)
        return visitor

    async def let_out(self, request: web.Request, response: web.StreamResponse) -> None:
        """End the visitor's session."""
        if cookie := visitor_of(request).cookie:
            await self._end(cookie)
        name = self.cookie_name(request.host)
        response.del_cookie(name, secure=self.is_secure, httponly=True, samesite="Lax")
        introduce(request, Visitor(rules=self.rules))

    async def let_out_everywhere(self, request: web.Request, response: web.StreamResponse) -> None:
        """End all sessions of the visitor, in whatever browser."""
        for key in await self.sessions.remove_all(visitor_of(request).user):
            self._note_end(key)
        await self.let_out(request, response)

    async def is_still_in(self, visitor: Visitor) -> bool:
        """Whether a visitor's session is still there; asked now and then while a stream is open.

        Another service that shares the sessions may have ended it.
        """
        if visitor.how is not How.SESSION:
            return True
        key = key_of(visitor.cookie)
        try:
            session = await self.sessions.load(key)
        except SessionsAway:
            return False
        if session is None:
            self._note_end(key)
        return session is not None

    async def _end(self, cookie: str) -> None:
        key = key_of(cookie)
        self._note_end(key)
        await self.sessions.remove(key)

    def _note_end(self, key: str) -> None:
        self.ended[key] = None
        while len(self.ended) > _MOST_ENDED:
            self.ended.popitem(last=False)

    def stranger(self, cookie: str) -> Visitor:
        """Who has not logged in, and has a cookie, so that they can be given a form."""
        return Visitor(rules=self.rules, cookie=cookie)

    def set_cookie(self, request: web.Request, response: web.StreamResponse, cookie: str) -> None:
        """Give the browser a number."""
        response.set_cookie(
            self.cookie_name(request.host),
            cookie,
            max_age=int(self.lifetimes.whole),
            path="/",
            secure=self.is_secure,
            httponly=True,
            samesite="Lax",
        )


KEEPER: Final = web.AppKey("keeper", Keeper)


def _secret_in(authorization: str) -> str:
    scheme, _, given = authorization.strip().partition(" ")
    match scheme.lower():
        case "bearer":
            return given.strip()
        case "basic":
            try:
                pair = base64.b64decode(given.strip(), validate=True)
            except (binascii.Error, ValueError):
                return ""
            return pair.partition(b":")[2].decode(errors="replace")
        case _:
            return ""
