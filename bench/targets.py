"""An engine with very many targets: ``python -m bench targets``.

Twenty projects, five jobs for each target; every target is a commit of its own, and what the jobs
read is the same in all targets of a project. Measured are the first start, which runs one build
for each job of each project; a start when all is known, which runs nothing; and one head that
moves to a commit that changes nothing that the jobs read.
``DATAKIT_BENCH_TARGETS=1000`` takes fewer.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

from datakit_ci import Config, Project, TargetTerms, Term, shell
from datakit_ci.engine import Engine
from datakit_ci.executors.base import BuildRequest, Executor
from datakit_ci.metadata import BRANCH, field, head_path
from datakit_ci.outcome import Outcome
from datakit_ci.process import Sink
from datakit_ci.state import Status
from datakit_ci.target import Target
from datakit_core.client.api import Database
from datakit_core.client.local import LocalDatabase
from datakit_core.resources import collecting_when_idle
from datakit_core.store import CommitId, Durability, Store

__all__ = ["Instant", "evaluated", "main", "point", "running"]

_PROJECTS = 20
_JOBS = 5
_MOVES = 20


def main() -> None:
    """Print the table."""
    count = int(os.environ.get("DATAKIT_BENCH_TARGETS", "10000"))
    with tempfile.TemporaryDirectory(prefix="datakit-bench-") as scratch:
        asyncio.run(_run(Path(scratch), count))


class Instant:
    """An executor whose builds take no time."""

    name = "nothing"

    def __init__(self) -> None:
        self.builds = 0

    async def run(self, request: BuildRequest, log: Sink) -> Outcome:
        """Pass."""
        self.builds += 1
        return Outcome(exit_status=0)


def _config() -> Config:
    stages = [shell(f"s{n}", "true", inputs=[f"src/{n}"]) for n in range(_JOBS)]

    def jobs(target: TargetTerms) -> Mapping[str, Term[object]]:
        return {stage.name: stage(target.source) for stage in stages}

    return Config(projects=[Project(f"me/p{n:02}", jobs) for n in range(_PROJECTS)])


async def _run(scratch: Path, count: int) -> None:
    config, executor = _config(), Instant()
    each = count // _PROJECTS
    path = scratch / "db.git"
    print(f"{count} targets in {_PROJECTS} projects, {_JOBS} jobs each")
    async with Store.open(path, create=True, durability=Durability.RELAXED) as store:
        database = LocalDatabase(store)
        began = time.perf_counter()
        heads = await _fill(database, each)
        print(f"  commits and heads made in         {time.perf_counter() - began:8.2f} s")
        async with running(database, config, executor, scratch) as (_, seconds):
            print(f"  first start, {executor.builds} builds           {seconds:8.2f} s")
    executor.builds = 0
    async with Store.open(path, durability=Durability.RELAXED) as store:
        database = LocalDatabase(store)
        gc.collect()
        before, used_before = _memory(), time.process_time()
        async with running(database, config, executor, scratch) as (engine, seconds):
            processor = time.process_time() - used_before
            used = (_memory() - before) / count
            print(f"  start when all is known, {executor.builds} builds {seconds:8.2f} s")
            print(f"    of the processor                {processor:8.2f} s")
            print(f"  memory for each target            {used / 1024:8.2f} KiB")
            await _measure_moves(database, engine, heads)


async def _measure_moves(
    database: LocalDatabase, engine: Engine, heads: Mapping[Target, CommitId]
) -> None:
    """From the commit of a head to what it has come to, and to the commit of its status."""
    known, seconds = [], []
    for number, target in enumerate(list(heads)[:_MOVES]):
        head = await _source(database, target, f"moved {number}", None)
        watch = database.watch_head(target.status_branch)
        await anext(watch)
        await point(database, {target: head})
        began = time.perf_counter()
        await evaluated(engine, target, head)
        known.append(time.perf_counter() - began)
        while True:
            status = await anext(watch)
            tree = (await database.commit(status)).tree if status else None
            if tree and (await database.read(tree, "source-commit")).decode().strip() == head:
                break
        seconds.append(time.perf_counter() - began)
        await watch.aclose()  # type: ignore[attr-defined]
    for title, times in ("state known", known), ("history written", seconds):
        print(f"  one head moves: {title:17} {median(times) * 1000:8.1f} ms")


async def evaluated(engine: Engine, target: Target, head: CommitId) -> None:
    """Wait until all jobs of ``target`` have passed for ``head``."""
    async for _ in engine.changes():
        state = engine.target(target)
        if state and state.head == head and state.status is Status.SUCCESS:
            return


async def _fill(database: LocalDatabase, each: int) -> Mapping[Target, CommitId]:
    heads: dict[Target, CommitId] = {}
    for project in range(_PROJECTS):
        name = f"me/p{project:02}"
        for number in range(each):
            kind = "pr" if number % 2 else "heads"
            target = Target(name, kind, str(number) if kind == "pr" else f"topic/{number}")
            heads[target] = await _source(database, target, str(number), project)
    await point(database, heads)
    return heads


async def _source(
    database: LocalDatabase, target: Target, version: str, project: int | None
) -> CommitId:
    """A commit of a project: what the jobs read stays as it is."""
    async with database.transaction(f"source-{target.project}") as transaction:
        if transaction.base is None:
            for number in range(_JOBS):
                await transaction.write(f"src/{number}/file", f"{project} {number}".encode())
        await transaction.write("VERSION", f"{target.path} {version}".encode())
        return await transaction.commit(f"Version {version}")


async def point(database: Database, heads: Mapping[Target, CommitId]) -> None:
    """Commit these heads, as a bridge does."""
    async with database.transaction(BRANCH) as transaction:
        for target, head in heads.items():
            await transaction.write(head_path(target), field(head))
        await transaction.commit("Move heads")


@asynccontextmanager
async def running(
    database: Database, config: Config, executor: Executor, scratch: Path
) -> AsyncIterator[tuple[Engine, float]]:
    """An engine that has settled, in a process like a service's, and the seconds that this took."""
    began = time.perf_counter()
    with collecting_when_idle():
        async with (
            Engine(database, config, executor, scratch / "spool", "http://ci") as engine,
            asyncio.TaskGroup() as group,
        ):
            task = group.create_task(engine.run())
            await engine.idle()
            yield engine, time.perf_counter() - began
            task.cancel()


def _memory() -> int:
    """Bytes of this process (proc_pid_statm(5))."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
