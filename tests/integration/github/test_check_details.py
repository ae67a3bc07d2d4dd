"""What a check run tells of a job that an engine ran, and running it again by a click on GitHub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from datakit_ci import Config, Project, TargetTerms, Term, shell
from datakit_ci.bridges.github.events import Wish
from datakit_ci.bridges.github.metrics import Meter
from datakit_ci.bridges.github.reruns import Reruns
from datakit_ci.bridges.github.scope import WHOLE
from datakit_ci.bridges.github.service import granting
from datakit_ci.bridges.github.webhook import Hook, serve_webhooks
from datakit_ci.control import Rebuild
from datakit_ci.docket import BRANCH as CONTROL
from datakit_ci.engine import Engine
from datakit_ci.errands import Errand
from datakit_ci.executors.local import LocalExecutor
from datakit_ci.metadata import BRANCH
from datakit_ci.target import Target
from tests.support.branches import commit_files, files_of, messages_of
from tests.support.fake_checks import FakeRun
from tests.support.github_world import PROJECT, World, open_world

NAME = "ci/datakit/unit"
MAIN = Target(PROJECT, "heads", "main")

CHECK = r"""
echo '<testsuite>' > report.xml
i=0; while [ $i -lt 60 ]; do i=$((i+1))
echo "<testcase classname='sums' name='t$i'><failure message='no $i'>assert $i == 0

$PWD/tests/sums.py:$i: AssertionError</failure></testcase>" >> report.xml; done
echo "<testcase classname='sums' name='lost'><failure message='nobody knows where'/></testcase>
<testcase classname='sums' name='fine'/></testsuite>" >> report.xml
test -e passes
"""

FILES = {"check.sh": CHECK.encode(), "tests/sums.py": b"def sums(): pass\n"}

unit = shell("unit", "sh check.sh", reports=["report.xml"])
lint = shell("lint", "echo fine")


def jobs(target: TargetTerms) -> Mapping[str, Term[object]]:
    return {"unit": unit(target.source), "lint": lint(target.source)}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as made:
        made.is_app = True
        yield made


def reruns(world: World) -> Reruns:
    """What answers clicks, as after a restart of the bridge."""
    app, notice = world.hub.app.id, world.bridge.notice
    return Reruns(world.database, BRANCH, app, world.client, notice, later=1.0)


@asynccontextmanager
async def running(world: World, tmp_path: Path) -> AsyncIterator[None]:
    """A bridge that hears what is clicked on GitHub, and an engine, which know only the database.

    The engine is another one each time: results from before are there.
    """
    database = world.database
    config = Config(projects=[Project(PROJECT, jobs)])
    world.restart()
    hook = Hook.at("http://127.0.0.1/hook", "a secret")
    async with AsyncExitStack() as stack:
        executor = await stack.enter_async_context(
            LocalExecutor(database, tmp_path / "db.git", tmp_path / "none.py", tmp_path / "work")
        )
        engine = await stack.enter_async_context(
            Engine(database, config, executor, tmp_path / "spool", base_url="http://ci.example.org")
        )
        host, port = await stack.enter_async_context(
            serve_webhooks(
                hook, ("127.0.0.1", 0), world.bridge.notice, Meter(), granting(reruns(world), None)
            )
        )
        world.hub.app.hook = {"url": f"http://{host}:{port}/hook", "secret": hook.secret}
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        works = [tasks.create_task(work) for work in (world.bridge.run(), engine.run())]
        try:
            yield
        finally:
            for work in works:
                work.cancel()


async def completed(world: World, name: str, count: int = 1) -> list[FakeRun]:
    """Wait until so many check runs of a name are completed."""

    def done() -> list[FakeRun]:
        runs = world.repository.runs.values()
        return [run for run in runs if run.name == name and run.status == "completed"]

    await world.hub.until(lambda: len(done()) >= count)
    return done()


async def test_a_check_run_tells_why_it_ran_and_where_tests_failed(
    world: World, tmp_path: Path
) -> None:
    head = await commit_files(world.database, "source", FILES)
    world.repository.set_ref("heads/main", head)
    async with running(world, tmp_path):
        [run] = await completed(world, NAME)
        [fine] = await completed(world, "ci/datakit/lint")
        assert run.head_sha == head
        assert run.conclusion == "failure"
        assert run.details_url == f"http://ci.example.org/{PROJECT}/ref/heads/main"
        assert [(each["path"], each["start_line"]) for each in run.annotations] == [
            ("tests/sums.py", line) for line in range(1, 61)
        ]
        assert run.annotations[0]["title"] == "sums: t1"
        assert run.annotations[0]["message"] == "no 1"
        assert run.summary is not None
        assert "[Log of `unit`](http://ci.example.org/build/ann/app/unit/" in run.summary
        assert "- `no earlier result of this stage is known`" in run.summary
        assert "**Tests**: 61 failed, 1 passed" in run.summary
        assert "- `sums: lost`: `nobody knows where`" in run.summary
        assert (fine.conclusion, fine.annotations) == ("success", [])
    assert world.repository.statuses == {}


async def test_a_job_runs_again_for_who_may_write_and_for_nobody_else(
    world: World, tmp_path: Path
) -> None:
    head = await commit_files(world.database, "source", FILES)
    world.repository.set_ref("heads/main", head)
    async with running(world, tmp_path):
        [first] = await completed(world, NAME)
        await completed(world, "ci/datakit/lint")
        world.repository.rerequest(NAME, head, user="mallory")
        world.repository.rerequest(NAME, head, app=99)
        await world.hub.deliveries.join()
        assert await world.database.head(CONTROL) is None
        world.repository.rerequest(NAME, head)
        [*_, second] = await completed(world, NAME, 2)
        assert second.id > first.id
        world.repository.click("rebuild-failed", second)
        await completed(world, NAME, 3)
        world.repository.rerequest("", head)
        await completed(world, NAME, 4)
        await completed(world, "ci/datakit/lint", 2)
    [*_, oldest] = await messages_of(world.database, CONTROL)
    assert oldest.endswith("By: github:ann")


async def test_one_event_is_one_wish_however_often_it_comes(world: World, tmp_path: Path) -> None:
    head = await commit_files(world.database, "source", FILES)
    world.repository.set_ref("heads/main", head)
    async with running(world, tmp_path):
        await completed(world, NAME)
    wish = Wish(PROJECT, head, NAME, False, "ann", world.hub.app.id)
    assert await reruns(world).heed(wish, "delivery 1")
    assert await reruns(world).heed(wish, "delivery 1")
    [(path, content)] = (await files_of(world.database, CONTROL)).items()
    assert path.startswith("asked/")
    assert Errand.from_bytes(content.encode()).command == Rebuild("github:ann", MAIN, "unit")
    assert await reruns(world).heed(wish, "delivery 2")
    assert len(await files_of(world.database, CONTROL)) == 2


async def test_what_nothing_is_at_any_more_is_not_run_again(world: World, tmp_path: Path) -> None:
    head = await commit_files(world.database, "source", FILES)
    world.repository.set_ref("heads/main", head)
    async with running(world, tmp_path):
        await completed(world, NAME)
        other = await commit_files(world.database, "source", {"passes": b""})
        world.repository.set_ref("heads/main", other)
        world.bridge.notice(PROJECT, WHOLE)
        await completed(world, NAME, 2)
    granting = reruns(world)
    old = Wish(PROJECT, head, NAME, False, "ann", world.hub.app.id)
    assert not await granting.heed(old, "late")
    assert not await granting.heed(replace(old, commit=other, context="ci/datakit/gone"), "gone")
    assert not await granting.heed(replace(old, commit=other, context="other/unit"), "other")
    assert await world.database.head(CONTROL) is None
