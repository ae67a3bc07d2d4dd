"""The page of settings: who is shown what of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from datakit_ci.acl import username
from datakit_ci.dashboard.app import Access, create_app
from datakit_ci.dashboard.particulars import Particulars
from datakit_ci.notice import Slack
from datakit_ci.pools import PoolState
from datakit_ci.project import Config, Project
from datakit_ci.secrets import Secret
from datakit_ci.state import GraphNode, Status, TargetState
from datakit_ci.target import FLOWS, Target
from datakit_ci.webhook import Webhook
from tests.support.fake_engine import FakeEngine
from tests.support.visitors import TokenAccounts, sign_in

Client = TestClient[web.Request, web.Application]

CONFIG = Config(
    projects=[
        Project("me/app", lambda _: {}, can_admin=username("github:ann")),
        Project("me/shut", lambda _: {}),
    ],
    secrets={"TOKEN": Secret.env("A_TOKEN"), "KEY": Secret.file("/none/key")},
    webhooks=[Webhook("https://hooks.example.org/T0/hunter2", Secret.env("HOOK"))],
    notify=[Slack(Secret.env("CHAT"))],
    can_admin=username("github:root"),
)


def scheduled(project: str, schedule: str) -> TargetState:
    """A target with a pipeline that begins again and again."""
    kind = "flow" if project == FLOWS else "heads"
    node = GraphNode("e", f"every {schedule}", "every", Status.SUCCESS)
    return TargetState(Target(project, kind, f"b-{schedule}"), graph=(node,))


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    particulars = Particulars(
        {"--web-ui": "http://127.0.0.1:8080"},
        lambda: CONFIG,
        lambda: {"KEY"},
        database="/var/lib/state.git",
        trouble=lambda: "The disk is full.",
        executor="dask:tls://farm.example.org:8786",
    )
    access = Access(lambda: CONFIG.rules, TokenAccounts())
    engine = FakeEngine()
    engine.busy_pools = {"cpu": PoolState(4, (), ()), "net": PoolState(None, (), ())}
    engine.add(scheduled("me/app", "2h"), scheduled("me/shut", "3h"), scheduled("me/shut", "4h"))
    engine.flowing = [scheduled(FLOWS, "day 06:00")]
    app = create_app(engine, access=access, particulars=particulars)
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_who_administers_the_service_is_shown_all_of_it_but_secrets(client: Client) -> None:
    await sign_in(client, "root")
    async with client.get("/settings") as response:
        assert response.status == 200
        text = await response.text()
    for wanted in ("me/shut", "--web-ui", "/var/lib/state.git", "The disk is full.",
                   "TOKEN", "/none/key", "missing", "https://hooks.example.org/…", "Python",
                   "bubblewrap", "pygit2", "the environment variable CHAT",
                   "on the cluster at tls://farm.example.org:8786", "for ever", "4 units",
                   "not declared", "as much as there is", "datakit_ci.plugins.git",
                   "<bdi>every 3h</bdi>", "<bdi>every 4h</bdi>",
                   "<bdi>every day 06:00</bdi>"):  # fmt: skip
        assert wanted in text, wanted
    assert "hunter2" not in text
    assert "me/app" not in text  # it has administrators of its own


async def test_who_administers_a_project_is_shown_that_one_alone(client: Client) -> None:
    await sign_in(client, "ann")
    async with client.get("/settings") as response:
        assert response.status == 200
        text = await response.text()
    assert "me/app" in text
    assert "<bdi>every 2h</bdi>" in text
    for hidden in ("me/shut", "--web-ui", "/var/lib", "TOKEN", "/none/key", "hooks.example",
                   "<bdi>every 3h</bdi>", "day 06:00", "farm.example", "plugins",
                   "4 units"):  # fmt: skip
        assert hidden not in text, hidden


async def test_only_administrators_are_led_there(client: Client) -> None:
    await sign_in(client, "ann")
    async with client.get("/") as response:
        assert 'href="/settings"' in await response.text()
    await sign_in(client, "bob")
    async with client.get("/settings") as response:
        assert response.status == 403
