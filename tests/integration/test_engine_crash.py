"""kill -9 in the middle of a build: nothing survives, nothing is broken, nothing is run twice."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from datakit_ci.engine import Engine
from datakit_ci.executors.base import BuildRequest
from datakit_ci.executors.local import LocalExecutor
from datakit_ci.outcome import Outcome
from datakit_ci.process import Sink
from datakit_ci.project import load_pipeline
from datakit_ci.state import Status
from datakit_ci.target import Target
from datakit_core.client.api import Database
from datakit_core.client.local import open_local
from tests.support.processes import gone

MAIN = Target("me/app", "heads", "main")

PIPELINE = """
from datakit_ci import Config, Project, shell

quick = shell("quick", "cat data > out", outputs=["out"])
slow = shell("slow", "echo $PPID $$; test -e {go} || exec sleep 1000; cat out")

def jobs(target):
    made = quick(target.source)
    return {{"quick": made, "slow": slow(made)}}

config = Config(projects=[Project("me/app", jobs)], pools={{"cpu": 2}})
"""

ENGINE = """
import asyncio, sys
from pathlib import Path
from datakit_ci.target import Target
from datakit_core.client.local import open_local
from tests.integration.test_engine_crash import MAIN, start

async def main(directory):
    async with open_local(directory / "db.git", create=True) as database:
        async with database.transaction("main") as transaction:
            await transaction.write("data", b"data")
            head = await transaction.commit("A change")
        async with database.transaction("github-metadata") as transaction:
            await transaction.write(f"{MAIN.path}/head", f"{head}\\n".encode())
            await transaction.commit("Move a head")
        async with start(database, directory) as (engine, _):
            async for _ in engine.changes():
                state = engine.target(MAIN)
                for job in state.jobs if state else ():
                    if job.name == "slow" and job.status.value == "running":
                        async for line in engine.follow_log(job.builds[-1]):
                            print(line.decode(), flush=True, end="")

asyncio.run(main(Path(sys.argv[1])))
"""


class Recorder:
    """An executor that remembers what it ran."""

    name = "local"

    def __init__(self, executor: LocalExecutor) -> None:
        self.stages: list[str] = []
        self._executor = executor

    async def run(self, request: BuildRequest, log: Sink) -> Outcome:
        """Run it."""
        self.stages.append(request.spec.name)
        return await self._executor.run(request, log)


@asynccontextmanager
async def start(database: Database, directory: Path) -> AsyncIterator[tuple[Engine, Recorder]]:
    """An engine at work on ``directory``, with real builds."""
    repository, pipeline = directory / "db.git", directory / "pipeline.py"
    local = LocalExecutor(database, repository, pipeline, directory / "work", grace=0.1)
    recorder = Recorder(local)
    engine = Engine(database, load_pipeline(pipeline), recorder, directory / "spool")
    async with local, engine, asyncio.TaskGroup() as group:
        task = group.create_task(engine.run())
        yield engine, recorder
        task.cancel()


async def test_after_kill_9_only_what_was_unfinished_runs_again(tmp_path: Path) -> None:
    go = tmp_path / "go"
    (tmp_path / "pipeline.py").write_text(PIPELINE.format(go=go))
    for pid in pids_of_a_killed_engine(tmp_path):
        await gone(pid)
    assert any((tmp_path / "work").iterdir())
    (left,) = (tmp_path / "spool").glob("*.log")
    assert left.read_text().startswith("$ echo")
    go.touch()
    async with open_local(tmp_path / "db.git") as database:
        async with start(database, tmp_path) as (engine, recorder):
            await engine.idle()
            state = engine.target(MAIN)
            assert state is not None
            assert {job.name: job.status for job in state.jobs} == {
                "quick": Status.SUCCESS,
                "slow": Status.SUCCESS,
            }
        assert recorder.stages == ["slow"]
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["kept"]
    assert list((tmp_path / "spool").iterdir()) == []
    check_repository(tmp_path / "db.git")


def pids_of_a_killed_engine(directory: Path) -> list[int]:
    """Start an engine, kill it in the middle of a build, and say who was running then."""
    with subprocess.Popen(
        [sys.executable, "-c", ENGINE, str(directory)], stdout=subprocess.PIPE, text=True
    ) as engine:
        assert engine.stdout is not None
        assert engine.stdout.readline().startswith("$ echo")
        child, command = engine.stdout.readline().split()
        engine.kill()
    return [int(child), int(command)]


def check_repository(path: Path) -> None:
    """Git finds nothing wrong."""
    command = ["git", "fsck", "--strict", "--no-progress", "--no-dangling"]
    done = subprocess.run(command, cwd=path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
