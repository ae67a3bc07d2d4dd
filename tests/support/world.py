"""A small world for stories about engines: one repository, scripted builds, a clock that stands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from datakit_ci import Config, Project, Stage, TargetTerms, Term
from datakit_ci.engine import Engine
from datakit_ci.executors.base import BuildRequest
from datakit_ci.metadata import BRANCH
from datakit_ci.outcome import Outcome
from datakit_ci.process import Sink
from datakit_ci.state import BuildState, JobState, Status
from datakit_ci.tally import Tally
from datakit_ci.target import Target
from datakit_core.client.api import CommitId, Database
from tests.support.branches import commit_files
from tests.support.clock import FakeClock
from tests.support.executors import Behaviour, ScriptedExecutor

__all__ = ["MAIN", "OTHER", "World", "build", "in_turn", "job", "settled_at", "stands", "until"]

MAIN = Target("me/app", "heads", "main")
OTHER = Target("me/app", "heads", "other")


class World:
    """A database with one repository, a clock, and engines that come and go."""

    def __init__(self, database: Database, directory: Path) -> None:
        self.database = database
        self.executor = ScriptedExecutor(database)
        self.clock = FakeClock()
        self.tally = Tally()
        self._directory = directory

    async def commit(self, files: Mapping[str, bytes], target: Target = MAIN) -> CommitId:
        head = await commit_files(self.database, f"source-{target.name}", dict(files))
        await commit_files(self.database, BRANCH, {f"{target.path}/head": f"{head}\n".encode()})
        return head

    @asynccontextmanager
    async def engine(self, *stages: Stage[...], **config: Any) -> AsyncIterator[Engine]:
        """An engine with a job for each stage; a stage is given what the one before it made."""

        def jobs(target: TargetTerms) -> Mapping[str, Term[object]]:
            terms, source = dict[str, Term[object]](), target.source
            for stage in stages:
                terms[stage.name] = source = stage(source)
            return terms

        async with self.engine_of(jobs, **config) as engine:
            yield engine

    @asynccontextmanager
    async def engine_of(
        self, jobs: Callable[[TargetTerms], Mapping[str, Term[object]]], **config: Any
    ) -> AsyncIterator[Engine]:
        """An engine with these jobs."""
        declared = Config(projects=[Project("me/app", jobs)], **config)
        spool = self._directory / "spool"
        engine = Engine(
            self.database, declared, self.executor, spool, clock=self.clock, tally=self.tally
        )
        async with (
            engine,
            asyncio.TaskGroup() as group,
        ):
            task = group.create_task(engine.run())
            yield engine
            task.cancel()


def job(engine: Engine, name: str, target: Target = MAIN) -> JobState:
    state = engine.target(target)
    assert state is not None
    return next(job for job in state.jobs if job.name == name)


async def build(engine: Engine, name: str) -> BuildState:
    found = await engine.build(job(engine, name).builds[-1])
    assert found is not None
    return found


async def until(engine: Engine, condition: Callable[[], bool]) -> None:
    """Wait for something about the targets."""
    changes = engine.changes()
    async for _ in changes:
        if condition():
            break
    await changes.aclose()  # type: ignore[attr-defined]


def stands(
    engine: Engine, name: str, status: Status, text: str = "", target: Target = MAIN
) -> Callable[[], bool]:
    def holds() -> bool:
        state = engine.target(target)
        return state is not None and any(
            job.name == name and job.status is status and text in job.description
            for job in state.jobs
        )

    return holds


def in_turn(*outcomes: Outcome | Exception) -> Behaviour:
    """A behaviour that comes to the next of ``outcomes`` each time."""
    rest = list(outcomes)

    async def behave(request: BuildRequest, log: Sink) -> Outcome:
        outcome = rest.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return behave


async def settled_at(engine: Engine, head: CommitId, target: Target = MAIN) -> None:
    """Wait until the engine has seen that a target is at ``head``, and is done with it."""

    def is_there() -> bool:
        state = engine.target(target)
        return state is not None and state.head == head

    await until(engine, is_there)
    await engine.idle()
