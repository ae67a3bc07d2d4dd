"""Where targets are: what is tested of them, and who is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from pathlib import Path

import pytest

from datakit_ci.edits import Edits
from datakit_ci.heads import Heads
from datakit_ci.roster import Roster
from datakit_ci.target import Target
from datakit_ci.whereabouts import Told, Whereabouts
from datakit_core.client.api import CommitId, Database, ObjectId
from datakit_core.client.local import LocalDatabase
from tests.support.databases import open_store

MAIN, TOPIC = Target("me/app", "heads", "main"), Target("me/app", "heads", "topic")
OTHER = Target("you/app", "heads", "main")
ONE, TWO = CommitId(ObjectId("1" * 40)), CommitId(ObjectId("2" * 40))


class Said:
    """A source of heads that says what the test wants, and ends."""

    def __init__(self, *readings: Heads) -> None:
        self._readings = readings

    async def watch(self) -> AsyncIterator[Heads]:
        for heads in self._readings:
            yield heads


class World:
    """Whereabouts, and what they have told."""

    def __init__(
        self, database: Database, *readings: Heads, canaries: Collection[Target] = ()
    ) -> None:
        self.news: list[str] = []
        self.heads: list[tuple[Target, CommitId | None]] = []
        self.roster = Roster()
        told = Told(
            moved=lambda target: self.news.append(f"moved {target.path}"),
            gone=lambda watched: self.news.append(f"gone {watched.target.path}"),
            changed=lambda target: self.news.append(f"changed {target.path}"),
            head=lambda target, head: self.heads.append((target, head)),
            said=lambda _: None,
        )
        source = Said(*readings)
        self.known = Whereabouts(database, source, self.roster, canaries, told, Edits())
        self.known.projects = {"me/app"}
        self.readings = 0

    async def follow(self) -> None:
        def settled() -> None:
            self.readings += 1

        await self.known.follow(settled)

    @property
    def tested(self) -> dict[str, CommitId | None]:
        return {watched.target.path: watched.head for watched in self.roster.watched()}


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """An empty one: heads need not be there to be known."""
    async with open_store(tmp_path / "db.git") as store:
        yield LocalDatabase(store)


async def test_what_is_tested_moves_and_goes_and_the_rest_is_only_known(database: Database) -> None:
    world = World(
        database,
        Heads(ONE, {MAIN: ONE, TOPIC: ONE, OTHER: ONE}),
        Heads(TWO, {MAIN: TWO, OTHER: TWO}, frozenset({MAIN, TOPIC, OTHER}), frozenset()),
    )
    assert not world.known.is_loaded
    await world.follow()
    assert world.tested == {MAIN.path: TWO}
    assert sorted(world.news[:2]) == [f"moved {MAIN.path}", f"moved {TOPIC.path}"]
    assert sorted(world.news[2:]) == [f"gone {TOPIC.path}", f"moved {MAIN.path}"]
    assert set(world.heads) == {
        (MAIN, ONE), (TOPIC, ONE), (OTHER, ONE), (MAIN, TWO), (TOPIC, None), (OTHER, TWO),
    }  # fmt: skip
    assert (world.known.head(OTHER), world.known.head(TOPIC)) == (TWO, None)
    assert (world.known.metadata, world.known.is_loaded, world.readings) == (TWO, True, 2)


async def test_a_reading_that_says_nothing_new_moves_nothing(database: Database) -> None:
    world = World(database, Heads(ONE, {MAIN: ONE}), Heads(TWO, {MAIN: ONE}))
    await world.follow()
    assert world.news == [f"moved {MAIN.path}"]
    assert world.readings == 2


@pytest.mark.parametrize(("canaries", "tested"), [((), 2), ((TOPIC,), 1), ((OTHER,), 0)])
async def test_canaries_are_all_that_is_tested(
    database: Database, canaries: Collection[Target], tested: int
) -> None:
    world = World(database, Heads(ONE, {MAIN: ONE, TOPIC: ONE, OTHER: ONE}), canaries=canaries)
    await world.follow()
    assert len(world.tested) == tested
    assert world.known.head(MAIN) == ONE


async def test_another_pipeline_has_other_projects(database: Database) -> None:
    world = World(database, Heads(ONE, {MAIN: ONE, OTHER: TWO}))
    await world.follow()
    world.known.projects = {"you/app"}
    world.known.leave_others()
    assert world.tested == {}
    await world.known.join_new()
    assert world.tested == {OTHER.path: TWO}
    assert world.news == [f"moved {MAIN.path}", f"gone {MAIN.path}", f"moved {OTHER.path}"]
