"""Asking a provider who somebody is: the code flow of OAuth 2, with and without OpenID Connect.

The flow (RFC 6749, 4.1; RFC 7636 for PKCE) is the same for all. What differs is how the answer
says who it is: an ID token, signed by the provider (OpenID Connect Core 1.0, 3.1.3.7), or, at
GitHub, what its API says to whoever holds the access token. That is used at once and not kept.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol, cast
from urllib.parse import quote, urlencode

import aiohttp
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from datakit_ci.acl import Identity
from datakit_ci.dashboard.providers import Provider

if TYPE_CHECKING:
    from joserfc.jwk import KeySetSerialization

__all__ = ["Attempt", "Client", "LoginFailed", "client_of"]

_PATIENCE: Final = aiohttp.ClientTimeout(total=10.0)
_LARGEST = 2**20
"""Bytes of an answer."""

_FRESH = 3_600.0
"""Seconds for which what a provider says of itself is remembered."""

_ALGORITHMS: Final = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
"""Of ID tokens: with a key that only the provider has; ``none`` and shared secrets are refused."""

_SKEW = 120
"""Seconds by which clocks may differ."""

_LONGEST_NAME = 200

_PAGES = 10
"""Of a hundred organisations each."""


class LoginFailed(Exception):
    """The provider did not say who it is; the text is for the log."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One log-in under way.

    Attributes:
        redirect: Where the provider sends the browser back to.
        state: Comes back with it.
        nonce: Comes back in the ID token.
        verifier: What PKCE shows that the one who began it ends it.
    """

    redirect: str
    state: str
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)

    @property
    def challenge(self) -> str:
        """What the provider is told of the verifier."""
        return _base64(hashlib.sha256(self.verifier.encode()).digest())


class Client(Protocol):
    """Speaks to one provider."""

    @property
    def provider(self) -> Provider:
        """Which."""
        ...

    async def address(self, attempt: Attempt) -> str:
        """Where to send a browser; raises :class:`LoginFailed`."""
        ...

    async def identity(
        self, attempt: Attempt, code: str, repositories: Collection[str]
    ) -> Identity:
        """Who has come back with ``code``; raises :class:`LoginFailed`.

        Args:
            attempt: The one that was begun.
            code: What came back.
            repositories: Those of which to find out whether the user can read them.
        """
        ...


def client_of(provider: Provider) -> Client:
    """What speaks to ``provider``."""
    return _GitHub(provider) if provider.issuer is None else _OpenId(provider)


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@asynccontextmanager
async def _session() -> AsyncIterator[aiohttp.ClientSession]:
    """A connection to a provider; whatever goes wrong on it is that the log-in has failed."""
    try:
        async with aiohttp.ClientSession(timeout=_PATIENCE, trust_env=True) as session:
            yield session
    except (aiohttp.ClientError, TimeoutError, UnicodeError) as error:
        raise LoginFailed(f"{type(error).__name__}: {error}") from error


async def _json(reply: aiohttp.ClientResponse) -> Any:
    if reply.status != HTTPStatus.OK:
        raise LoginFailed(f"{reply.url.origin()}{reply.url.path} answered {reply.status}")
    body = bytearray()
    async for chunk in reply.content.iter_any():
        body += chunk
        if len(body) > _LARGEST:
            raise LoginFailed(f"{reply.url.host} says too much")
    try:
        return json.loads(body)
    except ValueError as error:
        raise LoginFailed(f"{reply.url.host} answered no JSON") from error


async def _fields(reply: aiohttp.ClientResponse) -> Mapping[str, Any]:
    answer = await _json(reply)
    if not isinstance(answer, dict):
        raise LoginFailed(f"{reply.url.host} answered something else than an object")
    return answer


def _address(endpoint: str, provider: Provider, attempt: Attempt, **more: str) -> str:
    query = {
        "response_type": "code",
        "client_id": provider.client_id,
        "redirect_uri": attempt.redirect,
        "scope": provider.scope,
        "state": attempt.state,
        "code_challenge": attempt.challenge,
        "code_challenge_method": "S256",
        **more,
    }
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"


async def _tokens(
    session: aiohttp.ClientSession, endpoint: str, provider: Provider, attempt: Attempt, code: str
) -> Mapping[str, Any]:
    """Change the code for tokens; it is good once, and only with our secret and the verifier."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": attempt.redirect,
        "client_id": provider.client_id,
        "client_secret": provider.client_secret,
        "code_verifier": attempt.verifier,
    }
    headers = {"Accept": "application/json"}
    async with session.post(endpoint, data=form, headers=headers, allow_redirects=False) as reply:
        answer = await _fields(reply)
    if "error" in answer:  # GitHub says so with status 200
        raise LoginFailed(f"{provider.name} refused the code: {str(answer['error'])[:100]!r}")
    return answer


def _named(provider: Provider, name: object) -> str:
    """A user's name, if it can be one that the pipeline knows."""
    is_name = isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME
    if not is_name or not str(name).isprintable() or any(c.isspace() for c in str(name)):
        raise LoginFailed(f"{provider.name} calls the user {name!r}")
    return f"{provider.name}:{name}"


@dataclass(frozen=True, slots=True)
class _GitHub:
    """GitHub: the API says who holds an access token (docs.github.com/rest)."""

    provider: Provider

    async def address(self, attempt: Attempt) -> str:
        return _address(f"{self.provider.url}/login/oauth/authorize", self.provider, attempt)

    async def identity(
        self, attempt: Attempt, code: str, repositories: Collection[str]
    ) -> Identity:
        provider = self.provider
        async with _session() as session:
            endpoint = f"{provider.url}/login/oauth/access_token"
            tokens = await _tokens(session, endpoint, provider, attempt, code)
            headers = {
                "Authorization": f"Bearer {tokens.get('access_token', '')}",
                "Accept": "application/vnd.github+json",
                "User-Agent": "datakit",
            }
            async with session.get(f"{provider.api}/user", headers=headers) as reply:
                user = _named(provider, (await _fields(reply)).get("login"))
            return Identity(
                user.lower(),
                frozenset([name async for name in self._organisations(session, headers)]),
                frozenset(
                    [name for name in repositories if await self._reads(session, headers, name)]
                ),
            )

    async def _organisations(
        self, session: aiohttp.ClientSession, headers: Mapping[str, str]
    ) -> AsyncIterator[str]:
        """Those that the user is a member of, and not only invited to."""
        for page in range(1, _PAGES + 1):
            query = {"state": "active", "per_page": "100", "page": str(page)}
            address = f"{self.provider.api}/user/memberships/orgs"
            async with session.get(address, params=query, headers=headers) as reply:
                found = await _json(reply)
            if not isinstance(found, list):
                raise LoginFailed("github answered something else than a list")
            for each in found:
                yield f"{self.provider.name}:{each['organization']['login']}".lower()
            if len(found) < 100:
                return

    async def _reads(
        self, session: aiohttp.ClientSession, headers: Mapping[str, str], repository: str
    ) -> bool:
        address = f"{self.provider.api}/repos/{quote(repository)}"
        async with session.get(address, headers=headers) as reply:
            return reply.status == HTTPStatus.OK


@dataclass(slots=True)
class _OpenId:
    """A service that speaks OpenID Connect: it signs what it says."""

    provider: Provider
    _said: Mapping[str, Any] = field(init=False, default_factory=dict)
    _keys: KeySet | None = field(init=False, default=None)
    _then: float = field(init=False, default=-_FRESH)

    async def address(self, attempt: Attempt) -> str:
        async with _session() as session:
            said = await self._discovered(session)
        endpoint = str(said["authorization_endpoint"])
        return _address(endpoint, self.provider, attempt, nonce=attempt.nonce)

    async def identity(
        self, attempt: Attempt, code: str, repositories: Collection[str]
    ) -> Identity:
        del repositories  # it knows nothing of them
        async with _session() as session:
            said = await self._discovered(session)
            endpoint = str(said["token_endpoint"])
            tokens = await _tokens(session, endpoint, self.provider, attempt, code)
            claims = self._checked(str(tokens.get("id_token", "")), attempt)
        if self.provider.user == "email" and claims.get("email_verified") is not True:
            raise LoginFailed(f"{self.provider.name} has not verified the user's address")
        groups = claims.get(self.provider.groups, []) if self.provider.groups else []
        names = groups if isinstance(groups, list) else []
        return Identity(
            _named(self.provider, claims.get(self.provider.user)),
            frozenset(f"{self.provider.name}:{each}" for each in names if isinstance(each, str)),
        )

    async def _discovered(self, session: aiohttp.ClientSession) -> Mapping[str, Any]:
        """What it says of itself (OpenID Connect Discovery 1.0), and its keys."""
        now = time.monotonic()
        if now - self._then < _FRESH:
            return self._said
        issuer = self.provider.issuer
        async with session.get(f"{issuer}/.well-known/openid-configuration") as reply:
            said = await _fields(reply)
        if str(said.get("issuer", "")).rstrip("/") != issuer:
            raise LoginFailed(f"{issuer} says that it is {said.get('issuer')!r}")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not isinstance(said.get(name), str):
                raise LoginFailed(f"{issuer} does not say its {name}")
        async with session.get(said["jwks_uri"]) as reply:
            keys = await _fields(reply)
        try:
            self._keys = KeySet.import_key_set(cast("KeySetSerialization", keys))
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise LoginFailed(f"{issuer} has keys that are none: {error}") from error
        self._said, self._then = said, now
        return said

    def _checked(self, token: str, attempt: Attempt) -> Mapping[str, Any]:
        """The claims of an ID token that is for us, from the issuer, and of this very log-in."""
        assert self._keys is not None, "it was discovered"
        registry = jwt.JWTClaimsRegistry(
            leeway=_SKEW,
            iss={"essential": True, "value": str(self._said["issuer"])},
            aud={"essential": True, "value": self.provider.client_id},
            exp={"essential": True},
            nonce={"essential": True, "value": attempt.nonce},
        )
        try:
            decoded = jwt.decode(token, self._keys, algorithms=_ALGORITHMS)
            registry.validate(decoded.claims)
        except (JoseError, ValueError, KeyError) as error:
            self._then = -_FRESH  # it may have new keys: the next log-in asks
            raise LoginFailed(f"the ID token is not good: {error}") from error
        party = decoded.claims.get("azp", self.provider.client_id)
        if party != self.provider.client_id:
            raise LoginFailed("the ID token is for somebody else")
        return decoded.claims
