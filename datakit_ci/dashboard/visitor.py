"""Who asks: somebody, how they have shown it, and what they may do."""

from __future__ import annotations

import enum
import hmac
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from datakit_ci.acl import STRANGER, Identity, Role, Rules, Scope

__all__ = [
    "CSRF_FIELD",
    "CSRF_HEADER",
    "CURRENT",
    "HERE",
    "How",
    "Visitor",
    "introduce",
    "is_csrf",
    "visitor_of",
]

CSRF_FIELD: Final = "csrf"
"""The field of a form that shows that a page of ours has sent it."""

CSRF_HEADER: Final = "X-CSRF-Token"
"""The same for scripts."""


class How(enum.Enum):
    """By what a visitor has shown who they are."""

    NOTHING = "nothing"
    SESSION = "session"
    """A cookie, which browsers send without being asked: so forms need a token."""
    BEARER = "bearer"
    """A header that a program sets itself."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who a request is from.

    Rights are looked up each time: a configuration that changes while a stream is open counts.

    Attributes:
        identity: Who, and the groups that they are in.
        how: How they have shown it.
        rules: Who may do what, now.
        scope: What they may do at most.
        cookie: The secret of their browser; empty for programs.
        is_good: Whether the session or token is still good; otherwise they may do nothing.
    """

    identity: Identity = STRANGER
    how: How = How.NOTHING
    rules: Callable[[], Rules] = field(default=Rules, repr=False)
    scope: Scope = field(default_factory=Scope)
    cookie: str = field(default="", repr=False)
    is_good: Callable[[], bool] = field(default=lambda: True, repr=False)

    @property
    def user(self) -> str:
        """Their name; empty for who has not logged in."""
        return self.identity.user

    @property
    def is_anonymous(self) -> bool:
        """Whether they have not said who they are."""
        return not self.identity.user

    def role_in(self, project: str) -> Role:
        """What they may do in a project, whether there is such a project or not."""
        if not self.is_good():
            return Role.NONE
        if self.scope.projects is not None and project not in self.scope.projects:
            return Role.NONE
        return min(self.scope.role, self.rules().role(self.identity, project))

    @property
    def best_role(self) -> Role:
        """The most that they may do anywhere."""
        if not self.is_good():
            return Role.NONE
        if self.scope.projects is not None:
            return max((self.role_in(each) for each in self.scope.projects), default=Role.NONE)
        return min(self.scope.role, self.rules().best_role(self.identity))

    @property
    def runs_service(self) -> bool:
        """Whether they may administer the service itself, and not only projects of it."""
        if not self.is_good() or self.scope.projects is not None:
            return False
        return min(self.scope.role, self.rules().service.role(self.identity)) >= Role.ADMIN

    def may(self, role: Role, project: str = "") -> bool:
        """Whether they have ``role`` in ``project``; without one, anywhere."""
        return (self.role_in(project) if project else self.best_role) >= role

    def reads(self, project: str) -> bool:
        """Whether they may see that there is such a project."""
        return self.role_in(project) >= Role.READ

    @property
    def csrf(self) -> str:
        """What their forms carry (:data:`CSRF_FIELD`); empty for who has no browser.

        It is derived from the cookie, which scripts and other sites cannot read, and does not
        give it away.
        """
        if not self.cookie:
            return ""
        return hmac.new(self.cookie.encode(), b"datakit form", "sha256").hexdigest()


CURRENT: Final[ContextVar[Visitor]] = ContextVar("visitor", default=Visitor())  # noqa: B039 - frozen
"""Whom the page is for that is being made; templates ask it. Set by the middleware."""

HERE: Final[ContextVar[str]] = ContextVar("here", default="/")
"""The address of the page that is being made, to come back to."""

_VISITOR: Final = web.RequestKey("visitor", Visitor)


def visitor_of(request: web.Request) -> Visitor:
    """Who asks."""
    return request[_VISITOR]


def introduce(request: web.Request, visitor: Visitor) -> None:
    """Say who asks; called once for each request, and again when they log in with it."""
    request[_VISITOR] = visitor
    CURRENT.set(visitor)
    HERE.set(request.rel_url.raw_path_qs)


def is_csrf(visitor: Visitor, given: str) -> bool:
    """Whether ``given`` is what the visitor's forms carry; takes as long for every wrong one."""
    own = visitor.csrf
    return bool(own) and hmac.compare_digest(own.encode(), given.encode(errors="replace"))
