"""Where builds run, for tests that mean the same beside the engine and on a cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from datakit_ci.executors.base import Executor
from datakit_ci.executors.local import LocalExecutor
from datakit_ci.executors.routing import RoutingExecutor
from datakit_core.client.api import Database
from tests.support.databases import BACK_ENDS
from tests.support.farm import Farm, open_executor

__all__ = ["BOTH", "Place", "beside", "on_farm"]

BOTH = pytest.mark.parametrize("place", ["local", "dask"], indirect=True)
"""Run a test beside the engine, and then on the cluster."""


@dataclass(frozen=True, slots=True)
class Place:
    """A database without any branches, and an executor.

    Attributes:
        database: The database.
        executor: Runs builds; the pipeline is ``pipeline.py`` in the test's directory.
        repository: The database's.
        builds: The directories in which builds have theirs.
    """

    database: Database
    executor: Executor
    repository: Path
    builds: Sequence[Path]


@asynccontextmanager
async def beside(directory: Path) -> AsyncIterator[Place]:
    """Builds run on this machine, as in a service with a database of its own."""
    repository, work = directory / "database.git", directory / "work"
    async with (
        BACK_ENDS["local"](repository) as database,
        LocalExecutor(database, repository, directory / "pipeline.py", work, grace=0.1) as executor,
    ):
        yield Place(database, executor, repository, [work])


@asynccontextmanager
async def on_farm(farm: Farm, directory: Path) -> AsyncIterator[Place]:
    """Builds run on a cluster, as with ``--executor``."""
    pipeline, work = directory / "pipeline.py", directory / "work"
    async with open_executor(farm, pipeline) as opened:
        database = opened.database
        for branch in await database.branches():
            await database.remove_branch(branch)
        async with LocalExecutor(database, farm.repository, pipeline, work, grace=0.1) as local:
            builds = [farm.directory / name / "builds" for name in farm.workers]
            executor = RoutingExecutor(local, opened.executor)
            yield Place(database, executor, farm.repository, [work, *builds])
