"""Commands that other programs leave in the database, and the engine that carries them out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from datakit_ci import shell
from datakit_ci.asking import ask, leave
from datakit_ci.control import Cancel, Confirm, Pause, Rebuild, Resume
from datakit_ci.docket import BRANCH
from datakit_ci.errands import Answer, errand_path
from datakit_ci.ledger import read_target, recorded_targets
from datakit_ci.outcome import Outcome
from datakit_ci.state import Status
from datakit_ci.target import Target
from datakit_core.errors import NoEntry
from tests.support.branches import commit_files, files_of, messages_of
from tests.support.databases import BACK_ENDS
from tests.support.executors import holding
from tests.support.world import MAIN, World, build, job, stands, until

PATIENCE = 50.0
"""Seconds; a test that waits so long has failed."""


@pytest.fixture(params=["local", "remote"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with BACK_ENDS[request.param](tmp_path / "db.git") as database:
        world = World(database, tmp_path)
        await world.commit({"a": b"a"})
        yield world


async def test_a_rebuild_is_done_once_and_answered_with_its_user_in_the_commit(
    world: World,
) -> None:
    async with world.engine(shell("unit", "unit")) as engine:
        await engine.idle()
        answer = await ask(world.database, Rebuild("alice", MAIN, "unit"), PATIENCE)
        assert answer.is_done
        assert answer.text.startswith("rebuild unit of me/app")
        await world.executor.until(lambda: len(world.executor.requests) == 2)
        await engine.idle()
        assert (await build(engine, "unit")).details["rebuilt by"] == "alice"
    messages = await messages_of(world.database, "results/me-app/unit")
    assert messages[0].endswith("\n\nRebuild by alice")
    said = await messages_of(world.database, BRANCH)
    assert any(m.startswith("Rebuild unit") and "By: alice" in m for m in said)
    assert not [path for path in await files_of(world.database, BRANCH) if "asked" in path]
    async with world.engine(shell("unit", "unit")) as engine:
        await engine.idle()
    assert len(world.executor.requests) == 2


async def test_cancel_reaches_a_running_build(world: World) -> None:
    world.executor.behaviours["unit"] = holding(asyncio.Event())
    async with world.engine(shell("unit", "unit")) as engine:
        await world.executor.until(lambda: world.executor.running == ["unit"])
        answer = await ask(world.database, Cancel("alice", MAIN, "unit"), PATIENCE)
        assert answer.is_done
        await until(engine, stands(engine, "unit", Status.CANCELLED, "cancelled by alice"))
        assert world.executor.cancelled == ["unit"]


async def test_a_job_is_confirmed_by_its_name(world: World) -> None:
    stages = shell("unit", "unit"), shell("deploy", "deploy", level="dangerous")
    async with world.engine(*stages) as engine:
        await engine.idle()
        answer = await ask(world.database, Confirm("alice", MAIN, "unit"), PATIENCE)
        assert answer == Answer(False, "me/app/ref/heads/main does not wait for confirmation")
        assert (await ask(world.database, Confirm("alice", MAIN, "deploy"), PATIENCE)).is_done
        await until(engine, stands(engine, "deploy", Status.SUCCESS))
        assert (await build(engine, "deploy")).details["confirmed by"] == "alice"


async def test_a_command_waits_for_the_next_engine(world: World) -> None:
    async with world.engine(shell("unit", "unit")) as engine:
        await engine.idle()
    await leave(world.database, Rebuild("alice", MAIN))
    async with world.engine(shell("unit", "unit")) as engine:
        await world.executor.until(lambda: len(world.executor.requests) == 2)
        await engine.idle()
    async with world.engine(shell("unit", "unit")) as engine:
        await engine.idle()
    assert len(world.executor.requests) == 2


async def test_a_pause_is_resumed_and_a_second_one_refused_in_words(world: World) -> None:
    async with world.engine(shell("unit", "unit")) as engine:
        assert await ask(world.database, Pause("alice", "me/app"), PATIENCE) == Answer(
            True, "paused me/app"
        )
        answer = await ask(world.database, Pause("bob", "me/app"), PATIENCE)
        assert answer == Answer(False, "me/app is paused already, by alice")
        assert (await ask(world.database, Resume("bob", "me/app"), PATIENCE)).is_done
        await until(engine, stands(engine, "unit", Status.SUCCESS))


@pytest.mark.parametrize("project", ["me/app", "you/other"])
async def test_without_an_engine_of_the_project_the_command_is_taken_back(
    world: World, project: str
) -> None:
    async def nobody_answers() -> None:
        with pytest.raises(NoEntry, match="no engine is watching this database"):
            await ask(world.database, Pause("alice", project), 0.1)
        assert await files_of(world.database, BRANCH) == {}

    if project == "me/app":
        await nobody_answers()
    else:
        async with world.engine(shell("unit", "unit")):
            await nobody_answers()


async def test_whoever_stops_waiting_takes_the_command_back(world: World) -> None:
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(ask(world.database, Pause("alice", "me/app"), PATIENCE))
        async for head in world.database.watch_head(BRANCH):
            if head is not None:
                break
        waiting.cancel()
    assert await files_of(world.database, BRANCH) == {}


async def test_damaged_commands_are_refused_and_stop_nobody(world: World) -> None:
    files = {errand_path("1"): b"nonsense", errand_path("2/deep"): b"x"}
    await commit_files(world.database, BRANCH, {**files})
    async with world.engine(shell("unit", "unit")) as engine:
        await engine.idle()
        answer = await ask(world.database, Rebuild("alice", MAIN), PATIENCE)
        assert answer.is_done
    left = await files_of(world.database, BRANCH)
    assert "damaged command" in left["answered/1"]
    assert errand_path("1") not in left


async def test_only_the_newest_answers_are_kept(world: World) -> None:
    old = {f"answered/{number:03}": b"{}" for number in range(60)}
    await commit_files(world.database, BRANCH, {**old})
    async with world.engine(shell("unit", "unit")):
        await ask(world.database, Pause("alice", "me/app"), PATIENCE)
    kept = [path for path in await files_of(world.database, BRANCH) if "answered" in path]
    assert len(kept) == 50
    assert "answered/010" not in kept
    assert "answered/011" in kept


async def test_the_ledger_says_where_jobs_stand_without_an_engine(world: World) -> None:
    world.executor.behaviours["two"] = holding(_set(), Outcome(failure="no", exit_status=1))
    async with world.engine(shell("one", "1"), shell("two", "2"), shell("three", "3")) as engine:
        await engine.idle()
        expected = [job(engine, name) for name in ("one", "two", "three")]
    assert await recorded_targets(world.database) == [MAIN]
    state = await read_target(world.database, MAIN)
    assert state is not None
    assert sorted(state.jobs, key=lambda each: each.name) == sorted(
        expected, key=lambda each: each.name
    )
    assert state.status is Status.FAILURE
    assert await read_target(world.database, Target("me/app", "heads", "none")) is None


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event
