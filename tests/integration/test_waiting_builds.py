"""Builds that wait, while another one makes what they would make."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from datakit_ci import Config, PlainTree, Project, TargetTerms, Term, shell, stage
from datakit_ci.control import Rebuild
from datakit_ci.engine import Engine
from datakit_ci.executors.base import BuildRequest
from datakit_ci.heads import FixedHeads
from datakit_ci.outcome import Outcome
from datakit_ci.process import Sink
from datakit_ci.question import Question, QuestionKind
from datakit_ci.state import Status
from datakit_ci.target import Target
from datakit_core.client.api import CommitId, Database
from tests.support.databases import BACK_ENDS
from tests.support.executors import ScriptedExecutor, holding

pytestmark = pytest.mark.usefixtures("nonblocking")

TARGETS = [Target("me/app", "heads", name) for name in ("a", "b", "c", "d")]


@stage
def reader(source: PlainTree) -> dict[str, bytes]:
    return {"copy": source.read("looked-at")}


other = shell("other", "other")
STAGES = [reader.spec, other.spec]


def jobs(target: TargetTerms) -> Mapping[str, Term[object]]:
    return {"reader": reader(target.source)}


def both(target: TargetTerms) -> Mapping[str, Term[object]]:
    return {"other": other(target.source), "reader": reader(target.source)}


def config(what: object = jobs) -> Config:
    assert callable(what)
    return Config(projects=[Project("me/app", what)], pools={"cpu": 1})


async def read(request: BuildRequest, log: Sink) -> Outcome:
    """A build that has looked at one file."""
    return Outcome(questions=(Question(QuestionKind.FILE, "looked-at"),))


class World:
    """A database with commits that differ in what nobody looks at, and an executor."""

    def __init__(self, database: Database, spool: Path) -> None:
        self.executor = ScriptedExecutor(database)
        self.executor.behaviours["reader"] = read
        self._database = database
        self._spool = spool

    async def commit(self, name: str, looked_at: bytes = b"same") -> CommitId:
        async with self._database.transaction(f"source-{name}") as transaction:
            await transaction.write("looked-at", looked_at)
            await transaction.write("not-looked-at", name.encode())
            return await transaction.commit(name)

    @asynccontextmanager
    async def engine(
        self, heads: Mapping[Target, CommitId], pipeline: Config
    ) -> AsyncIterator[Engine]:
        engine = Engine(
            self._database,
            pipeline,
            self.executor,
            self._spool,
            heads=FixedHeads(heads),
            publish=False,
        )
        async with engine, asyncio.TaskGroup() as group:
            task = group.create_task(engine.run())
            yield engine
            task.cancel()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with BACK_ENDS["local"](tmp_path / "db.git") as database:
        yield World(database, tmp_path / "spool")


def statuses(engine: Engine, job: str = "reader") -> list[Status]:
    return [each.status for state in engine.targets() for each in state.jobs if each.name == job]


async def test_what_another_build_has_made_meanwhile_is_not_made_again(world: World) -> None:
    heads = {target: await world.commit(target.name) for target in TARGETS}
    async with world.engine(heads, config()) as engine:
        await engine.idle()
        assert statuses(engine) == [Status.SUCCESS] * 4
        builds = {job.builds for state in engine.targets() for job in state.jobs}
        assert len(builds) == 1, "all name the build that was run"
        assert not engine.pools()["cpu"].busy
    assert world.executor.stages == ["reader"]


async def test_what_looked_at_something_else_is_made(world: World) -> None:
    heads = {t: await world.commit(t.name, t.name.encode()) for t in TARGETS}
    async with world.engine(heads, config()) as engine:
        await engine.idle()
        assert statuses(engine) == [Status.SUCCESS] * 4
    assert world.executor.stages == ["reader"] * 4


async def test_a_failure_made_meanwhile_is_shown_as_well(world: World) -> None:
    async def fail(request: BuildRequest, log: Sink) -> Outcome:
        return Outcome(failure="wrong", questions=(Question(QuestionKind.FILE, "looked-at"),))

    world.executor.behaviours["reader"] = fail
    heads = {target: await world.commit(target.name) for target in TARGETS}
    async with world.engine(heads, config()) as engine:
        await engine.idle()
        assert statuses(engine) == [Status.FAILURE] * 4
    assert world.executor.stages == ["reader"]


async def test_a_rebuild_that_waits_is_made_although_there_is_a_result(world: World) -> None:
    heads = {TARGETS[0]: await world.commit("a")}
    async with world.engine(heads, config()) as engine:
        await engine.idle()
    released = asyncio.Event()
    world.executor.behaviours["other"] = holding(released)
    async with world.engine(heads, config(both)) as engine:
        await world.executor.until(lambda: "other" in world.executor.running)
        await engine.control(Rebuild("ann", TARGETS[0], job="reader"))
        released.set()
        await engine.idle()
        assert statuses(engine) == [Status.SUCCESS]
    assert world.executor.stages == ["other", "reader", "reader"]
