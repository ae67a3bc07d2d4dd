"""The past of a real engine: what was shown at a moment is shown again, over every back end."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given, settings
from hypothesis import strategies as st

from datakit_ci.acl import Rights, Rules, everyone, username
from datakit_ci.dashboard import create_app
from datakit_ci.dashboard.app import Access
from datakit_ci.dashboard.rendering import path_of
from datakit_ci.dashboard.scope import SOURCE
from datakit_ci.dashboard.source import Source
from datakit_ci.dashboard.visitor import CSRF_FIELD
from datakit_ci.engine import Engine
from datakit_ci.instant import print_instant
from datakit_ci.metadata import BRANCH
from datakit_ci.outcome import Outcome
from datakit_ci.past import Past
from datakit_ci.state import BuildId, BuildState, Status, TargetState
from datakit_ci.target import Target
from tests.support.branches import commit_files
from tests.support.executors import holding
from tests.support.fake_engine import FakeEngine
from tests.support.html import Page, read_page
from tests.support.timed_world import DOCS, LINT, UNIT, red_then_green, timed_world
from tests.support.visitors import everything, sign_in
from tests.support.world import MAIN, OTHER, World, in_turn, job, settled_at, stands, until

Client = TestClient[web.Request, web.Application]


@pytest.fixture(params=["local", "remote"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with timed_world(tmp_path, request.param) as world:
        yield world


@dataclass(frozen=True, slots=True)
class Shown:
    """All that pages can tell at a moment."""

    targets: Mapping[Target, TargetState]
    builds: Mapping[BuildId, tuple[object, ...]]
    logs: Mapping[BuildId, bytes]

    @classmethod
    async def of(cls, source: Source) -> Shown:
        # Pages learn of a change a little before it is recorded, and commits know whole seconds.
        targets = {state.target: replace(state, updated=None) for state in source.targets()}
        names = {
            build
            for state in targets.values()
            for build in (
                *(build for job in state.jobs for build in job.builds),
                *(node.build for node in state.graph if node.build is not None),
            )
        }
        builds: dict[BuildId, tuple[object, ...]] = {}
        logs: dict[BuildId, bytes] = {}
        for name in names:
            build = await source.build(name)
            assert build is not None
            builds[name] = facts(build)
            if build.status.is_final:
                logs[name] = b"".join([piece async for piece in source.follow_log(name)])
        return cls(targets, builds, logs)


def facts(build: BuildState) -> tuple[object, ...]:
    """What is recorded of a build; of one under way it is not recorded when it began."""
    if not build.status.is_final:
        return (build.status,)
    return build.status, build.reason, build.input, build.output, build.started, build.finished


async def remember(world: World, engine: Engine, moments: dict[datetime, Shown]) -> None:
    """Note what is shown now, a minute before anything else happens."""
    moments[world.clock.now().replace(microsecond=0)] = await Shown.of(engine)
    world.clock.advance(minutes=1)


async def until_recorded(world: World, message: str) -> None:
    """Wait until the history of the main branch says so."""
    async for head in world.database.watch_head(MAIN.status_branch):
        if head is not None and message in (await world.database.commit(head)).message:
            return


async def at(past: Past, moment: datetime) -> Shown:
    state = await past.at(moment)
    assert state is not None
    return await Shown.of(state)


async def test_every_moment_is_shown_as_it_was(world: World) -> None:
    """A run, a failure, a repair, a second branch, and a branch that goes."""
    moments: dict[datetime, Shown] = {}
    world.executor.behaviours["unit"] = in_turn(
        Outcome(), Outcome(failure="2 tests failed"), Outcome()
    )
    async with world.engine(LINT, UNIT, DOCS) as engine:
        for content in (b"1", b"2", b"3"):
            await settled_at(engine, await world.commit({"a": content}))
            await remember(world, engine, moments)
        await settled_at(engine, await world.commit({"a": b"3"}, OTHER), OTHER)
        await remember(world, engine, moments)
        await commit_files(world.database, BRANCH, {f"{MAIN.path}/head": None})
        await until(engine, lambda: engine.target(MAIN) is None)
        await remember(world, engine, moments)
    past = Past(world.database)
    for moment, shown in moments.items():
        assert await at(past, moment) == shown
    statuses = [
        {target.name: state.status.value for target, state in shown.targets.items()}
        for shown in moments.values()
    ]
    assert statuses == [
        {"main": "success"},
        {"main": "failure"},
        {"main": "success"},
        {"main": "success", "other": "success"},
        {"other": "success"},
    ]


async def test_what_waited_or_ran_is_shown_so(world: World) -> None:
    moments: dict[datetime, Shown] = {}
    gate = asyncio.Event()
    world.executor.behaviours["lint"] = holding(gate)
    async with world.engine(LINT, UNIT, DOCS) as engine:
        await world.commit({"a": b"1"})
        await until(engine, stands(engine, "lint", Status.RUNNING))
        running = job(engine, "lint").builds[-1]
        await until_recorded(world, "lint: running")
        await remember(world, engine, moments)
        gate.set()
        await until(engine, stands(engine, "unit", Status.SUCCESS))
        await engine.idle()
        await remember(world, engine, moments)
    past = Past(world.database)
    for moment, shown in moments.items():
        assert await at(past, moment) == shown
    first = await past.at(next(iter(moments)))
    assert first is not None
    assert [piece async for piece in first.watch_log(running)] == []
    why = await first.why_build(running)
    assert why is not None
    assert why.verdict.value == "runs"


_steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([MAIN, OTHER]), st.binary(max_size=1)),
        st.tuples(st.sampled_from([MAIN, OTHER]), st.none()),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=8, deadline=None)
@given(_steps)
async def test_random_histories_are_shown_as_they_were(
    steps: list[tuple[Target, bytes | None]],
) -> None:
    moments: dict[datetime, Shown] = {}
    with tempfile.TemporaryDirectory() as directory:
        async with timed_world(Path(directory)) as world:

            async def unit(request: Any, log: Any) -> Outcome:
                failed = int(request.input[:2], 16) % 2
                return Outcome(failure="odd" if failed else None)

            world.executor.behaviours["unit"] = unit
            async with world.engine(LINT, UNIT, DOCS) as engine:
                for target, content in steps:
                    if content is not None:
                        await settled_at(engine, await world.commit({"a": content}, target), target)
                    elif engine.target(target) is not None:
                        await commit_files(world.database, BRANCH, {f"{target.path}/head": None})
                        await until(engine, lambda t=target: engine.target(t) is None)  # type: ignore[misc]
                        await engine.idle()
                    if engine.targets():
                        await remember(world, engine, moments)
            past = Past(world.database)
            for moment, shown in moments.items():
                assert await at(past, moment) == shown


@dataclass
class Tour:
    """A site over a database whose main branch failed once, and was repaired."""

    client: Client
    world: World
    red: datetime
    green: datetime
    broken: BuildId

    async def look(self, path: str, at: str = "", status: int = 200) -> Page:
        """Fetch a page, and check what holds for every page."""
        query = {"at": at} if at else {}
        async with self.client.get(path, params=query, allow_redirects=False) as response:
            text = await response.text()
            assert response.status == status, text
        page = read_page(text)
        assert (page.broken, page.scripted) == ([], [])
        assert sorted(page.ids) == sorted(set(page.ids))
        return page


@pytest.fixture
async def tour(tmp_path: Path) -> AsyncIterator[Tour]:
    async with timed_world(tmp_path) as world, _tour(world) as tour:
        yield tour


@asynccontextmanager
async def _tour(world: World) -> AsyncIterator[Tour]:
    async with red_then_green(world) as (engine, red, green, broken):
        app = create_app(engine, now=world.clock.now, past=Past(world.database))
        async with TestClient(TestServer(app)) as client:
            yield Tour(client, world, red, green, broken)


async def test_pages_of_the_past_say_so_and_lead_on_in_the_past(tour: Tour) -> None:
    now = await tour.look("/me/app/ref/heads/main")
    assert "All 3 jobs passed" in now.words
    assert "past" not in now.ids
    red = print_instant(tour.red)
    page = await tour.look("/me/app/ref/heads/main", red)
    assert "2 tests failed" in page.words
    assert "2026-03-04 12:00:00 UTC, 3 days ago" in page.words
    inner = [link for link in page.links if link.startswith("/") and "/static/" not in link]
    away = [link for link in inner if "at=" not in link]
    assert away == ["/me/app/ref/heads/main"]  # back to now
    assert f"{path_of('build', tour.broken.path)}?at={red}" in inner
    assert f"/me/app?at={red}" in inner


@pytest.mark.parametrize("path", ["/", "/me/app", "/?state=failing&q=main"])
async def test_every_page_can_be_seen_as_of_then(tour: Tour, path: str) -> None:
    async with tour.client.get(path, params={"at": print_instant(tour.red)}) as response:
        text = await response.text()
    assert response.status == 200
    assert "2 tests failed" in text
    assert f'<input type="hidden" name="at" value="{print_instant(tour.red)}">' in text


async def test_a_build_is_shown_with_its_log_and_not_before_it_was(tour: Tour) -> None:
    address = path_of("build", tour.broken.path)
    page = await tour.look(address, print_instant(tour.red))
    assert "unit runs" in page.words
    async with tour.client.get(f"{address}/log.txt", params={"at": "2026-03-04"}) as response:
        assert await response.text() == "unit runs\n"


async def test_one_goes_from_change_to_change(tour: Tour) -> None:
    path, at, seen = "/me/app/ref/heads/main", print_instant(tour.green), []
    while at:
        page = await tour.look(path, at)
        seen.append("2 tests failed" in page.words)
        links = [link for link in page.links if link.startswith(f"{path}?at=") and at not in link]
        earlier = [link for link in links if link < f"{path}?at={at}"]
        at = earlier[0].partition("at=")[2] if earlier else ""
    assert seen[0] is False
    assert seen[-1] is True
    page = await tour.look(path, print_instant(tour.red))
    assert any(link > f"{path}?at={print_instant(tour.red)}" for link in page.links)


async def test_a_commit_of_a_state_stands_for_its_time(tour: Tour) -> None:
    database, main = tour.world.database, MAIN.status_branch
    head = await database.head(main)
    assert head is not None
    states = [commit async for commit in database.history(head)]
    page = await tour.look("/", states[-1].id)
    assert "2026-03-04 12:00:00 UTC" in page.words
    page = await tour.look("/", head.upper())
    assert "2026-03-07 12:00:00 UTC" in page.words
    source = await database.head("source-main")
    assert source is not None
    for unknown in (source, "ab" * 20):
        page = await tour.look("/", unknown, 404)
        assert "no commit of a branch that records states" in page.words


async def test_impossible_moments_are_explained(tour: Tour) -> None:
    page = await tour.look("/", "2026-03-01", 404)
    assert "what is known begins at 2026-03-04T12:00:00Z" in page.words
    page = await tour.look("/", "2027-01-01", 400)
    assert "is in the future; it is 2026-03-07T" in page.words
    for rubbish in ("yesterday", "<b>", "\0", "1" * 5000):
        page = await tour.look("/", rubbish, 400)
        assert "is no moment; write a time such as" in page.words
    await tour.look("/me/app/ref/heads/gone", print_instant(tour.red), 404)
    await tour.look("/?at=", "", 200)


async def test_who_may_not_see_a_project_now_does_not_see_its_past(tour: Tour) -> None:
    hidden = Rules(service=Rights(read=everyone), others=Rights(read=everyone))
    hidden = replace(hidden, projects={"me/app": Rights(read=username("ann"))})
    assert tour.client.app is not None
    past = Past(tour.world.database)
    app = create_app(tour.client.app[SOURCE], past=past, access=Access(rules=lambda: hidden))
    red = {"at": print_instant(tour.red)}
    async with TestClient(TestServer(app)) as client:
        async with client.get("/", params=red) as response:
            assert "me/app" not in await response.text()
        for path in ("/me/app", path_of("build", tour.broken.path), "/me/app/ref/heads/main"):
            async with client.get(path, params=red) as response:
                assert response.status == 404
                assert "2 tests failed" not in await response.text()


async def test_without_a_database_there_is_no_past(tour: Tour) -> None:
    engine = tour.client.app
    assert engine is not None
    app = create_app(engine[SOURCE])
    async with TestClient(TestServer(app)) as client, client.get("/?at=2026-03-04") as response:
        assert response.status == 404
        assert "no database here" in await response.text()


async def test_logging_in_is_of_the_present(tour: Tour) -> None:
    async with tour.client.get("/login?at=2026-03-05") as response:
        text = await response.text()
    assert response.status == 200
    assert 'id="past"' not in text


async def test_the_past_cannot_be_changed(tour: Tour) -> None:
    path, red = "/me/app/ref/heads/main", {"at": print_instant(tour.red)}
    assert tour.client.app is not None
    controls = FakeEngine()
    app = create_app(
        tour.client.app[SOURCE],
        past=Past(tour.world.database),
        access=Access(rules=everything),
        controls=controls,
    )
    async with TestClient(TestServer(app)) as client:
        form = {CSRF_FIELD: await sign_in(client, "root")}
        for query, has_forms in ({}, True), (red, False):
            async with client.get(path, params=query) as response:
                assert ('method="post"' in await response.text()) is has_forms
        async with client.post(f"{path}/rebuild", params=red, data=form) as response:
            assert response.status == 400
            assert "The past cannot be changed" in await response.text()
        assert controls.commands == []


async def test_the_next_request_of_a_connection_is_about_now(tour: Tour) -> None:
    for _ in range(3):
        assert "past" in (await tour.look("/", "2026-03-05")).ids
        assert "past" not in (await tour.look("/")).ids
        assert "past" in (await tour.look("/nothing/here", "2026-03-05", 404)).ids
        assert "past" not in (await tour.look("/nothing/here", "", 404)).ids
