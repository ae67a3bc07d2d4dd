"""Whatever is wrong with a pipeline is told where it is wrong, and harms nothing else.

One engine with a project for each kind of badness, and one that is fine; real processes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from datakit_ci.engine import Engine
from datakit_ci.metadata import BRANCH
from datakit_ci.procfs import descendants_of
from datakit_ci.project import load_pipeline
from datakit_ci.state import BuildState, JobState, Status, TargetState
from datakit_ci.target import Target
from datakit_core.client.api import CommitId
from tests.support.branches import commit_files
from tests.support.full_disk import can_mount, on_a_full_disk
from tests.support.places import BOTH, Place

GOOD = "good"
PRELUDE = """
from datakit_ci import *

fine = shell("fine", "cat file > copy", inputs=["file"], outputs=["copy"])

@stage
def text(source):
    return {"length": str(len(source.read("copy")))}

@stage(version="1")
def with_parameter(source, what=None):
    return {}

@stage
def nonsense(source):
    return 17

@stage
def broken(source):
    raise ValueError("a bug of the stage")

def good(target):
    made = fine(target.source)
    return {"fine": made, "text": text(made)}

def circle(target):
    terms = {}
    terms["a"] = target.head.bind(lambda head: terms["a"], "round")
    return terms

def endless(target):
    def deeper(head):
        return target.head.bind(deeper, "deeper")
    return {"a": deeper("")}
"""


@dataclass(frozen=True, slots=True)
class Bad:
    """Something wrong, and what people are told of it.

    Attributes:
        name: Of its project.
        jobs: An expression: the function from target to jobs.
        text: Part of what is said.
        status: That of the job ``a``; none if the target as a whole has a problem.
        log: Part of what the log of its build says.
    """

    name: str
    jobs: str
    text: str
    status: Status | None = None
    log: str = ""


def command(text: str, options: str = "") -> str:
    """Jobs of which ``a`` runs a command."""
    return f"lambda target: {{'a': shell('a', {text!r}, {options})(target.source)}}"


STUBBORN = "trap '' TERM; echo deaf; while :; do sleep 0.1; done"
LEAVES = "(setsid sleep 1000 </dev/null >/dev/null 2>&1 &) ; echo left"

TABLE = [
    Bad("exception", "lambda target: {}['x']", "KeyError: 'x'"),
    Bad("nothing", "lambda target: None", "jobs returned NoneType; return a dictionary"),
    Bad("circle", "circle", "needs its own result", Status.ERROR),
    Bad("endless", "endless", "the graph grows without end", Status.ERROR),
    Bad(
        "stages",
        "lambda target: {'a': fine(target.source), 'b': shell('fine', 'x')(target.source)}",
        "there are two stages fine; give one another name",
    ),
    Bad(
        "cells",
        "lambda target: matrix(with_parameter, what=['a/b', 'a_b']).jobs(target.source)",
        "there are two cells a_b",
    ),
    Bad(
        "parameter",
        "lambda target: {'a': with_parameter(target.source, what=object())}",
        "with_parameter: parameter what",
    ),
    Bad("pool", command("true", "pool='gpu'"), "wants pool gpu, which is not declared"),
    Bad(
        "nonsense",
        "lambda target: {'a': nonsense(target.source)}",
        "returned 17: return a tree, files or a directory",
        Status.FAILURE,
    ),
    Bad(
        "broken",
        "lambda target: {'a': broken(target.source)}",
        "ValueError: a bug of the stage",
        Status.ERROR,
        'raise ValueError("a bug of the stage")',
    ),
    Bad(
        "absent",
        command("no-such-command --fast"),
        "exited with status 127",
        Status.FAILURE,
        "no-such-command: not found",
    ),
    Bad(
        "loud",
        command("head -c 1000000000 /dev/zero", "log_limit='1m'"),
        "passed",
        Status.SUCCESS,
        "log cut here: it is longer than 1000000 bytes",
    ),
    Bad("deaf", command(STUBBORN, "timeout=1"), "took longer than 1 s and was", Status.FAILURE),
    Bad(
        "leaves", command(LEAVES), "passed", Status.SUCCESS, "1 process was left behind and killed"
    ),
    Bad(
        "missing",
        command("true", "outputs=['dist']"),
        "made no dist, which it declares as outputs",
        Status.FAILURE,
    ),
]


class World:
    """A database with one repository for each project, and engines for all of them."""

    def __init__(self, place: Place, directory: Path) -> None:
        self.database = place.database
        self.executor = place.executor
        self.directory = directory
        self.running: Engine | None = None

    @property
    def engine(self) -> Engine:
        assert self.running is not None
        return self.running

    @asynccontextmanager
    async def serving(self, *projects: str) -> AsyncIterator[Engine]:
        """An engine for some of the pipeline's projects."""
        config = load_pipeline(self.directory / "pipeline.py")
        chosen = [project for project in config.projects if project.id[3:] in projects]
        config = replace(config, projects=chosen)
        async with (
            Engine(self.database, config, self.executor, self.directory / "spool") as engine,
            asyncio.TaskGroup() as group,
        ):
            self.running = engine
            task = group.create_task(engine.run())
            await engine.idle()
            yield engine
            task.cancel()

    async def move(self, name: str, content: bytes) -> CommitId:
        """A new head of a project's one branch."""
        head = await commit_files(self.database, f"source-{name}", {"file": content})
        path = target(name).path
        await commit_files(self.database, BRANCH, {f"{path}/head": f"{head}\n".encode()})
        return head

    def state(self, name: str) -> TargetState:
        found = self.engine.target(target(name))
        assert found is not None
        return found

    def job(self, name: str, job: str = "a") -> JobState:
        jobs = {each.name: each for each in self.state(name).jobs}
        assert job in jobs, self.state(name)
        return jobs[job]

    async def build(self, name: str, job: str = "a") -> BuildState:
        found = await self.engine.build(self.job(name, job).builds[-1])
        assert found is not None
        return found

    async def log(self, name: str) -> str:
        build = self.job(name).builds[-1]
        return b"".join([piece async for piece in self.engine.follow_log(build)]).decode()

    async def good_goes_on(self, content: bytes) -> None:
        """A commit to the good project is tested as ever."""
        head = await self.move(GOOD, content)
        async for _ in self.engine.changes():
            if self.state(GOOD).head == head:
                break
        await self.engine.idle()
        assert [job.status for job in self.state(GOOD).jobs] == [Status.SUCCESS] * 2
        output = (await self.build(GOOD, "text")).output
        assert output is not None
        assert await self.database.read(output, "length") == str(len(content)).encode()


def target(name: str) -> Target:
    return Target(f"me/{name}", "heads", "main")


def pipeline(path: Path) -> Path:
    """The file with all of them."""
    projects = [f"Project('me/{bad.name}', {bad.jobs})," for bad in TABLE]
    config = "\n    ".join([f"Project('me/{GOOD}', good),", *projects])
    path.write_text(
        f"{PRELUDE}\nconfig = Config(projects=[\n    {config}\n], pools={{'cpu': 4}})\n"
    )
    return path


@pytest.fixture
async def world(place: Place, tmp_path: Path) -> World:
    pipeline(tmp_path / "pipeline.py")
    made = World(place, tmp_path)
    for name in (GOOD, *(bad.name for bad in TABLE)):
        await made.move(name, b"first")
    return made


@BOTH
async def test_each_mistake_is_told_at_its_place_and_harms_nothing_else(world: World) -> None:
    async with world.serving(GOOD, *(bad.name for bad in TABLE)):
        for bad in TABLE:
            await shown(world, bad)
        await world.good_goes_on(b"second, longer")
        assert descendants_called("sleep") == []


async def shown(world: World, bad: Bad) -> None:
    """What people are told is what the table says."""
    state = world.state(bad.name)
    if bad.status is None:
        assert (bad.text in state.problem, state.jobs) == (True, ()), state
        return
    job = world.job(bad.name)
    assert (job.status, bad.text in job.description) == (bad.status, True), (bad.name, job)
    if bad.log:
        log = await world.log(bad.name)
        assert bad.log in log, (bad.name, log)


def descendants_called(name: str) -> list[int]:
    """What this test has started and is still there."""
    found = []
    for pid in descendants_of(os.getpid()):
        with suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().strip() == name:
                found.append(pid)
    return found


@pytest.mark.parametrize(
    ("path", "runs"),
    [
        ("{directory}/meta.json", True),
        ("{directory}/value", True),
        ("{directory}/trace", False),
        ("{top}", True),
        ("{static}/trace", True),
        ("{static}/runs", True),
    ],
)
async def test_a_result_that_was_damaged_by_hand_is_made_again(
    world: World, path: str, runs: bool
) -> None:
    async with world.serving(GOOD, "absent"):
        build = await world.build(GOOD, "fine")
    run = build.id.directory
    static = run.partition("/runs/")[0]
    damaged = path.format(directory=run, static=static, top=static.partition("/")[0])
    async with world.database.transaction(build.id.branch) as transaction:
        if await transaction.entry(damaged) is not None:
            await transaction.remove(damaged)
        await transaction.write(damaged, b"{damaged by hand")
        await transaction.commit("Damage")
    async with world.serving(GOOD, "absent"):
        assert [job.status for job in world.state(GOOD).jobs] == [Status.SUCCESS] * 2
        assert ((await world.build(GOOD, "fine")).started != build.started) is runs
        await world.good_goes_on(b"third")
        assert world.job("absent").status is Status.FAILURE


@pytest.mark.parametrize("to", ["nothing", "another commit"])
async def test_a_branch_of_results_that_was_moved_by_hand_is_filled_again(
    world: World, to: str
) -> None:
    async with world.serving(GOOD):
        branch = (await world.build(GOOD, "fine")).id.branch
    await world.database.remove_branch(branch)
    if to == "another commit":
        await commit_files(world.database, branch, {"README": b"mine"})
    async with world.serving(GOOD):
        await world.good_goes_on(b"fourth")
        assert (await world.build(GOOD, "fine")).status is Status.SUCCESS
    assert await world.database.head(branch) is not None


@pytest.mark.skipif(not can_mount(), reason="needs a name space to mount a small disk in")
def test_a_full_disk_is_told_and_the_next_build_finds_room(tmp_path: Path) -> None:
    assert on_a_full_disk(tmp_path).splitlines() == [
        "failed with status 1: the disk is full",
        "['file']",
    ]
