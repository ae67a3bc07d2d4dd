"""Builds on a Dask cluster, beside those on this machine and plain tasks: ``python -m bench dask``.

The cluster is real processes on loopback. A build runs ``true`` in an empty tree, so what is left
is what running it costs. A plain task is a coroutine that returns at once.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

from datakit_ci.executors.base import BuildRequest, Executor
from datakit_ci.executors.local import LocalExecutor
from datakit_ci.spec import StageKind, StageSpec
from datakit_ci.state import BuildId
from datakit_core.client.local import open_local
from datakit_core.store.objects import EMPTY_TREE
from tests.support.farm import Farm, Opened, open_executor, running_farm
from tests.support.processes import Collector, gone

__all__ = ["main"]

_RUNS = 200
_AT_ONCE = 4
_CREWS = (1, 2, 4, 8)
_NAP = 0.5
_NAPS = 8
"""Builds that sleep, for each worker."""


def main() -> None:
    """Print all tables."""
    with tempfile.TemporaryDirectory(prefix="dkb-") as scratch:
        with running_farm(Path(scratch), {"one": f"cpu={_AT_ONCE}"}) as farm:
            asyncio.run(_costs(farm))
        _scaling()


async def _costs(farm: Farm) -> None:
    scratch = farm.directory / "local"
    async with (
        open_executor(farm, Path("nowhere.py")) as opened,
        open_local(scratch / "db.git", create=True) as database,
        LocalExecutor(database, scratch / "db.git", Path("x"), scratch / "work") as local,
    ):
        rows: list[tuple[str, Callable[[int], Awaitable[object]]]] = [
            ("a plain task", _plain(opened)),
            ("a build on this machine", _builds(local)),
            ("a build on the cluster", _builds(opened.executor)),
        ]
        print(f"milliseconds, {_RUNS} of each        one by one   {_AT_ONCE} at a time, each")
        for title, run in rows:
            await run(-1)  # the first one starts processes and imports
            print(f"  {title:34} {await _one_by_one(run):8.1f} {await _together(run):12.1f}")
        await _log_and_cancel(opened)


def _request(number: int, command: str = "true") -> BuildRequest:
    spec = StageSpec("stage", StageKind.SHELL, command, "0" * 64)
    key = f"{number & 0xFFFFFFFF:064x}"
    return BuildRequest(BuildId("me/app", "stage", "0" * 64, key), spec, EMPTY_TREE)


async def _nothing(number: int) -> int:
    return number


def _plain(opened: Opened) -> Callable[[int], Awaitable[object]]:
    async def run(number: int) -> object:
        client = await opened.cluster.client()
        future = client.submit(_nothing, number, pure=False)
        return await future

    return run


def _builds(executor: Executor) -> Callable[[int], Awaitable[object]]:
    async def run(number: int) -> object:
        return await executor.run(_request(number), lambda _: None)

    return run


async def _one_by_one(run: Callable[[int], Awaitable[object]]) -> float:
    """Milliseconds that one takes."""
    taken = []
    for number in range(_RUNS):
        began = time.perf_counter()
        await run(number)
        taken.append(time.perf_counter() - began)
    return median(taken) * 1000


async def _together(run: Callable[[int], Awaitable[object]]) -> float:
    """Milliseconds from one end to the next, of so many at a time."""
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(number: int) -> None:
        async with limit:
            await run(number)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(_RUNS, 2 * _RUNS):
            tasks.create_task(one(number))
    return (time.perf_counter() - began) / _RUNS * 1000


async def _log_and_cancel(opened: Opened) -> None:
    """How long until the first line is here, and until the last process is gone."""
    lines, ends = [], []
    for number in range(10):
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
    print(f"  from asking to the first line of the log    {median(lines) * 1000:8.0f}")
    print(f"  from cancelling to the last process's end   {median(ends) * 1000:8.0f}")


def _scaling() -> None:
    print(f"builds that sleep {_NAP} s, one at a time on each worker")
    print("  workers   builds a second   of the ideal")
    for number in _CREWS:
        with (
            tempfile.TemporaryDirectory(prefix="dkb-") as scratch,
            running_farm(Path(scratch), {f"w{each}": "cpu=1" for each in range(number)}) as farm,
        ):
            rate = asyncio.run(_naps(farm, number))
        print(f"  {number:7} {rate:17.1f} {rate / number * _NAP:13.0%}")


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
