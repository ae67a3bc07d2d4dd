"""The example of an executor runs an engine's builds, as ``docs/executors.md`` promises."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from datakit_ci.engine import Engine
from datakit_ci.executors.base import BuildRequest
from datakit_ci.metadata import BRANCH, field, head_path
from datakit_ci.project import load_pipeline
from datakit_ci.spec import StageKind, StageSpec
from datakit_ci.state import BuildId, JobState
from datakit_ci.target import Target
from datakit_core.client.local import open_local
from examples.executor import PlainExecutor
from tests.support.branches import commit_files
from tests.support.processes import Collector, gone

MAIN = Target("me/app", "heads", "main")

PIPELINE = """
from datakit_ci import Config, Project, shell, stage

count = shell("count", "ls > out/seen; cat text/* | wc -w | tr -d ' ' > out/count",
              inputs=["text", "out"], outputs=["out/count", "out/seen"])
again = shell("again", "echo from $WHERE; sed s/^/words:/ out/count > end",
              outputs=["end"], env={"WHERE": "there"})
fails = shell("fails", "echo no; exit 3")
slow = shell("slow", "exec sleep 600", timeout=0.05)
nothing = shell("nothing", "true", outputs=["made"])

@stage
def function(source):
    return source

def jobs(target):
    one = count(target.source)
    return {
        "count": one, "again": again(one), "fails": fails(one), "slow": slow(one),
        "nothing": nothing(one), "function": function(one),
    }

config = Config(projects=[Project("me/app", jobs)])
"""

FILES = {"text/a": b"one two", "text/b": b" three", "out/.keep": b"", "other": b"not seen"}


async def test_an_engine_runs_a_pipeline_with_it(tmp_path: Path) -> None:
    pipeline = tmp_path / "pipeline.py"
    pipeline.write_text(PIPELINE)
    async with open_local(tmp_path / "db.git", create=True) as database:
        head = await commit_files(database, "source", FILES)
        await commit_files(database, BRANCH, {head_path(MAIN): field(head)})
        executor = PlainExecutor(database)
        engine = Engine(database, load_pipeline(pipeline), executor, tmp_path / "logs")
        jobs: dict[str, JobState] = {}
        async with engine, asyncio.TaskGroup() as tasks:
            running = tasks.create_task(engine.run())
            await engine.idle()
            state = engine.target(MAIN)
            assert state is not None
            assert not state.problem
            jobs = {job.name: job for job in state.jobs}
            made = [await engine.build(jobs[name].builds[-1]) for name in ("count", "again")]
            running.cancel()
        assert {name: job.description.split(" in ")[0] for name, job in jobs.items()} == {
            "count": "passed",
            "again": "passed",
            "fails": "exited with status 3",
            "slow": "took longer than 0.05 s and was killed",
            "nothing": "made no made, which it declares as output",
            "function": "function is a function: this executor runs only commands",
        }
        counted, again = [build.output for build in made if build is not None]
        assert counted is not None
        assert await database.read(counted, "out/seen") == b"out\ntext\n", "as it declares"
        assert again is not None
        assert await database.read(again, "end") == b"words:3\n"


async def test_cancelling_ends_what_runs(tmp_path: Path) -> None:
    log = Collector()
    async with open_local(tmp_path / "db.git", create=True) as database:
        head = await commit_files(database, "source", FILES)
        spec = StageSpec("endless", StageKind.SHELL, "echo $$; sleep 600 & wait", "0" * 64)
        build = BuildId("me/app", "endless", "0" * 64, "1" * 64)
        request = BuildRequest(build, spec, (await database.commit(head)).tree)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(PlainExecutor(database).run(request, log))
            pid = int(await log.line())
            running.cancel()
        await gone(pid)
    with pytest.raises(asyncio.CancelledError):
        running.result()
