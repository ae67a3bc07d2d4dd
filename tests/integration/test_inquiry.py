"""Why builds ran, told from what is recorded, where there is very much of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from datakit_ci import inquiry
from datakit_ci.archive import Archive
from datakit_ci.cache import Cache, Finished
from datakit_ci.inquiry import Inquiry
from datakit_ci.meta import Meta
from datakit_ci.need import Build
from datakit_ci.outcome import Outcome
from datakit_ci.spec import StageKind, StageSpec
from datakit_ci.state import BuildId
from datakit_core.client.local import LocalDatabase
from datakit_core.store import Durability, Store
from tests.support.results import NOW


class World:
    """A database with results of one stage, each of another input."""

    def __init__(self, database: LocalDatabase, log: Path) -> None:
        self.database, self._cache, self._log = database, Cache(database), log
        log.touch()
        self._made = 0

    async def make(self, fingerprint: str = "f") -> BuildId:
        """Record the next result."""
        self._made += 1
        tree = await self.database.import_tree({"a": str(self._made).encode()})
        spec = StageSpec(
            name="unit", kind=StageKind.SHELL, fingerprint=fingerprint * 64, command="make"
        )
        need, now = Build("me/app", spec, tree), NOW + timedelta(minutes=self._made)
        build = await self._cache.name(need)
        meta = Meta(spec.command, tree, now, now, now, "none")
        await self._cache.record(Finished(need, build, Outcome(None, tree), meta, self._log))
        return build

    async def before(self, build: BuildId) -> BuildId | None:
        """The result with which a build is compared to say why it ran."""
        found = await Inquiry(self.database, Archive(self.database)).build(build)
        assert found is not None
        return found.before


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    path = tmp_path / "db.git"
    async with Store.open(path, create=True, durability=Durability.RELAXED) as store:
        yield World(LocalDatabase(store), tmp_path / "log")


async def test_a_build_is_compared_with_the_result_before_it_among_hundreds(world: World) -> None:
    builds = [await world.make() for _ in range(230)]
    assert await world.before(builds[-1]) == builds[-2]
    assert await world.before(builds[100]) == builds[99]
    assert await world.before(builds[0]) is None


async def test_a_build_of_long_ago_is_compared_with_some_result_before_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    builds = [await world.make() for _ in range(9)]
    monkeypatch.setattr(inquiry, "_NEAR", 3)
    assert await world.before(builds[7]) == builds[6]
    assert await world.before(builds[4]) in builds[:4]
    assert await world.before(builds[0]) is None


async def test_a_build_is_not_compared_with_another_version_of_its_stage(world: World) -> None:
    old = [await world.make("a") for _ in range(2)]
    new = [await world.make("b") for _ in range(2)]
    assert await world.before(new[1]) == new[0]
    assert await world.before(new[0]) is None
    assert await world.before(old[1]) == old[0]
