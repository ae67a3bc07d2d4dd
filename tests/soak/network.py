"""Links cut and machines switched off at random: every build comes to its one result.

``DATAKIT_CUTS`` is the number of rounds, each with a build; ``DATAKIT_PATIENCE`` is for how many
seconds silence is borne, by all parts; ``DATAKIT_SEED`` repeats a run. ``make soak`` runs it.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.far_farm import WORKERS, FarFarm, Scene, far_farm, result_of, serving
from tests.support.git import commit_file
from tests.support.laboratory import no_laboratory
from tests.support.processes import gone

ROUNDS = int(os.environ.get("DATAKIT_CUTS", "10"))
PATIENCE = float(os.environ.get("DATAKIT_PATIENCE", "60"))
SEED = int(os.environ.get("DATAKIT_SEED", str(random.randrange(1 << 32))))
LINKS = [
    ("engine", "scheduler"),
    ("engine", "database"),
    WORKERS,
    *itertools.product(("scheduler", "database"), WORKERS),
]
SETTINGS = {
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "10",
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": f"{PATIENCE:g}s",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": f"{max(11.0, PATIENCE):g}s",
}
SLACK = 120.0 + 10 * PATIENCE
"""Seconds after the last fault within which all is well again."""


@pytest.mark.timeout(0)
async def test_each_build_comes_to_one_result_whatever_is_cut() -> None:
    if reason := no_laboratory():
        pytest.skip(reason)
    chance = random.Random(SEED)
    print(f"DATAKIT_SEED={SEED}", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="farm-") as name,
        far_farm(Path(name), PATIENCE, SETTINGS) as farm,
    ):
        async with serving(farm, Path(name), "me/soak") as scene:
            for number in range(1, ROUNDS + 1):
                try:
                    async with asyncio.timeout(SLACK + 10 * PATIENCE):
                        await _round(farm, scene, chance, number)
                except TimeoutError:
                    pytest.fail(f"round {number} of seed {SEED} has not come to its end")


async def _round(farm: FarFarm, scene: Scene, chance: random.Random, number: int) -> None:
    """One build, and what happens meanwhile."""
    scene.beacon.go.unlink(missing_ok=True)
    commit = scene.commit
    if number > 1:
        commit = commit_file(scene.directory, "round", b"%d" % number)
    pids = {await scene.beacon.begun()}
    faults = [_fault(farm, chance) for _ in range(chance.randint(1, 3))]
    mend: dict[str, Callable[[], None]] = {}
    for name, cause, end in faults:
        print(f"round {number}: {name}", flush=True)
        await asyncio.sleep(chance.uniform(0, PATIENCE))  # when it happens is up to chance
        cause()
        mend[name] = end
    if chance.random() < 0.5:
        scene.beacon.go.touch()
    await asyncio.sleep(chance.uniform(0, 3 * PATIENCE))
    for end in mend.values():
        end()
    farm.network.heal_all()
    result = await result_of(farm, scene, commit)
    assert result.files == {"out": b"made\n"}
    assert result.recorded == number, "each build is recorded once"
    pids.update(scene.beacon.processes())
    for pid in pids:
        await gone(pid, SLACK)
    print(f"round {number}: begun {len(pids)} times", flush=True)


def _fault(
    farm: FarFarm, chance: random.Random
) -> tuple[str, Callable[[], None], Callable[[], None]]:
    """What breaks: its name, how, and how it is mended besides the links."""
    match chance.randrange(10):
        case 0:
            return "the scheduler is killed", farm.kill_scheduler, farm.schedule
        case 1:
            return "the database is killed", farm.kill_database, farm.serve
        case 2:
            name = chance.choice(WORKERS)
            worker = farm.workers[name]
            return f"worker {name} is killed", worker.kill, lambda: farm.hire(name)
        case _:
            one, other = chance.choice(LINKS)
            return f"{one} and {other} are cut", lambda: farm.network.cut(one, other), _nothing


def _nothing() -> None:
    """There is nothing to be done."""
