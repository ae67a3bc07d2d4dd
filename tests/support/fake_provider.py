"""Services that keep accounts, as real servers on loopback: GitHub, and one of OpenID Connect."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey

__all__ = ["FakeProvider", "fake_provider", "new_key"]


@dataclass
class FakeProvider:
    """Plays both; a test says who logs in, and what goes wrong.

    Attributes:
        url: Its address.
        user: Who is logged in there.
        claims: What an ID token says besides.
        organisations, repositories: What GitHub tells.
        headers: Of ID tokens.
        shared: Signs them instead of the provider's own key.
        refuses: An error that is sent back instead of a code.
        breaks: Paths that answer 500.
    """

    url: str = ""
    user: str = "octo"
    claims: dict[str, Any] = field(default_factory=dict)
    organisations: list[str] = field(default_factory=list)
    repositories: set[str] = field(default_factory=set)
    headers: dict[str, Any] = field(default_factory=lambda: {"alg": "ES256", "kid": "1"})
    refuses: str = ""
    breaks: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    shared: OctKey | None = None
    key: ECKey = field(default_factory=lambda: new_key("1"))
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._notice])
        app.router.add_get("/.well-known/openid-configuration", self._discovery)
        app.router.add_get("/keys", self._keys)
        for path in ("/authorize", "/login/oauth/authorize"):
            app.router.add_get(path, self._authorize)
        for path in ("/token", "/login/oauth/access_token"):
            app.router.add_post(path, self._token)
        app.router.add_get("/user", self._user)
        app.router.add_get("/user/memberships/orgs", self._organisations)
        app.router.add_get("/repos/{user}/{repo}", self._repository)
        return app

    @web.middleware
    async def _notice(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked.append(request.path)
        if request.path in self.breaks:
            return web.Response(status=500)
        response: web.StreamResponse = await handler(request)
        return response

    async def _discovery(self, _request: web.Request) -> web.Response:
        return web.json_response(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
            }
        )

    async def _keys(self, _request: web.Request) -> web.Response:
        return web.json_response(KeySet([self.key]).as_dict(private=False))

    async def _authorize(self, request: web.Request) -> web.Response:
        query = dict(request.query)
        assert query["client_id"] == "us"
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_hex(8)
        self.codes[code] = query
        answer = {"state": query["state"]}
        answer |= {"error": self.refuses} if self.refuses else {"code": code}
        where = f"{query['redirect_uri']}?{urlencode(answer)}"
        return web.Response(status=302, headers={"Location": where})

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        begun = self.codes.pop(str(form["code"]), None)
        verifier = hashlib.sha256(str(form["code_verifier"]).encode()).digest()
        challenge = base64.urlsafe_b64encode(verifier).rstrip(b"=").decode()
        if (
            begun is None
            or form["client_secret"] != "hush hush"
            or form["redirect_uri"] != begun["redirect_uri"]
            or challenge != begun["code_challenge"]
        ):
            return web.json_response({"error": "invalid_grant"})
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": "us",
            "sub": "1",
            "exp": now + 300,
            "iat": now,
            "nonce": begun.get("nonce", ""),
            "preferred_username": self.user,
            **self.claims,
        }
        token = jwt.encode(
            self.headers, claims, self.shared or self.key, algorithms=["ES256", "HS256"]
        )
        return web.json_response({"access_token": "let me in", "id_token": token})

    async def _user(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer let me in"
        return web.json_response({"login": self.user})

    async def _organisations(self, request: web.Request) -> web.Response:
        start = (int(request.query["page"]) - 1) * 100
        found = self.organisations[start : start + 100]
        return web.json_response([{"organization": {"login": name}} for name in found])

    async def _repository(self, request: web.Request) -> web.Response:
        name = f"{request.match_info['user']}/{request.match_info['repo']}"
        return web.json_response({}, status=200 if name in self.repositories else 404)


def new_key(kid: str) -> ECKey:
    return ECKey.generate_key("P-256", {"kid": kid}, private=True)


@asynccontextmanager
async def fake_provider() -> AsyncIterator[FakeProvider]:
    """Serve one."""
    provider = FakeProvider()
    runner = web.AppRunner(provider.app())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    provider.url = f"http://{host}:{port}"
    try:
        yield provider
    finally:
        await runner.cleanup()
