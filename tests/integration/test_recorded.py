"""What was recorded, as pages: histories, results, commits, and addresses of other tools."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from datakit_ci import shell
from datakit_ci.acl import Rights, Rules, everyone, username
from datakit_ci.dashboard import create_app
from datakit_ci.dashboard.app import Access
from datakit_ci.dashboard.days import day_name
from datakit_ci.dashboard.rendering import path_of
from datakit_ci.dashboard.scope import SOURCE
from datakit_ci.metadata import BRANCH
from datakit_ci.outcome import Outcome
from datakit_ci.past import Past
from datakit_ci.state import BuildId
from datakit_core.client.api import CommitId
from tests.support.branches import commit_files
from tests.support.databases import BACK_ENDS
from tests.support.html import Page, read_page
from tests.support.world import MAIN, OTHER, World, in_turn, job, settled_at, until

Client = TestClient[web.Request, web.Application]

LINT, UNIT = shell("lint", "lint"), shell("unit-tests/all", "unit")


@dataclass
class Tour:
    """A site over a database whose main branch failed once, and was repaired; another is gone."""

    client: Client
    world: World
    first: CommitId
    second: CommitId
    broken: BuildId
    good: BuildId

    async def look(self, path: str, status: int = 200) -> Page:
        async with self.client.get(path, allow_redirects=False) as response:
            text = await response.text()
            assert response.status == status, text
        page = read_page(text)
        assert (page.broken, page.scripted) == ([], [])
        assert sorted(page.ids) == sorted(set(page.ids))
        return page

    async def leads_to(self, path: str) -> str:
        async with self.client.get(path, allow_redirects=False) as response:
            assert response.status == 302, await response.text()
            return response.headers["Location"]


@pytest.fixture
async def tour(tmp_path: Path) -> AsyncIterator[Tour]:
    async with BACK_ENDS["local"](tmp_path / "db.git") as database:
        world = World(database, tmp_path)
        world.executor.behaviours[UNIT.name] = in_turn(Outcome(failure="2 tests failed"), Outcome())
        async with world.engine(LINT, UNIT) as engine:
            await settled_at(engine, first := await world.commit({"a": b"1"}))
            broken = job(engine, UNIT.name).builds[-1]
            files = {f"{OTHER.path}/head": f"{first}\n".encode()}
            await commit_files(database, BRANCH, files)
            await settled_at(engine, first, OTHER)
            await settled_at(engine, second := await world.commit({"a": b"2"}))
            good = job(engine, UNIT.name).builds[-1]
            await commit_files(database, BRANCH, {f"{OTHER.path}/head": None})
            await until(engine, lambda: engine.target(OTHER) is None)
            await engine.idle()
            app = create_app(engine, past=Past(database))
            async with TestClient(TestServer(app)) as client:
                yield Tour(client, world, first, second, broken, good)


async def test_a_history_has_every_change_and_leads_to_each(tour: Tour) -> None:
    target = await tour.look("/me/app/ref/heads/main")
    assert "/history/me/app/ref/heads/main" in target.links
    page = await tour.look("/history/me/app/ref/heads/main")
    assert f"/me/app/commit/{tour.first}" in page.links
    assert f"/me/app/commit/{tour.second}" in page.links
    assert path_of("build", tour.broken.path) in page.links
    assert re.search(r"What changed (Today|Yesterday)", page.words)
    moments = [link for link in page.links if link.startswith("/me/app/ref/heads/main?at=")]
    assert len(moments) >= 2
    then = await tour.look(moments[-1])
    assert "As of" in then.words


async def test_the_history_of_a_branch_that_is_gone_is_still_there(tour: Tour) -> None:
    await tour.look("/me/app/ref/heads/other", 404)
    page = await tour.look("/history/me/app/ref/heads/other")
    assert "not tested (any more)" in page.words
    await tour.look("/history/me/app/ref/heads/never", 404)
    await tour.look("/history/me/app/pr/7", 404)


@pytest.mark.parametrize("number", ["0", "-1", "x", "201", "1" * 50, "\u0661"])
async def test_impossible_pages_are_refused(tour: Tour, number: str) -> None:
    page = await tour.look(f"/history/me/app/ref/heads/main?page={number}", 400)
    assert "The page is a number from 1 to 200" in page.words


async def test_pages_beyond_the_last_are_not_there(tour: Tour) -> None:
    await tour.look("/history/me/app/ref/heads/main?page=2", 404)
    await tour.look(f"/results/me/app/{UNIT.name}?page=2", 404)


async def test_the_results_of_a_stage_are_listed_newest_first(tour: Tour) -> None:
    page = await tour.look("/results/me/app/unit-tests/all")
    builds = [link for link in page.links if link.startswith("/build/")]
    assert builds == [path_of("build", each.path) for each in (tour.good, tour.broken)]
    assert "2 tests failed" in page.words
    day = tour.world.clock.now().date()
    assert f"Took {day_name(day, datetime.now(UTC).date())}" in page.words
    assert "executor scripted" in page.words
    await tour.look("/results/me/app/nothing", 404)


async def test_a_commit_has_every_target_that_is_or_was_at_it(tour: Tour) -> None:
    page = await tour.look(f"/me/app/commit/{tour.first}")
    assert "No target is at this commit, 2 were before" in page.words
    assert path_of("build", tour.broken.path) in page.links
    assert any(link.startswith("/me/app/ref/heads/other?at=") for link in page.links)
    page = await tour.look(f"/me/app/commit/{tour.second}")
    assert "1 target is at this commit." in page.words
    assert path_of("build", tour.good.path) in page.links
    await tour.look(f"/me/app/commit/{'ab' * 20}", 404)
    await tour.look(f"/me/another/commit/{tour.first}", 404)


async def test_a_job_of_a_commit_leads_to_its_build(tour: Tour) -> None:
    test = "unit-tests/all"
    found = await tour.leads_to(f"/me/app/commit/{tour.first}?test={test}")
    assert found == path_of("build", tour.broken.path)
    found = await tour.leads_to(f"/me/app/commit/{tour.second}?test={test}")
    assert found == path_of("build", tour.good.path)
    page = await tour.look(f"/me/app/commit/{tour.first}?test=deploy", 404)
    assert "There is no job deploy of that commit" in page.words


async def test_addresses_of_other_tools_lead_to_our_pages(tour: Tour) -> None:
    results, states = tour.broken.branch, MAIN.status_branch
    database = tour.world.database
    head, state = await database.head(results), await database.head(states)
    assert head is not None
    parent = (await database.commit(head)).parents[0]
    good, broken = (path_of("build", each.path) for each in (tour.good, tour.broken))
    assert await tour.leads_to(f"/log/live/{results}") == f"{good}#end"
    assert await tour.leads_to(f"/log/saved/{results}/{head}") == good
    assert await tour.leads_to(f"/log/saved/{results}/{parent}") == broken
    assert await tour.leads_to(f"/log/live/{states}") == "/me/app/ref/heads/main"
    assert await tour.leads_to(f"/log/live/{OTHER.status_branch}") == (
        "/history/me/app/ref/heads/other"
    )
    there = await tour.leads_to(f"/log/saved/{states}/{state}")
    assert there == f"/me/app/ref/heads/main?at={state}"
    await tour.look(there)
    for gone in (
        "live/nothing",
        "live/results/me-app/none",
        "live/status-me-app-ref-heads-never",
        f"saved/{results}/{'ab' * 20}",
        f"saved/nothing/{head}",
    ):
        await tour.look(f"/log/{gone}", 404)


async def test_in_the_past_redirections_stay_there(tour: Tour) -> None:
    head = await tour.world.database.head(MAIN.status_branch)
    found = await tour.leads_to(f"/me/app/commit/{tour.second}?test=lint&at={head}")
    assert "?at=20" in found
    assert "As of" in (await tour.look(found)).words


async def test_what_is_recorded_of_a_hidden_project_stays_hidden(tour: Tour) -> None:
    hidden = Rules(
        service=Rights(read=everyone),
        projects={"me/app": Rights(read=username("ann"))},
        others=Rights(read=everyone),
    )
    app = tour.client.app
    assert app is not None
    site = create_app(app[SOURCE], access=Access(rules=lambda: hidden))
    async with TestClient(TestServer(site)) as client:
        for path in (
            "/history/me/app/ref/heads/main",
            "/results/me/app/lint",
            f"/me/app/commit/{tour.first}",
            f"/log/live/{tour.broken.branch}",
            f"/log/live/{MAIN.status_branch}",
            f"/log/saved/{MAIN.status_branch}/{await tour.world.database.head(MAIN.status_branch)}",
        ):
            async with client.get(path, allow_redirects=False) as response:
                assert response.status == 404, path
