"""A cluster whose scheduler soon gives up: workers that are cut off, and builds that end them."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from datakit_ci.executors.base import LostBuild
from datakit_core.store.objects import EMPTY_TREE
from tests.support.farm import (
    Farm,
    Opened,
    command_request,
    open_executor,
    running_farm,
)
from tests.support.processes import Collector, gone

SETTINGS = {
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "2s",
}


@pytest.fixture(scope="module")
def farm() -> Iterator[Farm]:
    with (
        tempfile.TemporaryDirectory(prefix="farm-") as directory,  # short, for its socket
        running_farm(Path(directory), {"one": "cpu=1", "two": "cpu=1"}, settings=SETTINGS) as farm,
    ):
        yield farm


@pytest.fixture
async def opened(farm: Farm) -> AsyncIterator[Opened]:
    async with open_executor(farm, Path("nowhere.py")) as opened:
        await opened.until(lambda crew: len(crew.workers) == 2)
        yield opened


async def pid_in(log: Collector) -> int:
    """The process that a build has printed, past what is not from it."""
    while not (line := await log.line()).isdecimal():
        continue
    return int(line)


async def test_a_build_of_a_machine_that_is_cut_off_runs_elsewhere(
    farm: Farm, opened: Opened, tmp_path: Path
) -> None:
    log, go = Collector(), tmp_path / "go"
    request = command_request(f"echo $$; while test ! -e {go}; do sleep 0.01; done", EMPTY_TREE)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(opened.executor.run(request, log))
        first = await pid_in(log)
        silent = farm.workers[farm.worker_of(first)].process
        silent.send_signal(signal.SIGSTOP)
        second = await pid_in(log)
        assert farm.workers[farm.worker_of(second)].process is not silent
        go.touch()
    assert running.result().failure is None
    assert second != first
    silent.send_signal(signal.SIGCONT)  # it finds that it was given up, and comes back
    await opened.until(lambda crew: len(crew.workers) == 2)
    await gone(first)


async def test_a_build_that_ends_its_workers_is_given_up(
    farm: Farm, opened: Opened, tmp_path: Path
) -> None:
    log = Collector()
    command = f"echo $$; while test ! -e {tmp_path}/never; do sleep 0.01; done"
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(_loss(opened, command, log))
        for _ in range(2):
            pid = await pid_in(log)
            name = farm.worker_of(pid)
            farm.workers[name].kill()
            await gone(pid)
            farm.hire(name, "cpu=1")
    assert running.result() == "2 workers, one after the other, ended while it ran"
    farm.ready()


async def _loss(opened: Opened, command: str, log: Collector) -> str:
    with pytest.raises(LostBuild) as lost:
        await opened.executor.run(command_request(command, EMPTY_TREE, key="2"), log)
    return str(lost.value)
