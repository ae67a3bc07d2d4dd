"""Results that a rule drops, on every back end, and what others do meanwhile."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from datakit_ci import Config, Project, Retention
from datakit_ci.cache import Cache
from datakit_ci.docket import Docket, build_path
from datakit_ci.need import Build
from datakit_ci.outcome import Outcome
from datakit_ci.pruning import Pruner
from datakit_ci.results import Results
from datakit_ci.rulings import Ruling
from datakit_ci.spec import StageKind, StageSpec
from datakit_ci.state import BuildId
from datakit_core.client.api import Database
from datakit_core.client.local import LocalDatabase
from tests.support.branches import files_of, messages_of
from tests.support.databases import BACK_ENDS
from tests.support.git import git
from tests.support.results import NOW, record

PROJECT = "me/app"


def spec(command: str = "make") -> StageSpec:
    return StageSpec(
        name="unit",
        kind=StageKind.SHELL,
        fingerprint=hashlib.sha256(command.encode()).hexdigest(),
        command=command,
        inputs=("src",),
    )


def config(rule: Retention | None) -> Config:
    return Config(projects=[Project(PROJECT, lambda target: {}, retention=rule)])


@pytest.fixture(params=["local", "remote"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    async with BACK_ENDS[request.param](tmp_path / "db.git") as database:
        yield database


async def _record(
    database: Database, log: Path, numbers: Sequence[int], command: str = "make"
) -> list[tuple[Build, BuildId]]:
    """Results that get older by a day with each number."""
    made = []
    for number in numbers:
        given = await database.import_tree({"src/a": f"{number}".encode()})
        need = Build(PROJECT, spec(command), given)
        finished = NOW - timedelta(days=number)
        output = await database.import_tree({"out": f"{command} {number}".encode()})
        made.append(
            (need, await record(Cache(database), need, Outcome(output=output), log, finished))
        )
    return made


def pruner(database: Database, wanted: Sequence[BuildId] = ()) -> Pruner:
    forgetful = database if isinstance(database, LocalDatabase) else None
    return Pruner(database, lambda: wanted, forgetful=forgetful, now=lambda: NOW)


async def test_what_the_rule_does_not_keep_is_gone_and_runs_again(
    database: Database, tmp_path: Path
) -> None:
    made = await _record(database, tmp_path / "log", range(5))
    old = await _record(database, tmp_path / "log", [9], "make old")
    shown = made[4][1]
    assert await pruner(database, [shown]).prune(config(Retention(days=2.5))) == 2

    cache = Cache(database)
    found = [await cache.find(need) for need, _ in [*made, *old]]
    assert [state and state.id for state in found] == [
        *(build for _, build in made[:3]),
        None,
        shown,
        None,
    ]
    files = await files_of(database, shown.branch)
    assert not any(made[3][1].key in path + text for path, text in files.items())
    assert not any(old[0][1].static in path for path in files), "nothing of that code is left"
    assert len([path for path in files if path.endswith("/result")]) == 4

    await _record(database, tmp_path / "log", [3])
    again = await cache.find(made[3][0])
    assert again is not None
    assert again.id == made[3][1]


async def test_history_is_let_go_of_and_the_repository_is_whole(
    database: Database, tmp_path: Path
) -> None:
    await _record(database, tmp_path / "log", range(3))
    (branch,) = await database.branches()
    assert len(await messages_of(database, branch)) == 3
    await pruner(database).prune(config(Retention(keep=1)))
    messages = await messages_of(database, branch)
    if isinstance(database, LocalDatabase):
        assert messages == ["unit: 1 results are kept"]
    else:
        assert messages[0] == "unit: drop 2 of 3 results"
        assert len(messages) == 4, "who serves the database has its history"
    git(tmp_path / "db.git", "fsck", "--full", "--strict")


async def test_without_anything_to_drop_there_is_no_commit(
    database: Database, tmp_path: Path
) -> None:
    await _record(database, tmp_path / "log", range(3))
    before = await database.branches()
    for rule in (None, Retention(), Retention(days=3, keep=3)):
        assert await pruner(database).prune(config(rule)) == 0
    other = Config(projects=[Project("you/lib", lambda target: {})], retention=Retention(keep=0))
    assert await pruner(database).prune(other) == 0
    assert await database.branches() == before


async def test_results_that_are_recorded_meanwhile_are_kept(
    database: Database, tmp_path: Path
) -> None:
    await _record(database, tmp_path / "log", range(6))
    async with asyncio.TaskGroup() as group:
        for round_ in range(4):
            log = tmp_path / f"log{round_}"
            group.create_task(_record(database, log, [0], f"make {round_}"))
            group.create_task(pruner(database).prune(config(Retention(days=1))))
    await pruner(database).prune(config(Retention(days=1)))
    states = await Results(database).newest(PROJECT)
    assert len(states) == 2 + 4
    assert {state.command for state in states} == {"make", *(f"make {n}" for n in range(4))}


async def test_who_reads_an_older_commit_goes_on_reading_it(
    database: Database, tmp_path: Path
) -> None:
    made = await _record(database, tmp_path / "log", range(2))
    head = await database.head(made[0][1].branch)
    assert head is not None
    await pruner(database).prune(config(Retention(keep=1)))
    tree = (await database.commit(head)).tree
    assert await database.read(tree, f"{made[1][1].directory}/value/out") == b"make 1"


async def test_old_decisions_about_builds_that_nobody_shows_are_forgotten(
    database: Database, tmp_path: Path
) -> None:
    made = await _record(database, tmp_path / "log", range(3))
    (_, old), (_, shown), (_, young) = made
    docket = Docket(database, lambda _: None)
    long_ago, lately = NOW - timedelta(days=31), NOW - timedelta(days=29)
    times = {old: long_ago, shown: long_ago, young: lately}
    files = {build_path("cancelled", build): Ruling("jo", time) for build, time in times.items()}
    await docket.write("Cancel", files)
    for _ in range(2):
        await pruner(database, [shown]).prune(config(None))
    await docket.load()
    assert docket.rulings.cancelled.keys() == {shown, young}
    assert (await messages_of(database, "control")) == ["Done", "Cancel"]
