"""Lists of targets, and pools, over HTTP."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from aiohttp.test_utils import TestClient, TestServer

from datakit_ci.annals import Change
from datakit_ci.dashboard import create_app
from datakit_ci.pools import LockState, PoolState
from datakit_ci.project import Project
from datakit_ci.rulings import Ruling
from datakit_ci.state import JobState, Status, TargetState
from datakit_ci.target import FLOWS, Target
from datakit_core.client.api import CommitId, ObjectId
from tests.integration.test_dashboard import Client, client, look, scene
from tests.support.ci_scene import NOW, Scene
from tests.support.fake_engine import FakeEngine

__all__ = ["client", "scene"]


async def test_there_are_lists_of_each_kind_for_all_projects_and_for_one(client: Client) -> None:
    page = await look(client, "/pr")
    assert "#318" in page.words
    assert "#12" in page.words
    assert "rounding" not in page.words.partition("Author")[2]
    page = await look(client, "/acme/storefront/pr")
    assert "#12" in page.words
    assert "#318" not in page.words
    assert "v2.4.0" in (await look(client, "/tag")).words
    assert "trial/stages" in (await look(client, "/branch?state=failing&q=trial")).words
    await look(client, "/acme/unknown/pr", 404)


async def test_a_list_that_is_empty_says_why(client: Client) -> None:
    assert "Nothing matches." in (await look(client, "/tag?q=none")).words
    async with TestClient(TestServer(create_app(FakeEngine(), now=lambda: NOW))) as empty:
        assert "No tag is known yet." in (await look(empty, "/tag")).words


@pytest.mark.parametrize("query", ["?page=x", "?page=-1", "?page=1234567", "?state=odd"])
async def test_what_makes_no_sense_is_refused(client: Client, query: str) -> None:
    await look(client, "/branch" + query, 400)


async def test_long_lists_are_paged_and_pages_keep_what_was_asked(
    client: Client, scene: Scene
) -> None:
    scene.engine.add(
        *(replace(scene.green, target=Target("acme/shop", "heads", f"b{n}")) for n in range(120))
    )
    page = await look(client, "/branch?q=acme&page=2")
    assert "51\u2013100 of 124 branches" in page.words
    assert "?q=acme" in page.links
    assert "?q=acme&page=3" in page.links
    assert sum(id_.startswith("t-") for id_ in page.ids) == 50
    assert "Page 3 of 3" in (await look(client, "/branch?page=99")).words


async def test_pools_and_locks_say_who_has_them_and_who_waits(client: Client, scene: Scene) -> None:
    waiting = scene.busy.graph[5].build
    assert waiting is not None
    scene.engine.busy_pools = {"cpu": PoolState(2, (scene.live,), (waiting,))}
    scene.engine.held_locks = {"staging": LockState(scene.live, ())}
    page = await look(client, "/pools")
    assert "1 of 2 busy, 1 waiting" in page.words
    assert "acme/shop #318" in page.words
    assert "waiting for pool cpu (2 of 2 busy)" in page.words
    assert "staging held" in page.words


async def test_the_overview_begins_with_what_the_pipeline_and_people_care_for(
    client: Client, scene: Scene
) -> None:
    scene.engine.declared = [Project("acme/shop", lambda _: {}, dashboards=["rounding", "next"])]
    scene.engine.busy_pools = {"cpu": PoolState(2, (scene.live,), ())}
    scene.engine.paused_projects = {"acme/storefront": Ruling("mia", NOW)}
    words = (await look(client, "/")).words
    assert "acme/storefront was paused by mia" in words
    assert "5 of 7 jobs passed, 1 failed, 1 blocked" in words
    assert "next acme/shop Not known yet" in words
    assert "cpu 1 of 2 busy" in words
    assert "Not known yet" not in (await look(client, "/acme/shop")).words


async def test_the_overview_says_since_when_it_is_red_and_how_flows_stand(
    client: Client, scene: Scene
) -> None:
    scene.engine.declared = [Project("acme/shop", lambda _: {}, dashboards=["rounding"])]
    before = replace(scene.green, updated=NOW - timedelta(hours=5))
    first = replace(scene.red, head=before.head, updated=NOW - timedelta(hours=3))
    ids = [CommitId(ObjectId(f"{number:040x}")) for number in range(3)]
    scene.engine.histories[scene.red.target] = [
        Change(commit, state) for commit, state in zip(ids, [scene.red, first, before], strict=True)
    ]
    flow = Target(FLOWS, "flow", "published-docs")
    job = JobState("publish", Status.SUCCESS, "holds what main says")
    scene.engine.flowing = [TargetState(flow, jobs=(job,), updated=NOW)]
    words = (await look(client, "/")).words
    assert words.count("red since 3 h ago") == 2  # of the branch, and where it needs attention
    assert "passed published-docs holds what main says" in words


async def test_without_pools_their_page_says_where_they_come_from(client: Client) -> None:
    assert "No pool is in use." in (await look(client, "/pools")).words
