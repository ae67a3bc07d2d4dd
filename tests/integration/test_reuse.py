"""What runs again after a change, on a chain s1 > s2 > s3 of real builds, here and on a cluster.

These are the cases in which build tools run too much, too little, or give a wrong result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from datakit_ci.engine import Engine
from datakit_ci.metadata import BRANCH
from datakit_ci.project import load_pipeline
from datakit_ci.state import BuildState, Status
from datakit_ci.target import Target
from tests.support.executors import Recorder
from tests.support.places import BOTH, Place

pytestmark = BOTH

MAIN = Target("me/app", "heads", "main")

PIPELINE = """
from datakit_ci import Config, Project, StageFailed, shell, stage

@stage
def s1(source):
    numbers = [len(source.read(path).split()) for path in source.glob("in/*.txt")]
    if source.exists("stop"):
        raise StageFailed("there is a stop")
    return {"words": str(sum(numbers))}

s2 = shell("s2", "COMMAND", outputs=["mid"])
s3 = shell("s3", "sed s/^/words:/ mid > end", outputs=["end"])

def jobs(target):
    one = s1(target.source)
    two = s2(one)
    return {"s1": one, "s2": two, "s3": s3(two)}

config = Config(projects=[Project("me/app", jobs)])
"""

FILES = {"in/a.txt": b"one two", "README": b"read me"}


class Chain:
    """A database, and engines that come and go: one for each look at what has to run."""

    def __init__(self, place: Place, directory: Path) -> None:
        self.builds: dict[str, BuildState] = {}
        self.places = place.builds
        self._database = place.database
        self._executor = place.executor
        self._directory = directory

    async def ran(self, files: Mapping[str, bytes], command: str = "cat words > mid") -> list[str]:
        """Move the target to ``files``; the stages that ran for that."""
        pipeline = self._directory / "pipeline.py"
        pipeline.write_text(PIPELINE.replace("COMMAND", command))
        await self._move(files)
        recorder = Recorder(self._executor)
        engine = Engine(
            self._database, load_pipeline(pipeline), recorder, self._directory / "spool"
        )
        async with engine, asyncio.TaskGroup() as group:
            task = group.create_task(engine.run())
            await engine.idle()
            await self._note(engine)
            task.cancel()
        return recorder.stages

    async def content(self, job: str, path: str) -> bytes:
        """A file that the newest build of ``job`` has made."""
        output = self.builds[job].output
        assert output is not None
        return await self._database.read(output, path)

    def statuses(self) -> list[Status]:
        return [build.status for build in self.builds.values()]

    async def _move(self, files: Mapping[str, bytes]) -> None:
        async with self._database.transaction("source") as transaction:
            for name in await transaction.list():
                await transaction.remove(name)
            for path, data in files.items():
                await transaction.write(path, data)
            head = await transaction.commit("A change")
        async with self._database.transaction(BRANCH) as transaction:
            await transaction.write(f"{MAIN.path}/head", f"{head}\n".encode())
            await transaction.commit("Move a head")

    async def _note(self, engine: Engine) -> None:
        state = engine.target(MAIN)
        assert state is not None
        assert not state.problem
        self.builds = {}
        for job in state.jobs:
            if job.builds and (found := await engine.build(job.builds[-1])) is not None:
                self.builds[job.name] = found


@pytest.fixture
async def chain(place: Place, tmp_path: Path) -> Chain:
    chain = Chain(place, tmp_path)
    assert await chain.ran(FILES) == ["s1", "s2", "s3"]
    assert await chain.content("s3", "end") == b"words:2"
    return chain


async def test_an_input_written_again_with_the_same_bytes_runs_nothing(chain: Chain) -> None:
    assert await chain.ran(dict(FILES)) == []
    assert chain.statuses() == [Status.SUCCESS] * 3


async def test_a_change_that_gives_an_equal_output_stops_there(chain: Chain) -> None:
    assert await chain.ran({**FILES, "in/a.txt": b"three four"}) == ["s1"]
    assert await chain.content("s3", "end") == b"words:2"


async def test_a_change_of_the_output_runs_what_follows(chain: Chain) -> None:
    assert await chain.ran({**FILES, "in/a.txt": b"one"}) == ["s1", "s2", "s3"]
    assert await chain.content("s3", "end") == b"words:1"


async def test_going_back_to_what_was_seen_before_runs_nothing(chain: Chain) -> None:
    await chain.ran({**FILES, "in/a.txt": b"one"})
    assert await chain.ran(FILES) == []
    assert await chain.content("s3", "end") == b"words:2"


async def test_outputs_come_from_the_database_whatever_happens_on_the_disk(chain: Chain) -> None:
    files = [file for work in chain.places for file in work.rglob("*") if file.is_file()]
    assert files, "checkouts of commands are kept"
    for file in files:
        file.unlink()
    assert await chain.ran(FILES) == []
    assert [await chain.content("s2", "mid"), await chain.content("s3", "end")] == [
        b"2",
        b"words:2",
    ]


async def test_a_middle_output_that_was_tampered_with_is_no_input(
    chain: Chain,
) -> None:
    kept = [file for work in chain.places for file in work.rglob("mid")]
    assert kept, "checkouts of commands are kept"
    for file in kept:
        file.write_text("17")
    assert await chain.ran(FILES) == []
    assert await chain.content("s2", "mid") == b"2"
    assert await chain.ran({**FILES, "in/a.txt": b"one two three"}) == ["s1", "s2", "s3"]
    assert await chain.content("s3", "end") == b"words:3"


async def test_a_changed_command_with_the_same_result_runs_that_stage_alone(chain: Chain) -> None:
    assert await chain.ran(FILES, "cp words mid") == ["s2"]


async def test_a_failure_is_shown_again_and_not_run_again(chain: Chain) -> None:
    files = {**FILES, "stop": b""}
    assert await chain.ran(files) == ["s1"]
    assert await chain.ran({**files, "README": b"changed"}) == []
    assert chain.builds["s1"].status is Status.FAILURE
    assert chain.builds["s1"].reason == "there is a stop"


@pytest.mark.parametrize(
    ("path", "stages"),
    [
        ("in/b.txt", ["s1", "s2", "s3"]),  # the pattern sees it
        ("in/empty.txt", ["s1"]),  # as well, but there is nothing in it
        ("in/b.md", []),
        ("docs/b.txt", []),
        ("stop", ["s1"]),  # it was asked whether that exists
    ],
)
async def test_an_added_file_runs_who_would_have_seen_it(
    chain: Chain, path: str, stages: list[str]
) -> None:
    content = b"" if "empty" in path else b"word"
    assert await chain.ran({**FILES, path: content}) == stages
