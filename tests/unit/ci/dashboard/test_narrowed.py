"""The state without what somebody may not read: they cannot tell that there is more."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from datakit_ci.crew import Crew, WorkerState
from datakit_ci.dashboard.narrowed import Narrowed
from datakit_ci.explanation import JobWhy
from datakit_ci.pools import LockState, PoolState
from datakit_ci.rulings import Ruling
from datakit_ci.state import BuildState, Status, TargetState
from datakit_ci.target import FLOWS, Target
from datakit_core.errors import NoEntry
from tests.support.ci_scene import build_id
from tests.support.fake_engine import FakeEngine

OPEN, SHUT = Target("me/open", "heads", "main"), Target("me/shut", "heads", "main")
SEEN, HIDDEN = build_id("me/open", "unit"), build_id("me/shut", "unit")


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine()
    engine.add(TargetState(OPEN), TargetState(SHUT))
    for build in (SEEN, HIDDEN):
        engine.add_build(BuildState(build, Status.RUNNING), b"log\n")
    return engine


@pytest.fixture
def readable() -> set[str]:
    return {"me/open"}


@pytest.fixture
def source(engine: FakeEngine, readable: set[str]) -> Narrowed:
    return Narrowed(engine, readable.__contains__)


async def test_nothing_of_other_projects_is_there(source: Narrowed) -> None:
    assert [state.target for state in source.targets()] == [OPEN]
    assert source.target(OPEN) is not None
    assert source.target(SHUT) is None
    assert await source.build(SEEN) is not None
    assert await source.build(HIDDEN) is None
    assert await source.why_build(HIDDEN) is None
    assert await source.dossier(SEEN) is not None
    assert await source.dossier(HIDDEN) is None
    assert [result async for result in source.results("me/shut", "unit")] == []
    assert [piece async for piece in source.follow_log(HIDDEN)] == []
    assert [piece async for piece in source.watch_log(HIDDEN)] == []


async def test_flows_are_for_who_may_read_what_belongs_to_the_service(
    source: Narrowed, engine: FakeEngine, readable: set[str]
) -> None:
    engine.flowing = [TargetState(Target(FLOWS, "flow", "docs"))]
    assert source.flows() == []
    readable.add(FLOWS)
    assert [state.target.name for state in source.flows()] == ["docs"]


async def test_what_builds_wait_for_is_told_without_those_of_other_projects(
    source: Narrowed, engine: FakeEngine
) -> None:
    engine.busy_pools["cpu"] = PoolState(2, (HIDDEN, SEEN), (HIDDEN,))
    engine.held_locks["secret"] = LockState(HIDDEN, (HIDDEN,))
    engine.held_locks["shared"] = LockState(HIDDEN, (SEEN, HIDDEN))
    ruling = Ruling("ann", datetime(2026, 1, 1, tzinfo=UTC))
    engine.paused_projects.update({"me/open": ruling, "me/shut": ruling})
    assert source.pools() == {"cpu": PoolState(2, (SEEN,), ())}
    engine.workers = Crew((WorkerState("one", running=(HIDDEN, SEEN)),), where="farm")
    assert source.crew() == Crew((WorkerState("one", running=(SEEN,)),), where="farm")
    assert source.locks() == {"shared": LockState(None, (SEEN,))}
    assert source.paused() == {"me/open": ruling}


async def test_why_a_hidden_job_stands_where_it_does_is_not_told(
    source: Narrowed, engine: FakeEngine
) -> None:
    engine.job_whys[SHUT, "unit"] = JobWhy(SHUT.path, "unit", Status.FAILURE, "", ())
    with pytest.raises(NoEntry):
        await source.why(SHUT, "unit")


async def test_changes_elsewhere_are_not_told_not_even_that_there_was_one(
    source: Narrowed, engine: FakeEngine
) -> None:
    async with aclosing(source.changes()) as changes:  # type: ignore[type-var]  # a generator
        assert await anext(changes) == {OPEN}
        following = asyncio.ensure_future(anext(changes))  # noqa: TID251 - ended below
        await engine.set_target(TargetState(SHUT, subject="secret"))
        await asyncio.sleep(0)
        assert not following.done()
        await engine.set_target(TargetState(OPEN, subject="public"))
        assert await following == {OPEN}


async def test_a_log_ends_when_the_right_to_read_it_does(
    source: Narrowed, engine: FakeEngine, readable: set[str]
) -> None:
    log = source.follow_log(SEEN)
    assert await anext(log) == b"log\n"
    readable.clear()
    await engine.write_log(SEEN, b"not for you any more\n")
    assert [piece async for piece in log] == []
    assert engine.readers == 0


async def test_who_reads_all_is_told_all(engine: FakeEngine) -> None:
    source = Narrowed(engine, lambda _project: True)
    assert len(source.targets()) == 2
    state = await source.build(HIDDEN)
    assert state is not None
    await engine.set_build(replace(state, status=Status.SUCCESS))
    assert [piece async for piece in source.watch_log(HIDDEN)] == [b"log\n"]
