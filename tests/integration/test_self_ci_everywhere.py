"""This repository's own pipeline, run by an engine here and on a cluster: the results are equal.

Of its stages those that take seconds; what takes minutes (types, tests) or a container engine (the
images) is run by hand.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from datakit_ci.engine import Engine
from datakit_ci.heads import FixedHeads
from datakit_ci.meta import Meta
from datakit_ci.outcome import Outcome
from datakit_ci.project import Config, Project, TargetTerms
from datakit_ci.target import Target
from datakit_ci.term import Term
from datakit_core.client.api import CommitId, Database
from datakit_core.store.objects import EMPTY_TREE
from self_ci import pipeline
from tests.support.executors import Recorder
from tests.support.farm import Farm
from tests.support.places import Place, beside, on_farm

ROOT = Path(__file__).parents[2]

MAIN = Target("datakit/datakit", "heads", "main")

STAGES = {"contracts", "documents", "install", "links", "lint", "sizes", "wheel"}

MADE = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


def jobs(target: TargetTerms) -> Mapping[str, Term[object]]:
    return {name: term for name, term in pipeline.jobs(target).items() if name in STAGES}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What Git has of this repository, as far as these stages look."""
    copy = tmp_path / "checkout"
    copy.mkdir()
    for name in {*pipeline.SOURCES, *pipeline.PACKAGES, *pipeline.PROSE, "deploy", "docker"}:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=MADE)
        else:
            shutil.copy(ROOT / name, copy)
    return copy


@pytest.mark.timeout(300)  # linters, a wheel, and the tests of the documents, twice
@pytest.mark.parametrize("other", ["dask"])
async def test_results_are_equal_here_and_on_a_cluster(
    checkout: Path, shared_farm: Farm, tmp_path: Path, other: str
) -> None:
    here, said_here = await results(beside(place(tmp_path / "here")), checkout, tmp_path / "a")
    on_cluster = on_farm(shared_farm, place(tmp_path / "there"))
    there, said_there = await results(on_cluster, checkout, tmp_path / "b")
    assert said_here.keys() == STAGES
    assert said_here["install"].failure is None
    assert said_there == said_here
    assert {path.split("/")[0] for path in here} == STAGES
    assert any("/value/" in path for path in here)
    assert any("/trace/" in path for path in here)
    assert there == here


def place(directory: Path) -> Path:
    """A directory with the pipeline."""
    directory.mkdir()
    assert pipeline.__file__ is not None
    (directory / "pipeline.py").symlink_to(pipeline.__file__)
    return directory


async def results(
    opened: AbstractAsyncContextManager[Place], checkout: Path, spool: Path
) -> tuple[Mapping[str, str], Mapping[str, Outcome]]:
    """What was recorded, by path below the stage, and what the executor said."""
    async with opened as place:
        database, recorder = place.database, Recorder(place.executor)
        head = await commit(database, checkout)
        config = Config(projects=[Project(MAIN.project, jobs)])
        engine = Engine(database, config, recorder, spool, heads=FixedHeads({MAIN: head}))
        async with engine, asyncio.TaskGroup() as group:
            task = group.create_task(engine.run())
            await engine.idle()
            task.cancel()
        said = {name: plain(outcome) for name, outcome in recorder.outcomes.items()}
        return await recorded(database), said


async def commit(database: Database, checkout: Path) -> CommitId:
    tree = await database.import_directory(checkout)
    async with database.transaction("source") as transaction:
        for name, entry in (await database.tree(tree)).items():
            await transaction.graft(name, entry)
        return await transaction.commit("A commit")


def plain(outcome: Outcome) -> Outcome:
    """An outcome without who ran it."""
    details = tuple(each for each in outcome.details if each[0] != "worker")
    return replace(outcome, executor="", details=details)


async def recorded(database: Database) -> Mapping[str, str]:
    """The ids of all files of all results, but for logs, times and who ran it."""
    found: dict[str, str] = {}
    prefix = "results/datakit-datakit/"
    for branch, head in (await database.branches()).items():
        if not branch.startswith(prefix):
            continue
        tree = (await database.commit(head)).tree
        for change in await database.diff(EMPTY_TREE, tree):
            name = f"{branch.removeprefix(prefix)}/{change.path}"
            match change.path.split("/")[-1]:
                case "log" | "times.json":
                    continue
                case "meta.json":
                    found[name] = about(await database.read(tree, change.path))
                case _:
                    entry = await database.entry(tree, change.path)
                    assert entry is not None
                    found[name] = entry.id
    return found


def about(data: bytes) -> str:
    """What is the same of a result's circumstances."""
    meta = Meta.from_bytes(data)
    details = {name: text for name, text in meta.details.items() if name != "worker"}
    return f"{meta.command} on {meta.input}: {meta.exit_status}, {details}"
