"""An engine with a hundred workers: each has work while there is any, and nobody starves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from datakit_ci import Config, Project, TargetTerms, Term, shell
from datakit_ci.engine import Engine
from datakit_ci.executors.base import BuildRequest
from datakit_ci.metadata import BRANCH, field, head_path
from datakit_ci.outcome import Outcome
from datakit_ci.process import Sink
from datakit_ci.pulse import Pulse
from datakit_ci.state import Status
from datakit_ci.target import Target
from datakit_core.client.api import Database
from tests.support.databases import BACK_ENDS

pytestmark = pytest.mark.usefixtures("nonblocking")

WORKERS = 100
BIG, SMALL = "me/big", "me/small"
BUILDS = {BIG: 160, SMALL: 10}


class Workers:
    """An executor whose builds end when a test says so, the oldest first.

    Attributes:
        running: What the builds under way wait for, in the order of starting.
        started: How many have been started.
        most: How many ran at once at most.
    """

    name = "simulated"

    def __init__(self) -> None:
        self.running: list[asyncio.Event] = []
        self.started = 0
        self.most = 0
        self._endless = False
        self._pulse = Pulse()

    async def run(self, request: BuildRequest, log: Sink) -> Outcome:
        """Work until it is let go."""
        mine = asyncio.Event()
        self.running.append(mine)
        self.started += 1
        self.most = max(self.most, len(self.running))
        self._pulse.beat()
        if not self._endless:
            await mine.wait()
        self.running.remove(mine)
        return Outcome(exit_status=0)

    def end(self, count: int) -> None:
        """Let the oldest builds end."""
        for event in self.running[:count]:
            event.set()

    def end_all(self) -> None:
        """Let all builds end, those that come as well."""
        self._endless = True
        self.end(len(self.running))

    async def until_started(self, count: int) -> None:
        """Wait until that many have been started since the beginning."""
        while self.started < count:
            await self._pulse.next.wait()


def jobs(target: TargetTerms) -> Mapping[str, Term[object]]:
    count = BUILDS[target.target.project]
    stages = [shell(f"s{number}", "true") for number in range(count)]
    return {each.name: each(target.source) for each in stages}


CONFIG = Config(projects=[Project(name, jobs) for name in BUILDS], pools={"cpu": WORKERS})


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with BACK_ENDS["local"](tmp_path / "db.git") as opened:
        yield opened


@asynccontextmanager
async def running(database: Database, workers: Workers, spool: Path) -> AsyncIterator[Engine]:
    engine = Engine(database, CONFIG, workers, spool, publish=False)
    async with engine, asyncio.TaskGroup() as group:
        task = group.create_task(engine.run())
        yield engine
        task.cancel()


async def push(database: Database, *projects: str) -> None:
    """Let there be a commit to build in each of these projects."""
    async with database.transaction("source") as transaction:
        await transaction.write("file", b"content")
        head = await transaction.commit("A commit")
    async with database.transaction(BRANCH) as transaction:
        for project in projects:
            await transaction.write(head_path(Target(project, "heads", "main")), field(head))
        await transaction.commit("Heads")


def waiting(engine: Engine, project: str) -> int:
    """How many builds of a project are in the queue."""
    return sum(build.project == project for build in engine.pools()["cpu"].queue)


async def until_waiting(engine: Engine, project: str, count: int) -> None:
    async for _ in engine.changes():
        if waiting(engine, project) == count:
            return


async def test_every_worker_has_a_build_while_any_waits(database: Database, tmp_path: Path) -> None:
    workers = Workers()
    await push(database, BIG, SMALL)
    async with running(database, workers, tmp_path / "spool") as engine:
        for ended in range(0, 60, 10):
            await workers.until_started(WORKERS + ended)
            assert len(workers.running) == WORKERS
            workers.end(10)
        workers.end_all()
        await engine.idle()
    assert (workers.started, workers.most) == (sum(BUILDS.values()), WORKERS)


async def test_a_small_project_waits_for_no_more_than_its_share(
    database: Database, tmp_path: Path
) -> None:
    workers = Workers()
    await push(database, BIG)
    async with running(database, workers, tmp_path / "spool") as engine:
        await until_waiting(engine, BIG, BUILDS[BIG] - WORKERS)
        await push(database, SMALL)
        await until_waiting(engine, SMALL, BUILDS[SMALL])
        # It takes turns with the one whose sixty builds came before.
        workers.end(2 * BUILDS[SMALL])
        await workers.until_started(WORKERS + 2 * BUILDS[SMALL])
        assert waiting(engine, SMALL) == 0
        assert waiting(engine, BIG) == BUILDS[BIG] - WORKERS - BUILDS[SMALL]
        workers.end_all()
        await engine.idle()


async def test_nothing_of_what_has_run_is_kept(database: Database, tmp_path: Path) -> None:
    workers = Workers()
    workers.end_all()
    await push(database, BIG, SMALL)
    async with running(database, workers, tmp_path / "spool") as engine:
        await engine.idle()
        pool = engine.pools()["cpu"]
        assert (pool.busy, pool.queue) == ((), ())
        assert list((tmp_path / "spool").iterdir()) == []
        found = [job.status for state in engine.targets() for job in state.jobs]
        assert found == [Status.SUCCESS] * sum(BUILDS.values())
