"""The part of a GitHub on loopback that only Apps use: their tokens, and check runs."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

__all__ = ["FakeApp", "FakeRun", "latest"]

_HOME = "https://github.com/apps/a-test"


@dataclass
class FakeRun:
    """A check run."""

    id: int
    app: int
    name: str
    head_sha: str
    status: str = "queued"
    conclusion: str | None = None
    details_url: str = _HOME
    external_id: str = ""
    title: str | None = None
    summary: str | None = None
    annotations: list[dict[str, Any]] = field(default_factory=list)
    actions: list[dict[str, Any]] = field(default_factory=list)

    def change(self, asked: dict[str, Any]) -> None:
        """As the request asks; annotations are added to those that there are.

        Raises:
            web.HTTPUnprocessableEntity: It is completed without a conclusion.
        """
        if asked.get("status") == "completed" and "conclusion" not in asked:
            raise web.HTTPUnprocessableEntity(text="a conclusion is missing")
        self.status = "completed" if "conclusion" in asked else asked.get("status", self.status)
        self.conclusion = asked.get("conclusion")
        self.details_url = asked.get("details_url", self.details_url)
        self.external_id = asked.get("external_id", self.external_id)
        self.actions = asked.get("actions", [])
        output = asked.get("output", {})
        self.title = output.get("title", self.title)
        self.summary = output.get("summary", self.summary)
        self.annotations += output.get("annotations", [])

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "head_sha": self.head_sha,
            "status": self.status,
            "conclusion": self.conclusion,
            "details_url": self.details_url,
            "external_id": self.external_id,
            "app": {"id": self.app, "name": "A test"},
            "output": {
                "title": self.title,
                "summary": self.summary,
                "annotations_count": len(self.annotations),
            },
        }

    def of_query(self) -> dict[str, Any]:
        """With the names of the GraphQL schema."""
        return {
            "databaseId": self.id,
            "name": self.name,
            "externalId": self.external_id,
            "title": self.title,
            "detailsUrl": self.details_url,
        }


def latest(runs: Iterable[FakeRun]) -> list[FakeRun]:
    """The newest run of each name."""
    return list({run.name: run for run in sorted(runs, key=lambda run: run.id)}.values())


class FakeApp:
    """A GitHub App with one installation; who has its key gets tokens."""

    id = 4711
    installation = "12"

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.tokens: set[str] = set()
        self.lifetime = 3600.0
        self.hook: dict[str, str] | None = None
        """Where its own events go: ``url`` and ``secret``."""

    def write_key(self, path: Path) -> Path:
        path.write_bytes(
            self._key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        path.chmod(0o600)
        return path

    async def make_token(self, request: web.Request) -> web.Response:
        """An installation's token, for who has signed that he is the App."""
        _, _, signed = request.headers.get("Authorization", "").partition(" ")
        try:
            claims = jwt.decode(signed, self._key.public_key(), algorithms=["RS256"])
        except jwt.InvalidTokenError as error:
            return web.json_response({"message": str(error)}, status=401)
        if claims["iss"] != str(self.id) or request.match_info["installation_id"] != "12":
            return web.json_response({"message": "Not Found"}, status=404)
        token = f"ghs_{len(self.tokens)}"
        self.tokens.add(token)
        ends = datetime.fromtimestamp(time.time() + self.lifetime, UTC)
        said = {"token": token, "expires_at": f"{ends:%Y-%m-%dT%H:%M:%SZ}"}
        return web.json_response(said, status=201)
