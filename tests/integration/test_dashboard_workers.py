"""The workers of a cluster on the page of pools, over HTTP."""

from __future__ import annotations

from dataclasses import replace

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from datakit_ci.acl import username
from datakit_ci.crew import Crew, WorkerState
from datakit_ci.dashboard.app import Access, create_app
from datakit_ci.project import Config, Project
from tests.integration.test_dashboard import Client, client, look, scene
from tests.support.ci_scene import Scene
from tests.support.fake_engine import FakeEngine
from tests.support.visitors import TokenAccounts, sign_in

__all__ = ["client", "scene"]

CREW = Crew(where="tls://farm:8786", dashboard="http://farm:8787/status")


async def test_without_a_cluster_nothing_is_said_of_workers(client: Client) -> None:
    assert "workers" not in (await look(client, "/pools")).ids


async def test_a_cluster_without_workers_says_how_to_start_one(
    client: Client, scene: Scene
) -> None:
    scene.engine.workers = CREW
    words = (await look(client, "/pools")).words
    assert "Workers 0 at tls://farm:8786" in words
    assert "builds wait until one is started with datakit-ci worker" in words


async def test_workers_say_what_they_run_and_why_one_is_refused(
    client: Client, scene: Scene
) -> None:
    works = WorkerState("one", "a", {"cpu": 4, "gpu": 1}, (scene.live,), 1.25, 8, 5000, "DataKit 1")
    old = WorkerState("<old>", "b", {"cpu": 2}, refusal="it has Python 3.9 instead of 3.11")
    scene.engine.workers = replace(CREW, workers=(works, old))
    page = await look(client, "/pools")
    assert "busy one cpu 4 gpu 1 browser" in page.words
    assert "1.2 of 8 5.0 kB DataKit 1" in page.words
    assert "refused <old> cpu 2 nothing it has Python 3.9 instead of 3.11" in page.words
    assert not page.broken


async def test_only_who_runs_the_service_is_led_to_the_pages_of_dask() -> None:
    config = Config(
        projects=[Project("me/app", lambda _: {}, can_read=username("github:ann"))],
        can_admin=username("github:root"),
    )
    engine = FakeEngine()
    engine.workers = CREW
    app: web.Application = create_app(engine, access=Access(lambda: config.rules, TokenAccounts()))
    async with TestClient(TestServer(app)) as client:
        for name, seen in (("ann", False), ("root", True)):
            await sign_in(client, name)
            async with client.get("/pools") as response:
                assert (CREW.dashboard in await response.text()) is seen, name
