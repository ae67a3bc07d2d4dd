"""What pull requests are called: read beside their heads, shown wherever they are, also later."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from datakit_ci.dashboard import create_app
from datakit_ci.engine import Engine
from datakit_ci.heads import read_title
from datakit_ci.metadata import BRANCH
from datakit_ci.past import Past
from datakit_ci.state import TargetState
from datakit_ci.target import Target
from tests.support.branches import commit_files
from tests.support.timed_world import LINT, timed_world
from tests.support.world import MAIN, World, settled_at, until

PULL = Target("me/app", "pr", "7")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with timed_world(tmp_path) as world:
        await commit_files(
            world.database, BRANCH, {f"{PULL.path}/fork": b"false\n", f"{PULL.path}/state": b"open"}
        )
        yield world


async def entitle(world: World, title: bytes | None) -> None:
    await commit_files(world.database, BRANCH, {f"{PULL.path}/title": title})


def shown(engine: Engine) -> TargetState:
    state = engine.target(PULL)
    assert state is not None
    return state


async def called(engine: Engine, title: str) -> None:
    """Wait until the pull request is called so."""
    await until(engine, lambda: shown(engine).title == title)


async def words(client: TestClient[web.Request, web.Application], path: str) -> str:
    async with client.get(path) as response:
        assert response.status == 200, path
        return await response.text()


async def test_a_title_is_shown_follows_its_changes_and_is_remembered(world: World) -> None:
    await entitle(world, b"Sell <ink>\n")
    async with world.engine(LINT) as engine:
        await settled_at(engine, await world.commit({"a": b"1"}, PULL), PULL)
        first, builds = world.clock.now(), shown(engine).jobs[0].builds
        assert (shown(engine).title, shown(engine).subject) == ("Sell <ink>", "A change")
        world.clock.advance(minutes=1)
        await entitle(world, b"Sell ink\n and pens")
        await called(engine, "Sell ink and pens")
        await engine.idle()
        assert shown(engine).jobs[0].builds == builds  # nothing is run again for it
        world.clock.advance(minutes=1)
        await settled_at(engine, await world.commit({"a": b"2"}, PULL), PULL)
        assert shown(engine).title == "Sell ink and pens"
        app = create_app(engine, past=Past(world.database), now=world.clock.now)
        async with TestClient(TestServer(app)) as client:
            for path in ("/", "/pr", "/me/app", f"/{PULL.path}"):
                assert "Sell ink and pens" in await words(client, path), path
            assert PULL.path in (await words(client, "/pr?q=pens")).partition("<main")[2]
            then = first.strftime("?at=%Y-%m-%dT%H:%M:%SZ")
            page = await words(client, f"/{PULL.path}{then}")
            assert "Sell &lt;ink&gt;" in page
            assert "pens" not in page


async def test_no_title_is_no_trouble(world: World) -> None:
    async with world.engine(LINT) as engine:
        await settled_at(engine, await world.commit({"a": b"1"}, PULL), PULL)
        assert (shown(engine).title, shown(engine).headline) == ("", "A change")
        await entitle(world, b"Now it has one")
        await called(engine, "Now it has one")
        await entitle(world, None)
        await called(engine, "")


@pytest.mark.parametrize(
    ("title", "expected"),
    [(b"\xe9t\xe9\n", "\udce9t\udce9"), (b"x" * 1000, "x" * 256), (b" \n", ""), (None, "")],
)
async def test_titles_are_one_short_line(world: World, title: bytes | None, expected: str) -> None:
    if title is not None:
        await entitle(world, title)
    head = await world.database.head(BRANCH)
    assert await read_title(world.database, head, PULL) == expected
    assert await read_title(world.database, None, PULL) == ""
    assert await read_title(world.database, head, MAIN) == ""


async def test_a_directory_is_no_title(world: World) -> None:
    await commit_files(world.database, BRANCH, {f"{PULL.path}/title/x": b"x"})
    assert await read_title(world.database, await world.database.head(BRANCH), PULL) == ""
