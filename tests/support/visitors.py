"""People who look at a dashboard in tests: logged in without a password."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from argon2 import PasswordHasher

from datakit_ci import passwords
from datakit_ci.acl import (
    Acl,
    Identity,
    Rights,
    Role,
    Rules,
    Scope,
    everyone,
    nobody,
    username,
)
from datakit_ci.dashboard.keeper import KEEPER
from datakit_ci.dashboard.sessions import Session, key_of, new_cookie
from datakit_ci.dashboard.visitor import Visitor

__all__ = [
    "TokenAccounts",
    "cheap_passwords",
    "cookie_name",
    "csrf_of",
    "everything",
    "private",
    "public",
    "sign_in",
]

Client = TestClient[web.Request, web.Application]


def private(**people: Acl) -> Rights:
    """Rights in a project for whoever is named by ``read``, ``build`` and ``admin``."""
    return Rights(**people)


def public(projects: dict[str, Rights] | None = None, build: Acl = nobody) -> Rules:
    """Everybody may read the projects ``projects``, as far as these do not say otherwise."""
    rights = Rights(read=everyone, build=build, admin=username("github:root"))
    return Rules(rights, projects or {}, rights)


def everything(who: str = "github:root") -> Rules:
    """Everybody may read, and one person may do everything."""
    rights = Rights(read=everyone, admin=username(who))
    return Rules(rights, {}, rights)


async def sign_in(client: Client, user: str, *groups: str) -> str:
    """Give a client the session of somebody with an account on GitHub; what its forms carry."""
    assert client.app is not None
    keeper = client.app[KEEPER]
    cookie, now = new_cookie(), keeper.now().timestamp()
    session = Session(f"github:{user}", now, now, groups=frozenset(groups))
    await keeper.sessions.save(key_of(cookie), session, 3600.0)
    client.session.cookie_jar.clear()
    client.session.cookie_jar.update_cookies({cookie_name(client): cookie}, client.make_url("/"))
    return csrf_of(cookie)


def cookie_name(client: Client) -> str:
    """What the cookie of a client's session is called."""
    assert client.app is not None
    return client.app[KEEPER].cookie_name(client.make_url("/").authority)


def csrf_of(cookie: str) -> str:
    """What the forms carry that a browser with this cookie is shown."""
    return Visitor(cookie=cookie).csrf


@dataclass
class TokenAccounts:
    """Nobody has a password; some have tokens."""

    tokens: dict[str, tuple[Identity, Scope]] = field(default_factory=dict)

    def stamp(self, _user: str) -> str | None:
        return None

    def is_admin(self, _user: str) -> bool:
        return False

    def of_token(self, secret: str) -> tuple[Identity, Scope] | None:
        return self.tokens.get(secret)

    def add(
        self, secret: str, user: str, role: Role = Role.ADMIN, *projects: str
    ) -> dict[str, str]:
        """Let ``user`` have a token; the headers that a program sends with it."""
        scope = Scope(role, frozenset(projects) if projects else None)
        self.tokens[secret] = (Identity(user), scope)
        return {"Authorization": f"Bearer {secret}"}


@pytest.fixture
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords that are no work to try: what a hash costs is not what is tested."""
    cheap = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    monkeypatch.setattr(passwords, "_HASHER", cheap)
