"""Many needs, and what they share."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from datakit_ci.cache import Cache
from datakit_ci.lookups import Lookups
from datakit_ci.need import Build
from datakit_ci.outcome import Outcome
from datakit_ci.search import Finding, Search
from datakit_ci.spec import StageKind, StageSpec
from datakit_ci.state import BuildId, Status
from datakit_core.client.api import Tree, TreeId
from tests.support.memory_database import MemoryDatabase
from tests.support.results import record

SPEC = StageSpec("unit", StageKind.SHELL, "make", "0" * 64, inputs=("src",))


class World:
    """A database with results, and a search in it."""

    def __init__(self, scratch: Path) -> None:
        self.database = MemoryDatabase()
        self.cache = Cache(self.database)  # type: ignore[arg-type]  # as much as it needs
        self.search = Search(self.database, self.cache)  # type: ignore[arg-type]
        self._log = scratch / "log"

    async def need(self, source: bytes, version: bytes, spec: StageSpec = SPEC) -> Build:
        tree = await self.database.import_tree({"src/file": source, "VERSION": version})
        return Build("me/app", spec, tree)

    async def record(self, need: Build, failure: str | None = None) -> BuildId:
        return await record(self.cache, need, Outcome(failure), self._log)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_needs_that_look_alike_to_the_stage_read_the_results_once(world: World) -> None:
    build = await world.record(await world.need(b"a", b"1"))
    first = await world.search.find(await world.need(b"a", b"1"))
    other = await world.need(b"a", b"2")
    world.database.objects.reads.clear()
    again = await world.search.find(other)
    assert again is first
    assert first.build == build
    assert world.database.objects.reads == [other.input]


async def test_a_need_whose_input_differs_has_a_build_of_its_own(world: World) -> None:
    await world.record(await world.need(b"a", b"1"))
    await world.search.find(await world.need(b"a", b"1"))
    need = await world.need(b"b", b"1")
    assert await world.search.find(need) == Finding(await world.cache.name(need))


async def test_stages_that_declare_nothing_see_every_difference(world: World) -> None:
    spec = StageSpec("all", StageKind.SHELL, "make", "1" * 64)
    await world.record(await world.need(b"a", b"1", spec))
    assert (await world.search.find(await world.need(b"a", b"1", spec))).recorded is not None
    assert (await world.search.find(await world.need(b"a", b"2", spec))).recorded is None


async def test_a_result_that_came_since_is_found_after_a_refresh(world: World) -> None:
    need = await world.need(b"a", b"1")
    assert (await world.search.find(need)).recorded is None
    await world.record(need)
    assert (await world.search.find(need)).recorded is None
    world.search.refresh()
    assert (await world.search.find(need)).recorded is not None


async def test_many_needs_ask_for_all_branches_together(world: World) -> None:
    need = await world.need(b"a", b"1")
    world.search.refresh(many=True)
    assert (await world.search.find(need)).recorded is None
    build = await world.record(need)
    assert (await world.search.find(need)).recorded is None
    world.search.refresh(many=True)
    assert (await world.search.find(need)).build == build
    recorded = (await world.search.find(need)).recorded
    assert recorded is not None
    assert recorded.status is Status.SUCCESS


async def test_a_result_that_was_made_again_takes_the_place_of_the_old(world: World) -> None:
    need = await world.need(b"a", b"1")
    await world.record(need, "broken")
    found = (await world.search.find(need)).recorded
    assert found is not None
    assert found.status is Status.FAILURE
    await world.record(need)
    world.search.refresh()
    found = (await world.search.find(need)).recorded
    assert found is not None
    assert found.status is Status.SUCCESS


class SlowDatabase(MemoryDatabase):
    """A database whose trees come when it is told so."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.waiting = 0

    async def tree(self, tree: TreeId) -> Tree:
        self.waiting += 1
        await self.open.wait()
        return await super().tree(tree)


async def _needs(database: MemoryDatabase, count: int) -> list[Build]:
    return [
        Build("me/app", SPEC, await database.import_tree({"VERSION": str(number).encode()}))
        for number in range(count)
    ]


async def test_a_server_is_asked_about_a_few_needs_at_a_time() -> None:
    database = SlowDatabase()
    cache = Cache(database)  # type: ignore[arg-type]  # as much as it needs
    needs, told = await _needs(database, 50), list[Build]()
    async with asyncio.TaskGroup() as group:
        search = Search(database, cache)  # type: ignore[arg-type]
        lookups = Lookups(search, group, lambda need, _: told.append(need))
        for need in needs:
            lookups.want(need)
        for _ in range(50):
            await asyncio.sleep(0)
        assert database.waiting == 16
        lookups.drop(needs[-1])
        was_idle = lookups.idle
        database.open.set()
    assert (was_idle, lookups.idle) == (False, True)
    assert sorted(told, key=needs.index) == needs[:-1]


async def test_a_damaged_input_is_told_and_stops_nothing_else() -> None:
    database = MemoryDatabase()
    cache = Cache(database)  # type: ignore[arg-type]  # as much as it needs
    bad = Build("me/app", SPEC, TreeId("1" * 40))  # type: ignore[arg-type]  # there is no such
    (good,) = await _needs(database, 1)
    told: dict[Build, Finding | Exception] = {}
    async with asyncio.TaskGroup() as group:
        search = Search(database, cache)  # type: ignore[arg-type]
        lookups = Lookups(search, group, told.__setitem__)
        lookups.want(bad)
        lookups.want(good)
    assert isinstance(told[bad], Exception)
    assert isinstance(told[good], Finding)
