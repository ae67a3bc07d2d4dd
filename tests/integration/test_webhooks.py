"""Webhooks to a real endpoint: what is told, how it is signed, and what a bad endpoint costs."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from datakit_ci.bridges.courier import BRANCH
from datakit_ci.bridges.telling import Telling
from datakit_ci.secrets import Secret
from datakit_ci.state import JobState, Status, TargetState
from datakit_ci.target import Target
from datakit_ci.webhook import CHANGED, FINISHED, Webhook
from datakit_core.client.api import Database
from datakit_core.client.local import LocalDatabase
from tests.support.ci_scene import NOW, commit
from tests.support.databases import open_store
from tests.support.fake_engine import FakeEngine

KEY = b"a secret of 24 bytes or so"
MAIN = Target("acme/shop", "heads", "main")


@dataclass
class Endpoint:
    """Keeps what it is sent, and answers as the test says."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    got: asyncio.Queue[tuple[dict[str, str], bytes]] = field(default_factory=asyncio.Queue)

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        status = self.answers.pop(0) if self.answers else 204
        self.got.put_nowait(
            ({name.lower(): value for name, value in request.headers.items()}, body)
        )
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    async def next(self) -> Any:
        _, body = await self.got.get()
        return json.loads(body)


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    found = Endpoint()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.take)
    async with TestServer(app) as server:
        found.url = str(server.make_url("/hook"))
        yield found


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_store(tmp_path / "db.git") as store:
        yield LocalDatabase(store)


@pytest.fixture
def secret(tmp_path: Path) -> Secret:
    file = tmp_path / "secret"
    file.touch(0o600)
    file.write_bytes(b"whsec_" + base64.b64encode(KEY))
    return Secret.file(file)


def standing(status: Status, head: str = "one") -> TargetState:
    return TargetState(
        MAIN, commit(head), "Fix it", "Ann", updated=NOW, jobs=(JobState("unit", status, "said"),)
    )


Tell = Callable[..., AbstractAsyncContextManager[Telling]]


@pytest.fixture
def telling(database: Database) -> Tell:
    """Runs webhooks, and stops them."""

    @asynccontextmanager
    async def tell(engine: FakeEngine, *hooks: Webhook) -> AsyncIterator[Telling]:
        webhooks = Telling(engine, database, "https://ci/", hooks, lambda _: 0.0)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(webhooks.run())
            yield webhooks
            running.cancel()

    return tell


async def begun(database: Database) -> None:
    """Wait until a new endpoint is noted."""
    async for head in database.watch_head(BRANCH):
        if head is not None:
            return


async def recorded(database: Database, status: str) -> None:
    """Wait until it is noted that this was told."""
    async for head in database.watch_head(BRANCH):
        if head is None:
            continue
        root = (await database.commit(head)).tree
        for hook in (await database.tree(root)).values():
            for name in await database.tree(hook.id):  # type: ignore[arg-type]  # a directory
                content = await database.read(hook.id, name)  # type: ignore[arg-type]
                if status.encode() in content:
                    return


async def test_an_end_is_told_once_and_signed(
    endpoint: Endpoint, secret: Secret, database: Database, telling: Tell
) -> None:
    engine = FakeEngine()
    engine.add(standing(Status.RUNNING))
    async with telling(engine, Webhook(endpoint.url, secret)):
        await begun(database)
        await engine.set_target(standing(Status.FAILURE))
        headers, body = await endpoint.got.get()
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        digest = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{digest}"
        message = json.loads(body)
        assert message["type"] == FINISHED
        assert message["data"]["status"] == "failure"
        assert message["data"]["page"] == "https://ci/acme/shop/ref/heads/main"
        assert message["data"]["jobs"][0] == {
            "name": "unit", "status": "failure", "description": "said",
        }  # fmt: skip
        await recorded(database, "failure")
        await engine.set_target(replace(standing(Status.FAILURE), subject="Nothing new"))
        await engine.set_target(standing(Status.SUCCESS, "two"))
        message = await endpoint.next()
        assert (message["data"]["before"], message["data"]["status"]) == ("failure", "success")
    assert endpoint.got.empty()


async def test_changes_are_told_to_who_wants_them_of_the_projects_that_they_want(
    endpoint: Endpoint, secret: Secret, database: Database, telling: Tell
) -> None:
    engine = FakeEngine()
    hook = Webhook(endpoint.url, secret, [CHANGED], projects=["acme/shop"])
    async with telling(engine, hook):
        await begun(database)
        other = Target("acme/other", "heads", "main")
        await engine.set_target(replace(standing(Status.RUNNING), target=other))
        await engine.set_target(standing(Status.RUNNING))
        message = await endpoint.next()
        assert (message["type"], message["data"]["project"]) == (CHANGED, "acme/shop")
    assert endpoint.got.empty()


async def test_an_endpoint_that_was_away_hears_the_newest_state(
    endpoint: Endpoint, secret: Secret, database: Database, telling: Tell
) -> None:
    endpoint.answers = [500, 503, 429]
    engine = FakeEngine()
    async with telling(engine, Webhook(endpoint.url, secret)):
        await begun(database)
        await engine.set_target(standing(Status.FAILURE))
        ids = [(await endpoint.got.get())[0]["webhook-id"] for _ in range(4)]
        assert len(set(ids)) == 1
        await recorded(database, "failure")


async def test_after_a_restart_only_what_has_changed_meanwhile_is_told(
    endpoint: Endpoint, secret: Secret, database: Database, telling: Tell
) -> None:
    hook = Webhook(endpoint.url, secret)
    engine = FakeEngine()
    async with telling(engine, hook):
        await begun(database)
        await engine.set_target(standing(Status.FAILURE))
        await endpoint.next()
        await recorded(database, "failure")
    engine = FakeEngine()
    other = replace(standing(Status.SUCCESS), target=Target("acme/shop", "heads", "new"))
    engine.add(standing(Status.FAILURE), other)
    async with telling(engine, hook):
        assert (await endpoint.next())["data"]["name"] == "new"
    assert endpoint.got.empty()


async def test_a_redirect_is_not_followed_and_given_up(
    endpoint: Endpoint, secret: Secret, database: Database, telling: Tell
) -> None:
    endpoint.answers = [307] * 5
    engine = FakeEngine()
    async with telling(engine, Webhook(endpoint.url, secret)):
        await begun(database)
        await engine.set_target(standing(Status.FAILURE))
        await recorded(database, "failure")
    assert endpoint.got.qsize() == 5
    assert endpoint.answers == []


async def test_who_is_gone_for_ever_is_told_nothing_more_until_configured_again(
    endpoint: Endpoint, secret: Secret, database: Database, telling: Tell
) -> None:
    endpoint.answers = [410]
    hook = Webhook(endpoint.url, secret)
    engine = FakeEngine()
    async with telling(engine, hook) as webhooks:
        await begun(database)
        await engine.set_target(standing(Status.FAILURE))
        await endpoint.next()
        await engine.set_target(standing(Status.SUCCESS))
        webhooks.configure([hook])
        assert (await endpoint.next())["data"]["status"] == "success"


async def test_a_secret_that_is_not_there_is_no_other_endpoints_trouble(
    endpoint: Endpoint,
    secret: Secret,
    database: Database,
    telling: Tell,
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = FakeEngine()
    broken = Webhook(f"{endpoint.url}/other", Secret.file("/nonexistent"))
    async with telling(engine, broken, Webhook(endpoint.url, secret)):
        await begun(database)
        await engine.set_target(standing(Status.SUCCESS))
        assert (await endpoint.next())["data"]["status"] == "success"
    assert "/nonexistent is not there" in caplog.text
