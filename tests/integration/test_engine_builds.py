"""The engine with real builds, beside it and on a cluster: the same story in both places.

What decisions the engine takes is in ``test_engine``, over scripted builds. Here it is whether they
reach the processes, wherever those are, and whether what comes back is the same.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from datakit_ci import TargetTerms, Term, gate, join, matrix, shell
from datakit_ci.control import Cancel, Rebuild
from datakit_ci.engine import Engine
from datakit_ci.heads import FixedHeads
from datakit_ci.project import Config, Project, load_pipeline
from datakit_ci.question import Question, QuestionKind
from datakit_ci.state import BuildState, Status
from datakit_ci.target import Target
from datakit_core.client.api import CommitId
from tests.support.branches import commit_files
from tests.support.executors import Recorder
from tests.support.places import BOTH, Place
from tests.support.processes import gone

pytestmark = BOTH

MAIN = Target("me/app", "heads", "main")

Jobs = Mapping[str, Term[object]]


class World:
    """A target in a database, and engines that test it."""

    def __init__(self, place: Place, directory: Path) -> None:
        self.directory = directory
        self.recorder = Recorder(place.executor)
        self.database = place.database

    async def commit(self, files: Mapping[str, bytes | None]) -> CommitId:
        """Another commit of the source."""
        return await commit_files(self.database, "source", files)

    @asynccontextmanager
    async def engine(
        self, jobs: Jobs | Config, head: CommitId | None = None, **config: object
    ) -> AsyncIterator[Run]:
        """A running engine that tests one commit; by default a new one."""
        head = head or await self.commit({"a": b"a"})
        if not isinstance(jobs, Config):
            made = jobs
            projects = [Project("me/app", lambda _: made)]
            jobs = Config(projects=projects, **config)  # type: ignore[arg-type]
        heads = FixedHeads({MAIN: head})
        spool = self.directory / "spool"
        async with (
            Engine(self.database, jobs, self.recorder, spool, heads=heads) as engine,
            asyncio.TaskGroup() as group,
        ):
            task = group.create_task(engine.run())
            yield Run(engine)
            task.cancel()


class Run:
    """What an engine says of the target."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def build(self, job: str) -> BuildState:
        """The newest build of a job."""
        state = self.engine.target(MAIN)
        assert state is not None
        assert not state.problem
        (found,) = (each for each in state.jobs if each.name == job)
        build = await self.engine.build(found.builds[-1])
        assert build is not None
        return build

    async def until(self, job: str, status: Status) -> BuildState:
        """Wait until a job stands like this."""
        async for _ in self.engine.changes():
            state = self.engine.target(MAIN)
            jobs = {each.name: each for each in state.jobs} if state is not None else {}
            if job in jobs and jobs[job].status is status:
                break
        return await self.build(job)

    async def number(self, job: str) -> int:
        """The first number on a line of its own in a running job's log; waited for."""
        seen = b""
        async for piece in self.engine.follow_log((await self.build(job)).id):
            seen += piece
            lines = seen.split(b"\n")[:-1]
            if found := [int(line) for line in lines if line.isdigit()]:
                return found[0]
        raise AssertionError(f"it has ended: {seen!r}")

    async def log(self, job: str) -> str:
        """A whole log."""
        build = await self.build(job)
        return b"".join([each async for each in self.engine.follow_log(build.id)]).decode()


@pytest.fixture
def world(place: Place, tmp_path: Path) -> World:
    return World(place, tmp_path)


SOURCE = TargetTerms(MAIN).source


def until(go: Path) -> str:
    """A command that waits for a file."""
    return f"while test ! -e {go}; do sleep 0.01; done"


async def test_a_running_build_is_followed_and_cancelled_with_all_its_processes(
    world: World,
) -> None:
    held = shell("held", "echo begun; sleep 600 & echo $!; wait")
    async with world.engine({"held": held(SOURCE)}) as tested:
        await tested.until("held", Status.RUNNING)
        pid = await tested.number("held")
        os.kill(pid, 0)
        await tested.engine.control(Cancel("ann", MAIN))
        await gone(pid, 30.0)
        await tested.engine.idle()
        assert (await tested.build("held")).status is Status.CANCELLED


async def test_a_rebuild_runs_again_and_its_result_replaces_the_first(
    world: World, tmp_path: Path
) -> None:
    count = tmp_path / "count"
    grown = shell("grown", f"echo x >> {count}; wc -l < {count} > out", outputs=["out"])
    async with world.engine({"grown": grown(SOURCE)}) as tested:
        await tested.engine.idle()
        first = await tested.build("grown")
        await tested.engine.control(Rebuild("ann", MAIN))
        await tested.engine.idle()
        second = await tested.build("grown")
        assert second.id == first.id
        outputs = [each.output for each in (first, second) if each.output is not None]
        assert [await world.database.read(each, "out") for each in outputs] == [b"1\n", b"2\n"]
    assert world.recorder.stages == ["grown", "grown"]


async def test_a_passing_failure_is_tried_again_and_the_log_says_so(
    world: World, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    shy = shell("shy", f"test -e {mark} || {{ touch {mark}; exit 75; }}", retry=1, transient=[75])
    async with world.engine({"shy": shy(SOURCE)}) as tested:
        await tested.engine.idle()
        build = await tested.build("shy")
        assert build.status is Status.SUCCESS
        assert build.details["attempts"] == "2"
        assert "attempt 2 of 2" in await tested.log("shy")


async def test_builds_with_one_lock_or_one_unit_of_a_pool_never_meet(
    world: World, tmp_path: Path
) -> None:
    def alone(place: Path) -> str:
        return f"mkdir {place} && sleep 0.1 && rmdir {place}"

    jobs: dict[str, Term[object]] = {}
    for number in range(3):
        lock = shell(f"lock{number}", alone(tmp_path / "lock"), locks=["deploy"])
        gpu = shell(f"gpu{number}", alone(tmp_path / "gpu"), pool="gpu")
        jobs |= {f"lock{number}": lock(SOURCE), f"gpu{number}": gpu(SOURCE)}
    async with world.engine(jobs, pools={"cpu": 4, "gpu": 1}) as tested:
        await tested.engine.idle()
        for name in jobs:
            assert (await tested.build(name)).status is Status.SUCCESS, await tested.log(name)


async def test_what_came_before_is_shown_while_a_latched_stage_runs(
    world: World, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    slow = shell("slow", f"{until(go)}; cp a out", outputs=["out"], latched=True)
    after = shell("after", "cp out end", outputs=["end"])
    jobs = {"after": after(slow(SOURCE))}
    go.touch()
    async with world.engine(jobs) as tested:
        await tested.engine.idle()
    go.unlink()
    second = await world.commit({"a": b"b"})
    async with world.engine(jobs, second) as tested:
        assert (await tested.until("after", Status.SUCCESS)).output is not None
        go.touch()
        await tested.engine.idle()
        output = (await tested.build("after")).output
        assert output is not None
        assert await world.database.read(output, "end") == b"b"


async def test_cells_run_for_themselves_and_a_gate_waits_for_all_of_them(world: World) -> None:
    cells = matrix(shell("cell", "echo $N > n$N", outputs=["n*"]), N=["1", "2", "3"])
    end = shell("end", "cat */n* > all", outputs=["all"])
    made = cells.jobs(SOURCE)
    parts = {name.rpartition("/")[2]: each for name, each in made.items()}
    jobs = {**made, "end": end(gate(join(parts), *made.values()))}
    async with world.engine(jobs) as tested:
        await tested.engine.idle()
        output = (await tested.build("end")).output
        assert output is not None
        assert await world.database.read(output, "all") == b"1\n2\n3\n"
    assert world.recorder.stages == ["cell", "cell", "cell", "end"]


async def test_a_kept_checkout_shows_nothing_of_the_build_before(world: World) -> None:
    listed = shell("listed", "find . -type f | sort > /tmp/$$ && mv /tmp/$$ out; touch left",
                   outputs=["out"])  # fmt: skip
    jobs = {"listed": listed(SOURCE)}
    for files, seen in (
        ({"a": b"a", "b/c": b"c"}, b"./a\n./b/c\n"),
        ({"b": b"now a file", "b/c": None, "a": None}, b"./b\n"),
        ({"b": b"the same length"[:10]}, b"./b\n"),
    ):
        removed = {path: data for path, data in files.items() if data is None}
        if removed:
            await world.commit(removed)
        head = await world.commit({path: data for path, data in files.items() if data is not None})
        async with world.engine(jobs, head) as tested:
            await tested.engine.idle()
            output = (await tested.build("listed")).output
            assert output is not None
            assert await world.database.read(output, "out") == seen


PIPELINE = """
from datakit_ci import Config, Project, stage

@stage
def first(source):
    print("reads one")
    return {"one": source.read("one")[:1]} if source.exists("one") else {}

config = Config(projects=[Project("me/app", lambda target: {"first": first(target.source)})])
"""


async def test_a_function_s_questions_decide_what_runs_again_after_a_restart(
    world: World, tmp_path: Path
) -> None:
    path = tmp_path / "pipeline.py"
    path.write_text(PIPELINE)
    config = load_pipeline(path)
    first = await world.commit({"one": b"1 a", "two": b"2"})
    second = await world.commit({"two": b"3"})
    third = await world.commit({"one": b"1 b"})
    for head in (first, second, third, first):
        async with world.engine(config, head) as tested:
            await tested.engine.idle()
            assert "reads one" in await tested.log("first")
    assert world.recorder.stages == ["first", "first"]
    asked = world.recorder.outcomes["first"].questions
    assert asked is not None
    assert Question(QuestionKind.FILE, "one") in asked
