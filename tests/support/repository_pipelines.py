"""A repository in a database whose pipeline is in its own tree, and engines that test it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from datakit_ci import Config, Project
from datakit_ci.engine import Engine
from datakit_ci.executors.base import Executor
from datakit_ci.metadata import BRANCH
from datakit_ci.state import BuildState, JobState, Status, TargetState
from datakit_ci.target import Target
from datakit_core.client.api import CommitId, Database
from tests.support.branches import commit_files
from tests.support.executors import Recorder

__all__ = [
    "FILES",
    "MAIN",
    "PATH",
    "PIPELINE",
    "PULL",
    "WORDS",
    "World",
    "build",
    "job",
    "state",
    "until",
]

PATH = "ci/pipeline.py"
MAIN = Target("me/app", "heads", "main")
PULL = Target("me/app", "pr", "7")

PIPELINE = """
from datakit_ci import shell, stage
import words

build = shell("build", "tr a-z A-Z < text > loud", inputs=["text"], outputs=["loud"])

@stage
def count(source):
    return {"count": words.counted(source.read("loud"))}

def jobs(target):
    built = build(target.source)
    return {"build": built, "count": count(built)}
"""

WORDS = """
def counted(data):
    return str(len(data.split()))
"""

FILES = {PATH: PIPELINE, "ci/words.py": WORDS, "text": "one two\n"}


class UserRecorder(Recorder):
    """Tells what ran of the user's from the import of pipelines."""

    @property
    def stages(self) -> list[str]:
        """What ran of the user's, in alphabetical order."""
        names = (request.spec.name for request in self.requests)
        return sorted(name for name in names if name != "datakit.pipeline")

    @property
    def drafts(self) -> int:
        """How many pipelines were imported."""
        return sum(request.spec.name == "datakit.pipeline" for request in self.requests)


class World:
    """The database, with a history of each target; its engines come and go."""

    def __init__(self, database: Database, executor: Executor, directory: Path) -> None:
        self.database = database
        self.recorder = UserRecorder(executor)
        self._directory = directory
        self._executor = executor

    async def move(
        self, files: Mapping[str, str | None], target: Target = MAIN, **facts: str
    ) -> CommitId:
        """Commit ``files`` and move ``target`` there; ``facts`` are a pull request's."""
        contents = {path: None if text is None else text.encode() for path, text in files.items()}
        branch = f"source-{target.kind_value}-{target.name}"
        head = await commit_files(self.database, branch, contents)
        said = {**facts, "head": head}
        metadata = {f"{target.path}/{name}": f"{text}\n".encode() for name, text in said.items()}
        await commit_files(self.database, BRANCH, metadata)
        return head

    async def settle(
        self, engine: Engine, files: Mapping[str, str | None], target: Target = MAIN, **facts: str
    ) -> CommitId:
        """:meth:`move`, and wait until ``engine`` has nothing left to do about it."""
        head = await self.move(files, target, **facts)
        changes = engine.changes()
        async for _ in changes:
            known = engine.target(target)
            if known is not None and known.head == head:
                break
        await changes.aclose()  # type: ignore[attr-defined]
        await engine.idle()
        return head

    @asynccontextmanager
    async def engine(
        self, *, project: Project | None = None, **config: Any
    ) -> AsyncIterator[Engine]:
        """A running engine; by default for a project whose pipeline is in its tree."""
        self.recorder.requests.clear()
        project = project or Project("me/app", pipeline=PATH)
        declared = Config(projects=[project], **config)
        spool = self._directory / "spool"
        async with (
            Engine(self.database, declared, self.recorder, spool) as engine,
            asyncio.TaskGroup() as group,
        ):
            task = group.create_task(engine.run())
            yield engine
            task.cancel()

    async def content(self, engine: Engine, name: str, path: str, target: Target = MAIN) -> str:
        """A file that the build of a job has made."""
        output = (await build(engine, name, target)).output
        assert output is not None
        return (await self.database.read(output, path)).decode()


def state(engine: Engine, target: Target = MAIN) -> TargetState:
    found = engine.target(target)
    assert found is not None
    return found


def job(engine: Engine, name: str, target: Target = MAIN) -> JobState:
    """A job of a target."""
    jobs = {each.name: each for each in state(engine, target).jobs}
    assert name in jobs, jobs
    return jobs[name]


async def build(engine: Engine, name: str, target: Target = MAIN) -> BuildState:
    found = await engine.build(job(engine, name, target).builds[-1])
    assert found is not None
    return found


async def until(
    engine: Engine, name: str, status: Status, text: str = "", target: Target = MAIN
) -> JobState:
    """Wait until a job stands like this."""

    def holds(jobs: tuple[JobState, ...]) -> JobState | None:
        for each in jobs:
            if each.name == name and each.status is status and text in each.description:
                return each
        return None

    changes = engine.changes()
    try:
        async for _ in changes:
            known = engine.target(target)
            if known is not None and (found := holds(known.jobs)) is not None:
                return found
    finally:
        await changes.aclose()  # type: ignore[attr-defined]
    raise AssertionError("changes never end")
