"""Builds on a Dask cluster, beside those on this machine and plain tasks: ``python -m bench dask``.

The cluster is real processes on loopback. A build runs ``true`` in an empty tree, so what is left
is what running it costs. There are two plain tasks: a coroutine that returns at once, and one that
does the least that can be called the same work: it runs ``true`` by a shell in a directory of its
own, takes what that prints, and removes the directory. What we add is the difference to that one.
All rows take turns, and the best of several rounds counts, since a machine is seldom idle.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import TypeAlias

from bench.firstline import commit, git
from bench.targets import evaluated
from datakit_ci.engine import Engine
from datakit_ci.executors.base import BuildRequest, Executor
from datakit_ci.executors.local import LocalExecutor
from datakit_ci.service import open_service
from datakit_ci.settings import ServiceSettings
from datakit_ci.spec import StageKind, StageSpec
from datakit_ci.state import BuildId
from datakit_ci.target import Target
from datakit_core.client.api import CommitId, ObjectId
from datakit_core.store.objects import EMPTY_TREE
from tests.support.farm import Farm, Opened, open_executor, running_farm
from tests.support.processes import Collector, gone

__all__ = ["main"]

_ROUNDS = 4
_TURNS = 40
_PAUSE = 0.02
"""Seconds between two of one by one: Dask holds a message back that follows another at once."""

_AT_ONCE = 4
_STOPS = 20
_STAGES = 100
_PIPELINE = f"""
from datakit_ci import Config, Project, shell

stages = [shell(f"s{{number}}", "true") for number in range({_STAGES})]
project = Project("me/app", lambda target: {{each.name: each(target.source) for each in stages}})
config = Config(projects=[project], pools={{"cpu": {_AT_ONCE}}})
"""
_TARGET = Target("me/app", "heads", "main")
_CREWS = (1, 2, 4, 8)
_NAP = 0.5
_NAPS = 8
"""Builds that sleep, for each worker."""

Run: TypeAlias = Callable[[int], Awaitable[object]]


def main() -> None:
    """Print all tables."""
    with (
        tempfile.TemporaryDirectory(prefix="dkb-") as scratch,
        running_farm(Path(scratch), {"one": f"cpu={_AT_ONCE}"}) as farm,
    ):
        asyncio.run(_one_worker(farm))
    _through_the_engine()
    _scaling()


async def _one_worker(farm: Farm) -> None:
    async with open_executor(farm, Path("nowhere.py")) as opened, _here(farm, opened) as local:
        await _costs(opened, local)
        await _log_and_cancel(opened)


@asynccontextmanager
async def _here(farm: Farm, opened: Opened) -> AsyncIterator[LocalExecutor]:
    work = farm.directory / "here"
    async with LocalExecutor(opened.database, farm.repository, Path("x"), work) as local:
        yield local


async def _costs(opened: Opened, local: LocalExecutor) -> None:
    rows: Mapping[str, Run] = {
        "a plain task": _plain(opened, _nothing),
        "a plain task that runs true": _plain(opened, _true),
        "a build on this machine": _builds(local),
        "a build on the cluster": _builds(opened.executor),
    }
    for run in rows.values():
        await run(-1)  # the first one starts processes and imports
    alone = _best([await _in_turns(rows, number) for number in range(_ROUNDS)])
    together = _best([await _together(rows, number) for number in range(_ROUNDS)])
    print(f"milliseconds                       one by one   {_AT_ONCE} at a time, each")
    for title in rows:
        print(f"  {title:30} {alone[title]:12.1f} {together[title]:12.1f}")
    peer, build = list(rows)[1], list(rows)[3]
    print(
        f"  {'what a build adds to true':30} {alone[build] - alone[peer]:12.1f}"
        f" {together[build] - together[peer]:12.1f}"
    )


def _request(number: int, command: str = "true") -> BuildRequest:
    spec = StageSpec("stage", StageKind.SHELL, command, "0" * 64)
    key = f"{number & 0xFFFFFFFF:064x}"
    return BuildRequest(BuildId("me/app", "stage", "0" * 64, key), spec, EMPTY_TREE)


async def _nothing(number: int) -> int:
    return number


async def _true(number: int) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        process = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", "true", cwd=directory, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
        )
        said, _ = await process.communicate()
        return said


def _plain(opened: Opened, task: Callable[[int], Awaitable[object]]) -> Run:
    async def run(number: int) -> object:
        client = await opened.cluster.client()
        return await client.submit(task, number, pure=False)

    return run


def _builds(executor: Executor) -> Run:
    async def run(number: int) -> object:
        return await executor.run(_request(number), lambda _: None)

    return run


async def _in_turns(rows: Mapping[str, Run], part: int) -> Mapping[str, float]:
    """Milliseconds that one takes, the median of each row."""
    taken: dict[str, list[float]] = {title: [] for title in rows}
    for number in range(part * _TURNS, (part + 1) * _TURNS):
        for title, run in rows.items():
            await asyncio.sleep(_PAUSE)
            began = time.perf_counter()
            await run(number)
            taken[title].append(time.perf_counter() - began)
    return {title: median(times) * 1000 for title, times in taken.items()}


async def _together(rows: Mapping[str, Run], part: int) -> Mapping[str, float]:
    """Milliseconds from one end to the next, of so many at a time."""
    limit = asyncio.Semaphore(_AT_ONCE)
    found = {}
    for title, run in rows.items():

        async def one(number: int, run: Run = run) -> None:
            async with limit:
                await run(number)

        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for number in range(_TURNS):
                tasks.create_task(one(10_000 + part * _TURNS + number))
        found[title] = (time.perf_counter() - began) / _TURNS * 1000
    return found


def _best(rounds: list[Mapping[str, float]]) -> Mapping[str, float]:
    return {title: min(each[title] for each in rounds) for title in rounds[0]}


async def _log_and_cancel(opened: Opened) -> None:
    """How long until the first line is here, and until the last process is gone."""
    lines, ends = [], []
    for number in range(_STOPS):
        log = Collector()
        request = _request(number, "sleep 600 & echo $!; wait")
        async with asyncio.TaskGroup() as tasks:
            began = time.perf_counter()
            running = tasks.create_task(opened.executor.run(request, log))
            await log.line()
            lines.append(time.perf_counter() - began)
            pid = int(await log.line())
            began = time.perf_counter()
            running.cancel()
            await gone(pid)
            ends.append(time.perf_counter() - began)
    print(f"milliseconds, {_STOPS} of each                  median       slowest")
    for title, times in ("to the first line of the log", lines), ("from cancel to the end", ends):
        print(f"  {title:30} {median(times) * 1000:12.0f} {max(times) * 1000:12.0f}")


def _through_the_engine() -> None:
    """From a commit to its results, all of which are recorded and told by then."""
    print(f"milliseconds a stage, {_STAGES} stages, {_AT_ONCE} at a time, from commit to results")
    for title, remote in ("builds on this machine", False), ("builds on the cluster", True):
        with tempfile.TemporaryDirectory(prefix="dkb-") as scratch:
            farm = Farm(Path(scratch))
            try:
                seconds = asyncio.run(_serve(farm, remote=remote))
            finally:
                farm.close()
        print(f"  {title:30} {seconds / _STAGES * 1000:12.1f}")


async def _serve(farm: Farm, *, remote: bool) -> float:
    """A service with its database in its own process, to which the worker connects."""
    farm.database = f"unix://{farm.directory}/socket"
    (farm.directory / "pipeline.py").write_text(_PIPELINE)
    checkout = farm.directory / "checkout"
    checkout.mkdir()
    git(checkout, "init", "--quiet", "--initial-branch=main")
    if remote:
        farm.schedule()
    settings = ServiceSettings(
        pipeline=farm.directory / "pipeline.py",
        work=farm.directory / "work",
        accounts=farm.directory / "accounts",
        database=farm.directory / "database.git",
        repositories=(f"{_TARGET.project}:{checkout}",),
        listen_9p=(farm.database,),
        web_ui="http://127.0.0.1:0",
        executor=f"dask:{farm.scheduler}" if remote else "local",
    )
    async with open_service(settings) as service:
        if remote:
            farm.hire("one", f"cpu={_AT_ONCE}")
            await asyncio.to_thread(farm.ready)
        times = [await _commit_and_wait(service.engine, checkout, word) for word in "abcd"]
    return min(times[1:])  # in the first one, processes are started


async def _commit_and_wait(engine: Engine, checkout: Path, word: str) -> float:
    began = time.perf_counter()
    await asyncio.to_thread(commit, checkout, word)
    await evaluated(engine, _TARGET, CommitId(ObjectId(git(checkout, "rev-parse", "HEAD"))))
    taken = time.perf_counter() - began
    await engine.idle()
    return taken


def _scaling() -> None:
    print(f"builds that sleep {_NAP} s, one at a time on each worker")
    print("  workers   builds a second   of the ideal   added to each, ms")
    for number in _CREWS:
        with (
            tempfile.TemporaryDirectory(prefix="dkb-") as scratch,
            running_farm(Path(scratch), {f"w{each}": "cpu=1" for each in range(number)}) as farm,
        ):
            rate = asyncio.run(_naps(farm, number))
        added = (number / rate - _NAP) * 1000
        print(f"  {number:7} {rate:17.1f} {rate / number * _NAP:13.0%} {added:17.0f}")


async def _naps(farm: Farm, workers: int) -> float:
    async with open_executor(farm, Path("nowhere.py")) as opened:

        async def wave(first: int, count: int, command: str) -> None:
            async with asyncio.TaskGroup() as tasks:
                for each in range(first, first + count):
                    run = opened.executor.run(_request(each, command), lambda _: None)
                    tasks.create_task(run)

        await wave(10_000, 4 * workers, "true")  # all have imported what they need
        began = time.perf_counter()
        await wave(0, _NAPS * workers, f"sleep {_NAP}")
        return _NAPS * workers / (time.perf_counter() - began)
