"""A head that moves elsewhere than a stage looks: the stage goes on to ask for the same build."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from datakit_ci import PlainTree, shell, stage
from datakit_ci.control import Confirm, Rebuild
from datakit_ci.executors.base import BuildRequest
from datakit_ci.outcome import Outcome
from datakit_ci.process import Sink
from datakit_ci.question import Question, QuestionKind
from datakit_ci.state import Status
from datakit_core.client.api import CommitId, TreeId
from tests.support.databases import BACK_ENDS
from tests.support.world import MAIN, World, build, job, settled_at

pytestmark = pytest.mark.usefixtures("nonblocking")

STAGE = shell("stage", "true", inputs=["src"])


@stage
def reader(source: PlainTree) -> dict[str, bytes]:
    return {"copy": source.read("src/a")}


SOURCE = {"src/a": b"1", "docs/b": b"1"}


@pytest.fixture(params=BACK_ENDS)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with BACK_ENDS[request.param](tmp_path / "db.git") as database:
        yield World(database, tmp_path)


async def tree_at(world: World, head: CommitId) -> TreeId:
    return (await world.database.commit(head)).tree


def looked_up(world: World) -> int:
    return sum(histogram.count for histogram in world.tally.lookups.values())


async def test_what_a_stage_cannot_see_costs_no_look_up(world: World) -> None:
    await world.commit(SOURCE)
    async with world.engine(STAGE) as engine:
        await engine.idle()
        first, before = await build(engine, "stage"), looked_up(world)
        head = await world.commit(SOURCE | {"docs/b": b"2", "new/c": b"1"})
        await settled_at(engine, head)
        assert await build(engine, "stage") == first
        assert looked_up(world) == before
        assert job(engine, "stage").status is Status.SUCCESS
        head = await world.commit(SOURCE | {"src/new": b"1"})
        await settled_at(engine, head)
        assert (await build(engine, "stage")).id != first.id
        assert looked_up(world) == before + 1
    assert len(world.executor.requests) == 2


@pytest.mark.parametrize("restarted", [False, True])
async def test_what_a_function_did_not_ask_for_costs_no_look_up(
    world: World, restarted: bool
) -> None:
    async def read(request: BuildRequest, log: Sink) -> Outcome:
        return Outcome(questions=(Question(QuestionKind.FILE, "src/a"),))

    world.executor.behaviours["reader"] = read
    await world.commit(SOURCE)
    if restarted:
        async with world.engine(reader) as engine:
            await engine.idle()
    async with world.engine(reader) as engine:
        await engine.idle()
        first, before = await build(engine, "reader"), looked_up(world)
        head = await world.commit({"docs/b": b"2", "src/new": b"1"})
        await settled_at(engine, head)
        assert await build(engine, "reader") == first
        assert looked_up(world) == before
        await settled_at(engine, await world.commit({"src/a": b"2"}))
        assert looked_up(world) == before + 1
    assert len(world.executor.requests) == 2


async def test_a_rebuild_runs_on_the_tree_that_is_there_now(world: World) -> None:
    old = await world.commit(SOURCE)
    async with world.engine(STAGE) as engine:
        await engine.idle()
        first = await build(engine, "stage")
        head = await world.commit(SOURCE | {"docs/b": b"2"})
        await settled_at(engine, head)
        await engine.control(Rebuild("ann", MAIN, job="stage"))
        await engine.idle()
        second = await build(engine, "stage")
        assert first.id == second.id
        assert [first.input, second.input] == [
            await tree_at(world, old),
            await tree_at(world, head),
        ], "the old one may be gone by then"
    assert [request.input for request in world.executor.requests] == [first.input, second.input]


async def test_what_waited_for_a_person_runs_on_the_tree_that_is_there_now(world: World) -> None:
    await world.commit(SOURCE)
    async with world.engine(shell("deploy", "true", inputs=["src"], level="dangerous")) as engine:
        await engine.idle()
        head = await world.commit(SOURCE | {"docs/b": b"2"})
        await settled_at(engine, head)
        await engine.control(Confirm("ann", job(engine, "deploy").builds[-1]))
        await engine.idle()
        assert job(engine, "deploy").status is Status.SUCCESS
    assert [request.input for request in world.executor.requests] == [await tree_at(world, head)]


async def test_what_two_moves_leave_alone_and_a_third_does_not_runs_then(world: World) -> None:
    files = dict(SOURCE)
    await world.commit(files)
    async with world.engine(STAGE) as engine:
        await engine.idle()
        for path, runs in ("docs/b", 1), ("docs/c", 1), ("src/a", 2), ("docs/b", 2), ("src/a", 3):
            files[path] = files.get(path, b"") + b"more"
            await settled_at(engine, await world.commit(files))
            assert len(world.executor.requests) == runs, path
