"""Logs under load: many builds, many readers, a long log, and builds that have yet to start."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from datakit_ci import Config, Project, Stage, shell
from datakit_ci.control import Confirm
from datakit_ci.engine import Engine
from datakit_ci.executors.base import BuildRequest, Executor
from datakit_ci.livelog import Pending
from datakit_ci.metadata import BRANCH
from datakit_ci.outcome import Outcome
from datakit_ci.process import Sink
from datakit_ci.state import BuildId, Status
from datakit_ci.target import Target
from datakit_core.client.api import Database
from tests.support.branches import commit_files
from tests.support.databases import BACK_ENDS
from tests.support.executors import ScriptedExecutor, holding
from tests.support.memory import resident

pytestmark = pytest.mark.usefixtures("nonblocking")

MAIN = Target("me/app", "heads", "main")
LINE = b"%099d\n"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with BACK_ENDS["local"](tmp_path / "db.git") as database:
        head = await commit_files(database, "source", {"file": b"content"})
        await commit_files(database, BRANCH, {f"{MAIN.path}/head": f"{head}\n".encode()})
        yield database


@asynccontextmanager
async def engine_of(
    database: Database, executor: Executor, spool: Path, *stages: Stage[Any], pool: int = 1
) -> AsyncIterator[Engine]:
    """An engine whose jobs are ``stages``, each of the head."""
    project = Project("me/app", lambda target: {s.name: s(target.source) for s in stages})
    config = Config(projects=[project], pools={"cpu": pool})
    async with Engine(database, config, executor, spool) as engine, asyncio.TaskGroup() as group:
        running = group.create_task(engine.run())
        yield engine
        running.cancel()


async def builds_of(engine: Engine) -> Mapping[str, BuildId]:
    """The build of each job, once all of them have one."""
    async with aclosing(engine.changes()) as changes:  # type: ignore[type-var]
        async for _ in changes:
            state = engine.target(MAIN)
            if state is not None and state.jobs and all(job.builds for job in state.jobs):
                return {job.name: job.builds[-1] for job in state.jobs}
    raise AssertionError("changes never end")


async def text_of(engine: Engine, build: BuildId, offset: int = 0) -> bytes:
    return b"".join([piece async for piece in engine.follow_log(build, offset)])


async def test_who_follows_a_build_that_waits_is_told_why_as_that_changes(
    database: Database, tmp_path: Path
) -> None:
    executor = ScriptedExecutor(database)
    names = ("one", "two", "three")
    releases = {name: asyncio.Event() for name in names}
    for name, release in releases.items():
        executor.behaviours[name] = holding(release)
    stages = [shell(name, name) for name in names]
    async with engine_of(database, executor, tmp_path / "spool", *stages) as engine:
        builds = await builds_of(engine)
        await executor.until(lambda: len(executor.running) == 1)
        states = {name: await engine.build(builds[name]) for name in names}
        last = next(name for name, s in states.items() if s is not None and "2nd" in s.reason)
        log = engine.watch_log(builds[last])
        assert await anext(log) == Pending("waiting for pool cpu (1 of 1 busy), 2nd in line")
        releases[executor.running[0]].set()
        assert await anext(log) == Pending("waiting for pool cpu (1 of 1 busy)")
        await executor.until(lambda: len(executor.requests) == 2)
        releases[executor.running[0]].set()
        releases[last].set()
        seen = [event async for event in log]
        told = b"".join(event for event in seen if isinstance(event, bytes))
        assert told.startswith(b"[datakit-ci] started after ")
        assert told.endswith(f"{last} runs\n".encode())
        await engine.idle()
        assert await text_of(engine, builds[last]) == told, "reasons are no part of the log"


async def test_a_build_that_a_person_must_confirm_says_so_to_who_follows_it(
    database: Database, tmp_path: Path
) -> None:
    executor = ScriptedExecutor(database)
    deploy = shell("deploy", "deploy", level="dangerous")
    async with engine_of(database, executor, tmp_path / "spool", deploy) as engine:
        await engine.idle()
        build = (await builds_of(engine))["deploy"]
        log = engine.watch_log(build)
        assert await anext(log) == Pending("waits for confirmation by a person")
        await engine.control(Confirm("alice", build))
        rest = [event async for event in log]
        assert b"deploy runs\n" in rest
        assert [event async for event in engine.watch_log(build, 7)] == [b"runs\n"]


async def test_fifty_builds_log_at_once_and_each_keeps_its_own(
    database: Database, tmp_path: Path
) -> None:
    names = [f"stage{number}" for number in range(50)]
    executor = ScriptedExecutor(database)
    started = asyncio.Event()

    async def talk(request: BuildRequest, log: Sink) -> Outcome:
        if len(executor.running) == len(names):
            started.set()
        await started.wait()
        for number in range(400):
            log(request.spec.name.encode() + LINE % number)
            await asyncio.sleep(0)
        return Outcome(exit_status=0)

    executor.behaviours.update(dict.fromkeys(names, talk))
    stages = [shell(name, name) for name in names]
    async with engine_of(database, executor, tmp_path / "spool", *stages, pool=50) as engine:
        builds = await builds_of(engine)
        async with asyncio.TaskGroup() as group:
            live = {
                name: group.create_task(text_of(engine, build)) for name, build in builds.items()
            }
        await engine.idle()
        for name, build in builds.items():
            lines = [name.encode() + LINE % number for number in range(400)]
            assert live[name].result() == b"".join([f"{name} runs\n".encode(), *lines])
            assert await text_of(engine, build) == live[name].result()
    assert list((tmp_path / "spool").iterdir()) == []


async def test_a_long_log_takes_no_memory_of_the_engine_nor_of_who_reads_it(
    database: Database, tmp_path: Path
) -> None:
    """96 MB, while they are written, and once they are recorded."""
    block = b"".join(LINE % number for number in range(10_000))
    executor = ScriptedExecutor(database)

    async def talk(request: BuildRequest, log: Sink) -> Outcome:
        for _ in range(96):
            for start in range(0, len(block), 1 << 16):
                log(block[start : start + (1 << 16)])
                await asyncio.sleep(0)
        return Outcome(exit_status=0)

    async def size_and_digest(engine: Engine, build: BuildId) -> tuple[int, str]:
        size, digest = 0, hashlib.sha256()
        async for piece in engine.follow_log(build):
            size += len(piece)
            digest.update(piece)
        return size, digest.hexdigest()

    executor.behaviours["talk"] = talk
    stage = shell("talk", "talk")
    async with engine_of(database, executor, tmp_path / "spool", stage) as engine:
        build = (await builds_of(engine))["talk"]
        before = resident()
        live = await size_and_digest(engine, build)
        await engine.idle()
        recorded = await size_and_digest(engine, build)
        assert resident() - before < 40 << 20
        assert live == recorded
        assert live[0] == len(b"talk runs\n") + 96 * len(block)
        assert await text_of(engine, build, live[0] - 100) == LINE % 9999
        state = await engine.build(build)
        assert state is not None
        assert (state.status, state.log_size) == (Status.SUCCESS, live[0])


async def test_a_late_reader_has_all_from_byte_0_and_one_that_was_cut_off_goes_on(
    database: Database, tmp_path: Path
) -> None:
    executor, release = ScriptedExecutor(database), asyncio.Event()
    executor.behaviours["slow"] = holding(release)
    async with engine_of(database, executor, tmp_path / "spool", shell("slow", "slow")) as engine:
        build = (await builds_of(engine))["slow"]
        async with aclosing(engine.follow_log(build)) as first:  # type: ignore[type-var]
            assert await anext(first) == b"slow runs\n"
        async with asyncio.TaskGroup() as group:
            late = group.create_task(text_of(engine, build))
            resumed = group.create_task(text_of(engine, build, 5))
            release.set()
        assert (late.result(), resumed.result()) == (b"slow runs\n", b"runs\n")


async def test_the_log_of_a_killed_engine_is_read_with_the_mark_of_the_interruption(
    database: Database, tmp_path: Path
) -> None:
    executor = ScriptedExecutor(database)
    executor.behaviours["slow"] = holding(asyncio.Event())
    spool = tmp_path / "spool"
    slow = shell("slow", "slow")
    async with engine_of(database, executor, spool, slow) as engine:
        build = (await builds_of(engine))["slow"]
        await executor.until(lambda: executor.running == ["slow"])
        (left,) = spool.glob("*.log")
        kept = left.read_bytes()
    left.write_bytes(kept)  # as a kill leaves it
    other = shell("other", "other")
    async with engine_of(database, executor, spool, other) as engine:
        await engine.idle()
        mark = b"\n[datakit-ci] interrupted: the engine ended before this build did\n"
        assert await text_of(engine, build) == kept + mark
        assert await text_of(engine, build, len(kept)) == mark
    async with engine_of(database, executor, spool, slow, pool=0) as engine:
        await builds_of(engine)
        async with aclosing(engine.watch_log(build)) as log:  # type: ignore[type-var]
            assert isinstance(await anext(log), Pending), "it is about to run again"
