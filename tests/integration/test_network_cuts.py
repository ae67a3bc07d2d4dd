"""Links between machines that are cut without a word: what goes on, and what is done again."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.support.far_farm import WORKERS, FarFarm, Scene, far_farm, result_of, serving
from tests.support.laboratory import no_laboratory
from tests.support.processes import gone

PATIENCE = 2.0
PATIENT = 40.0
"""Seconds for a process to be gone: a scheduler's connections take 11 s, and machines are slow."""

SETTINGS = {
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "2",
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "2s",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "11s",  # the least that Dask takes
}


@pytest.fixture(scope="module")
def farm() -> Iterator[FarFarm]:
    if reason := no_laboratory():
        pytest.skip(reason)
    with (
        tempfile.TemporaryDirectory(prefix="farm-") as directory,
        far_farm(Path(directory), PATIENCE, SETTINGS) as farm,
    ):
        yield farm


@pytest.fixture
async def scene(farm: FarFarm, request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    project = f"me/{request.function.__name__.replace('_', '-')[:40]}"
    farm.network.heal_all()
    directory = farm.directory / project
    directory.mkdir(parents=True)
    async with serving(farm, directory, project) as scene:
        await until_workers(scene, *WORKERS)
        yield scene
        farm.network.heal_all()


def workers_on(page: str) -> set[str]:
    """The workers that a page lists."""
    return {name for name in WORKERS if re.search(rf">\s*{name}\s*<", page)}


async def until(scene: Scene, path: str, condition: Callable[[str], bool]) -> None:
    """Wait until a page says something; it is asked for again now and then, as browsers do."""
    while True:
        if condition(await scene.service.page(path)):
            return
        await asyncio.sleep(0.2)


async def until_workers(scene: Scene, *names: str) -> None:
    """Wait until these work."""
    await until(scene, "pools", lambda page: workers_on(page) == set(names))


async def until_said(scene: Scene, path: str, words: str) -> None:
    """Wait until a page says this."""
    await until(scene, path, lambda page: words in page)


async def until_over(scene: Scene, path: str, words: str) -> None:
    """Wait until a page does not say this any more."""
    await until(scene, path, lambda page: words not in page)


async def finish(scene: Scene, farm: FarFarm) -> str:
    """Let the build end, and see that it was recorded, once; the log."""
    result = await result_of(farm, scene, scene.commit)
    assert (result.files, result.recorded) == ({"out": b"made\n"}, 1)
    return result.log


async def test_a_build_of_a_worker_that_the_scheduler_cannot_reach_ends_and_runs_elsewhere(
    farm: FarFarm, scene: Scene
) -> None:
    first = await scene.beacon.begun()
    lost = farm.worker_of(first)
    farm.network.cut("scheduler", lost)
    second = await scene.beacon.begun()
    other = farm.worker_of(second)
    assert other != lost
    await gone(first, PATIENT)
    assert f"begun again on worker {other}" in await finish(scene, farm)
    await until_workers(scene, other)
    farm.network.heal_all()
    await until_workers(scene, *WORKERS)


async def test_a_build_whose_engine_the_scheduler_cannot_reach_ends_and_is_asked_for_again(
    farm: FarFarm, scene: Scene
) -> None:
    first = await scene.beacon.begun()
    farm.network.cut("engine", "scheduler")
    await until_said(scene, "", f"The scheduler at {farm.scheduler} is away since")
    await gone(first, PATIENT)
    farm.network.heal("engine", "scheduler")
    await scene.beacon.begun()
    await until_over(scene, "", "is away since")
    assert "the connection to the scheduler was lost; it is begun again" in await finish(
        scene, farm
    )


async def test_a_link_between_engine_and_scheduler_that_is_soon_mended_ends_nothing(
    farm: FarFarm, scene: Scene
) -> None:
    first = await scene.beacon.begun()
    farm.network.cut("engine", "scheduler")
    await until_said(scene, "", f"The scheduler at {farm.scheduler} is away since")
    farm.network.heal("engine", "scheduler")
    await until_over(scene, "", "is away since")
    assert "the connection to the scheduler was lost" in await finish(scene, farm)
    await gone(first, PATIENT)


async def test_a_result_is_recorded_when_the_engine_reaches_its_database_again(
    farm: FarFarm, scene: Scene
) -> None:
    first = await scene.beacon.begun()
    farm.network.cut("engine", "database")
    scene.beacon.go.touch()
    await scene.beacon.ended()
    await until_said(scene, "", f"The database at {farm.database} is away since")
    farm.network.heal("engine", "database")
    assert "begun again" not in await finish(scene, farm)
    await until_over(scene, "", "is away since")
    await gone(first, PATIENT)


async def test_a_build_of_a_worker_that_cannot_reach_the_database_runs_elsewhere(
    farm: FarFarm, scene: Scene
) -> None:
    first = await scene.beacon.begun()
    lost = farm.worker_of(first)
    farm.network.cut(lost, "database")
    scene.beacon.go.touch()
    await scene.beacon.ended()
    await scene.beacon.begun()
    await until_said(scene, "pools", "it cannot reach the database")
    log = await finish(scene, farm)
    assert f"worker {lost} cannot reach the database; it is begun again" in log
    farm.network.heal(lost, "database")
    await until_over(scene, "pools", "it cannot reach the database")
    await gone(first, PATIENT)


async def test_workers_that_cannot_reach_one_another_do_not_mind(
    farm: FarFarm, scene: Scene
) -> None:
    first = await scene.beacon.begun()
    farm.network.cut(*WORKERS)
    assert "begun again" not in await finish(scene, farm)
    await gone(first, PATIENT)


async def test_a_database_that_is_switched_off_and_on_again_gets_the_result(
    farm: FarFarm, scene: Scene
) -> None:
    first = await scene.beacon.begun()
    for machine in ("engine", *WORKERS):
        farm.network.cut(machine, "database")
    farm.kill_database()
    scene.beacon.go.touch()
    await until_said(scene, "", f"The database at {farm.database} is away since")
    farm.serve()
    farm.network.heal_all()
    assert "begun again" not in await finish(scene, farm)
    await until_over(scene, "", "is away since")
    await gone(first, PATIENT)


async def test_a_scheduler_that_is_switched_off_and_on_again_is_asked_again(
    farm: FarFarm, scene: Scene
) -> None:
    first = await scene.beacon.begun()
    for machine in ("engine", *WORKERS):
        farm.network.cut(machine, "scheduler")
    farm.kill_scheduler()
    await until_said(scene, "", f"The scheduler at {farm.scheduler} is away since")
    await gone(first, PATIENT)
    farm.schedule()
    farm.network.heal_all()
    await scene.beacon.begun()
    await finish(scene, farm)
    await until_workers(scene, *WORKERS)


async def test_a_network_that_loses_packets_only_takes_longer(farm: FarFarm, scene: Scene) -> None:
    farm.network.lose(0.05)
    first = await scene.beacon.begun()
    await finish(scene, farm)
    await gone(first, PATIENT)
