"""Flows over a real store: what they publish, in which order, and after a restart.

Builds are scripted: a stage leaves a file with its name that names its input. The clock is the
test's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from datakit_ci import Config, Flow, branch, every, flow, publish, shell
from datakit_ci.control import Pause, Rebuild
from datakit_ci.engine import Engine
from datakit_ci.executors.base import BuildRequest
from datakit_ci.metadata import canonical_json
from datakit_ci.outcome import Outcome
from datakit_ci.process import Sink
from datakit_ci.state import Status, TargetState
from datakit_core.client.api import Database
from tests.support.branches import commit_files, files_of, messages_of
from tests.support.clock import FakeClock
from tests.support.databases import BACK_ENDS
from tests.support.executors import ScriptedExecutor, holding

pytestmark = pytest.mark.usefixtures("nonblocking")

clean = shell("clean", "clean", outputs=["out"])
fetch = shell("fetch", "fetch")


class World:
    """A database, a clock, and engines that come and go."""

    def __init__(self, database: Database, directory: Path) -> None:
        self.database = database
        self.executor = ScriptedExecutor(database)
        self.clock = FakeClock()
        self._directory = directory
        for name in ("clean", "again"):
            self.executor.behaviours[name] = self._upper

    async def _upper(self, request: BuildRequest, log: Sink) -> Outcome:
        """Keep the file ``data``, in capitals; fail on ``bad``."""
        data = await self.database.read(request.input, "data")
        if data == b"bad":
            return Outcome(failure="it is bad", exit_status=1)
        made = await self.database.import_tree({"data": data.upper()})
        return Outcome(output=made, exit_status=0)

    async def raw(self, *contents: bytes) -> None:
        for content in contents:
            await commit_files(self.database, "raw", {"data": content, "note": canonical_json(1)})

    @asynccontextmanager
    async def engine(self, *flows: Flow, cpu: int = 4) -> AsyncIterator[Engine]:
        config = Config(flows=flows, pools={"cpu": cpu})
        spool = self._directory / "spool"
        async with (
            Engine(self.database, config, self.executor, spool, clock=self.clock) as engine,
            asyncio.TaskGroup() as group,
        ):
            task = group.create_task(engine.run())
            yield engine
            task.cancel()

    async def published(self, name: str = "clean") -> list[str]:
        """What the branch held after each of its commits, the oldest first."""
        head = await self.database.head(name)
        assert head is not None
        texts = [
            (await self.database.read(commit.tree, "data")).decode()
            async for commit in self.database.history(head)
        ]
        return texts[::-1]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with BACK_ENDS["local"](tmp_path / "db.git") as database:
        yield World(database, tmp_path)


async def until(engine: Engine, condition: Callable[[TargetState], bool]) -> TargetState:
    """Wait for something about the only flow."""
    changes = engine.changes()
    try:
        async for _ in changes:
            (state,) = engine.flows()
            if condition(state):
                return state
    finally:
        await changes.aclose()  # type: ignore[attr-defined]
    raise AssertionError("changes never end")


CLEAN = flow(branch("raw")) | clean | publish("clean")
EVERY = flow(branch("raw"), every_commit=True) | clean | publish("clean")


async def test_a_flow_publishes_what_its_stages_make_and_names_where_it_is_from(
    world: World,
) -> None:
    await world.raw(b"a")
    async with world.engine(CLEAN) as engine:
        await engine.idle()
        head = await world.database.head("raw")
        assert await files_of(world.database, "clean") == {"data": "A"}
        (message,) = await messages_of(world.database, "clean")
        assert message.startswith(f"clean: from raw {head[:12] if head else ''}\n")
        assert message.rstrip().endswith(f"\n\nSource-Commit: {head}")
        (state,) = engine.flows()
        assert (state.status, state.head) == (Status.SUCCESS, head)
        assert engine.target(state.target) == state
        assert engine.targets() == []
        await world.raw(b"b")
        await until(engine, lambda state: state.head != head and state.status is Status.SUCCESS)
        await engine.idle()
    assert await world.published() == ["A", "B"]
    assert "results/flows/clean" in await world.database.branches()


async def test_an_equal_output_is_no_new_commit_and_a_restart_does_nothing(world: World) -> None:
    await world.raw(b"a")
    async with world.engine(CLEAN) as engine:
        await engine.idle()
        first = engine.flows()[0].head
        await world.raw(b"A")
        await until(engine, lambda state: state.head != first and state.status is Status.SUCCESS)
        await engine.idle()
    before = await world.database.branches()
    runs = len(world.executor.requests)
    async with world.engine(CLEAN) as engine:
        await engine.idle()
        assert engine.flows()[0].status is Status.SUCCESS
    assert await world.database.branches() == before
    assert len(world.executor.requests) == runs == 2
    assert await world.published() == ["A"]


async def test_every_commit_is_gone_through_in_order(world: World) -> None:
    await world.raw(b"a", b"b", b"c")
    async with world.engine(EVERY) as engine:
        head = await world.database.head("raw")
        await until(engine, lambda state: state.head == head and state.status is Status.SUCCESS)
        await engine.idle()
        await world.raw(b"d", b"e")
        head = await world.database.head("raw")
        await until(engine, lambda state: state.head == head and state.status is Status.SUCCESS)
        await engine.idle()
    assert await world.published() == ["A", "B", "C", "D", "E"]
    assert await files_of(world.database, "flows") == {"clean/source-commit": f"{head}\n"}


async def test_a_restart_goes_on_after_the_last_commit_that_is_done(world: World) -> None:
    await world.raw(b"a", b"bad", b"c")
    async with world.engine(EVERY) as engine:
        state = await until(engine, lambda state: state.status is Status.BLOCKED)
        assert "clean failed" in state.jobs[0].description
        await engine.idle()
    assert await world.published() == ["A"]
    world.executor.requests.clear()
    del world.executor.behaviours["clean"]  # the stage is mended
    mended = shell("clean", "clean --better")

    async def better(request: BuildRequest, log: Sink) -> Outcome:
        data = await world.database.read(request.input, "data")
        return Outcome(output=await world.database.import_tree({"data": data.upper()}))

    world.executor.behaviours["clean"] = better
    again = flow(branch("raw"), every_commit=True) | mended | publish("clean")
    async with world.engine(again) as engine:
        head = await world.database.head("raw")
        await until(engine, lambda state: state.head == head and state.status is Status.SUCCESS)
        await engine.idle()
    assert await world.published() == ["A", "BAD", "C"]
    assert len(world.executor.requests) == 2


async def test_a_branch_that_was_rewritten_goes_on_from_where_it_forked(world: World) -> None:
    await world.raw(b"a", b"b")
    async with world.engine(EVERY) as engine:
        head = await world.database.head("raw")
        await until(engine, lambda state: state.head == head and state.status is Status.SUCCESS)
        await engine.idle()
    history = [commit async for commit in world.database.history(head)] if head else []
    await world.database.remove_branch("raw")
    await world.database.fast_forward("raw", history[-1].id)
    await world.raw(b"x", b"y")
    async with world.engine(EVERY) as engine:
        head = await world.database.head("raw")
        await until(engine, lambda state: state.head == head and state.status is Status.SUCCESS)
        await engine.idle()
    assert await world.published() == ["A", "B", "X", "Y"]


async def test_flows_feed_one_another(world: World) -> None:
    again = shell("again", "again")
    await world.raw(b"a")
    twice = flow(branch("clean")) | again | publish("twice")
    async with world.engine(twice, CLEAN) as engine:
        await engine.idle()
        while await world.database.head("twice") is None:
            await anext(engine.changes())
        await engine.idle()
    assert await world.published("twice") == ["A"]


async def test_a_flow_on_a_schedule_runs_at_each_moment(world: World) -> None:
    count = 0

    async def fetched(request: BuildRequest, log: Sink) -> Outcome:
        nonlocal count
        count += 1
        made = await world.database.import_tree({"data": str(count).encode()})
        return Outcome(output=made, exit_status=0)

    world.executor.behaviours["fetch"] = fetched
    hourly = flow(every("1h")) | fetch | publish("raw")
    async with world.engine(hourly) as engine:
        await engine.idle()
        (message,) = await messages_of(world.database, "raw")
        assert message.rstrip() == "raw: every 1h, at 2026-03-04T12:00:00Z"
        world.clock.advance(hours=1)
        await world.executor.until(lambda: count == 2)
        await until(engine, lambda state: state.status is Status.SUCCESS)
        await engine.idle()
    async with world.engine(hourly) as engine:
        await engine.idle()
    assert await world.published("raw") == ["1", "2"]


async def test_a_flow_without_its_branch_waits_for_it_as_a_failure(world: World) -> None:
    async with world.engine(CLEAN) as engine:
        state = await until(engine, lambda state: state.status is Status.BLOCKED)
        assert any("there is no branch raw" in node.reason for node in state.graph)
        await world.raw(b"a")
        await until(engine, lambda state: state.status is Status.SUCCESS)
    assert await world.published() == ["A"]


async def test_a_flow_that_is_not_declared_any_more_is_left_alone(world: World) -> None:
    await world.raw(b"a")
    async with world.engine(CLEAN) as engine:
        await engine.idle()
        await engine.configure(Config())
        assert engine.flows() == []
        await world.raw(b"b")
        await engine.idle()
    assert await world.published() == ["A"]


async def test_people_control_flows_as_they_do_targets(world: World) -> None:
    await world.raw(b"a")
    async with world.engine(CLEAN) as engine:
        await engine.idle()
        await engine.control(Rebuild("alice", CLEAN.target))
        await world.executor.until(lambda: len(world.executor.requests) == 2)
        await engine.idle()
        await engine.control(Pause("alice", "flows"))
        await world.raw(b"b")
        state = await until(engine, lambda state: "paused" in str(state.graph))
        assert state.jobs[0].status is Status.WAITING
    assert await world.published() == ["A"]


async def test_what_somebody_else_has_put_into_the_branch_is_replaced(world: World) -> None:
    await commit_files(world.database, "clean", {"old": b"x", "data": b"?"})
    await world.raw(b"a")
    async with world.engine(CLEAN) as engine:
        await engine.idle()
    assert await files_of(world.database, "clean") == {"data": "A"}
    assert len(await messages_of(world.database, "clean")) == 2


async def test_what_cannot_be_published_is_tried_again(world: World) -> None:
    await world.raw(b"one")
    await commit_files(world.database, "clean/in-the-way", {"a": b"a"})
    async with world.engine(CLEAN) as engine:
        await engine.idle()
        (state,) = engine.flows()
        assert "it is tried again after 2 s" in state.jobs[0].description, state.jobs
        await world.database.remove_branch("clean/in-the-way")
        world.clock.advance(seconds=2)
        await until(engine, lambda state: state.jobs[0].status is Status.SUCCESS)
    assert await world.published() == ["ONE"]


async def test_a_flow_s_latch_outlives_a_restart(world: World) -> None:
    again = shell("again", "again", latched=True)
    later = shell("later", "later")
    release = asyncio.Event()
    steps = flow(branch("raw")) | again | later | publish("clean")
    world.executor.behaviours["later"] = world.executor.behaviours["again"]
    await world.raw(b"one")
    async with world.engine(steps) as engine:
        await engine.idle()
    world.executor.behaviours["again"] = holding(release)
    await world.raw(b"two")
    async with world.engine(steps) as engine:
        state = await until(engine, lambda state: "its last output" in str(state.graph))
        assert state.jobs[0].status is not Status.BLOCKED
    assert await world.published() == ["ONE"]
