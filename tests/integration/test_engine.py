"""The engine over a real store: what runs, what does not, what is published, and restarts.

Builds are scripted here; real ones are in ``test_local_executor``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from datakit_ci import (
    Config,
    Project,
    TargetTerms,
    Term,
    branch,
    ci_success_target_url,
    gate,
    join,
    shell,
    tree_of,
)
from datakit_ci.engine import Engine
from datakit_ci.executors.base import BuildRequest, LostBuild, TimedOut
from datakit_ci.history import INDEX_BRANCH
from datakit_ci.metadata import BRANCH, CommitStatus, status_path
from datakit_ci.outcome import Outcome
from datakit_ci.process import Sink
from datakit_ci.state import BuildState, JobState, Status, TargetState
from datakit_ci.target import Target
from datakit_core.client.api import CommitId, Database, ObjectId
from datakit_core.store.objects import EMPTY_TREE
from tests.support.branches import commit_files, files_of, messages_of
from tests.support.databases import BACK_ENDS
from tests.support.executors import Behaviour, ScriptedExecutor, holding

pytestmark = pytest.mark.usefixtures("nonblocking")


MAIN = Target("me/app", "heads", "main")
TOPIC = Target("me/app", "heads", "topic/one")

lint = shell("lint", "lint", inputs=["src"])
build = shell("build", "build", outputs=["out"])
check = shell("check", "check")
docs = shell("docs", "docs", inputs=["docs"])


def jobs(target: TargetTerms) -> Mapping[str, Term[object]]:
    source = target.source
    return {"lint": lint(source), "docs": docs(source), "check": check(build(source))}


CONFIG = Config(projects=[Project("me/app", jobs)], pools={"cpu": 2})

FILES = {"src/a": b"a", "docs/b": b"b", "top": b"t"}


class World:
    """A database with a repository's metadata, and engines that come and go."""

    def __init__(self, database: Database, directory: Path) -> None:
        self.database = database
        self.directory = directory
        self.executor = ScriptedExecutor(database)

    async def commit(self, target: Target, files: Mapping[str, bytes]) -> CommitId:
        """Make a source commit and move ``target`` to it, as a bridge would."""
        async with self.database.transaction(f"source-{target.name}") as transaction:
            for name in await transaction.list():
                await transaction.remove(name)
            for path, data in files.items():
                await transaction.write(path, data)
            head = await transaction.commit("A change\n\nwith a reason")
        await self.point(target, head)
        return head

    async def point(self, target: Target, head: CommitId) -> None:
        async with self.database.transaction(BRANCH) as transaction:
            await transaction.write(f"{target.path}/head", f"{head}\n".encode())
            await transaction.commit("Move a head")

    async def delete(self, target: Target) -> None:
        async with self.database.transaction(BRANCH) as transaction:
            await transaction.remove(target.path)
            await transaction.commit("Delete a head")

    @asynccontextmanager
    async def engine(
        self, config: Config = CONFIG, canaries: Collection[Target] = ()
    ) -> AsyncIterator[Engine]:
        spool = self.directory / "spool"
        async with (
            Engine(
                self.database, config, self.executor, spool, "http://ci", canaries=canaries
            ) as engine,
            asyncio.TaskGroup() as group,
        ):
            task = group.create_task(engine.run())
            yield engine
            task.cancel()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with BACK_ENDS["local"](tmp_path / "db.git") as database:
        yield World(database, tmp_path)


def state_of(engine: Engine, target: Target = MAIN) -> TargetState:
    state = engine.target(target)
    assert state is not None
    return state


def statuses(engine: Engine, target: Target = MAIN) -> dict[str, Status]:
    return {job.name: job.status for job in state_of(engine, target).jobs}


def job_of(engine: Engine, name: str, target: Target = MAIN) -> JobState:
    return next(job for job in state_of(engine, target).jobs if job.name == name)


async def build_of(engine: Engine, job: str) -> BuildState:
    found = await engine.build(job_of(engine, job).builds[-1])
    assert found is not None
    return found


async def log_of(engine: Engine, job: str) -> bytes:
    build = job_of(engine, job).builds[-1]
    return b"".join([piece async for piece in engine.follow_log(build)])


async def test_jobs_of_a_target_run_and_are_shown(world: World) -> None:
    head = await world.commit(MAIN, FILES)
    async with world.engine() as engine:
        await engine.idle()
        state = state_of(engine)
        assert (state.head, state.subject, state.problem) == (head, "A change", "")
        assert set(statuses(engine).values()) == {Status.SUCCESS}
        assert job_of(engine, "lint").description.startswith("passed in 0")
        assert world.executor.stages == ["build", "check", "docs", "lint"]
        build = await build_of(engine, "check")
        assert build.status is Status.SUCCESS
        assert (build.command, build.details["executor"]) == ("check", "scripted")
        assert await log_of(engine, "check") == b"check runs\n"
        assert build.log_size == len(b"check runs\n")


async def test_a_stage_gets_what_the_one_before_it_made(world: World) -> None:
    await world.commit(MAIN, FILES)
    async with world.engine() as engine:
        await engine.idle()
        made = (await engine.build(job_of(engine, "check").builds[0])) or pytest.fail("no build")
        given = next(each for each in world.executor.requests if each.spec.name == "check")
        assert given.input == made.output


async def test_statuses_history_and_index_are_published(world: World) -> None:
    head = await world.commit(MAIN, FILES)
    async with world.engine() as engine:
        await engine.idle()
        lint_build = job_of(engine, "lint").builds[-1]
        output = (await build_of(engine, "lint")).output
    metadata = await files_of(world.database, BRANCH)
    status = f"me/app/commit/{head}/status/ci/datakit/lint"
    assert metadata[f"{status}/state"] == "success\n"
    assert metadata[f"{status}/description"].startswith("passed in")
    assert metadata[f"{status}/target_url"] == "http://ci/me/app/ref/heads/main\n"
    history = await files_of(world.database, MAIN.status_branch)
    assert history["source-commit"] == f"{head}\n"
    assert json.loads(history["job/lint/output"])["builds"] == [
        {
            "project": "me/app",
            "stage": "lint",
            "static": lint_build.static,
            "key": lint_build.key,
            "tree": output,
        }
    ]
    index = await files_of(world.database, INDEX_BRANCH)
    newest = await world.database.head(MAIN.status_branch)
    assert index == {f"{head[:2]}/{head}/{MAIN.status_branch}": f"{newest}\n"}


async def test_results_are_commits_on_the_branch_of_their_stage(world: World) -> None:
    await world.commit(MAIN, FILES)
    async with world.engine() as engine:
        await engine.idle()
        build = job_of(engine, "lint").builds[-1]
    files = await files_of(world.database, "results/me-app/lint")
    assert files[f"{build.directory}/log"] == "lint runs\n"
    assert json.loads(files[f"{build.directory}/meta.json"])["version"] == 1
    assert f"{build.directory}/value/lint.txt" in files
    assert f"{build.directory}/failure" not in files
    traces = [path for path in files if path.endswith("/result")]
    assert [files[path] for path in traces] == [f"{build.key}\n"]
    (message,) = await messages_of(world.database, "results/me-app/lint")
    assert message.startswith("lint: passed in ")


async def test_a_restart_runs_and_writes_nothing(world: World) -> None:
    await world.commit(MAIN, FILES)
    async with world.engine() as engine:
        await engine.idle()
    before = await world.database.branches()
    world.executor.requests.clear()
    async with world.engine() as engine:
        await engine.idle()
        assert set(statuses(engine).values()) == {Status.SUCCESS}
        assert await log_of(engine, "check") == b"check runs\n"
    assert world.executor.requests == []
    assert await world.database.branches() == before


async def test_a_change_runs_only_the_stages_that_would_see_it(world: World) -> None:
    await world.commit(MAIN, FILES)
    async with world.engine() as engine:
        await engine.idle()
        world.executor.requests.clear()
        await world.commit(MAIN, {**FILES, "docs/b": b"changed"})
        await until(engine, lambda: len(world.executor.requests) == 3)
        await engine.idle()
        # "build" looks at everything; "check" at what it made, which says what the input was.
        assert world.executor.stages == ["build", "check", "docs"]
        assert set(statuses(engine).values()) == {Status.SUCCESS}


async def until(engine: Engine, condition: Callable[[], bool]) -> None:
    """Wait for something about the targets."""
    changes = engine.changes()
    async for _ in changes:
        if condition():
            break
    await changes.aclose()  # type: ignore[attr-defined]


async def test_equal_builds_of_two_targets_run_once(world: World) -> None:
    head = await world.commit(MAIN, FILES)
    await world.point(TOPIC, head)
    async with world.engine() as engine:
        await engine.idle()
        assert statuses(engine, TOPIC) == statuses(engine, MAIN)
    assert world.executor.stages == ["build", "check", "docs", "lint"]


async def test_a_revert_runs_nothing(world: World) -> None:
    first = await world.commit(MAIN, FILES)
    async with world.engine() as engine:
        await engine.idle()
        await world.commit(MAIN, {**FILES, "src/a": b"b"})
        await until(engine, lambda: len(world.executor.requests) == 7)
        await engine.idle()
        world.executor.requests.clear()
        await world.point(MAIN, first)
        await until(engine, lambda: state_of(engine).head == first)
        await engine.idle()
        assert set(statuses(engine).values()) == {Status.SUCCESS}
    assert world.executor.requests == []


async def test_a_failure_is_a_result_and_blocks_what_follows(world: World) -> None:
    await world.commit(MAIN, FILES)
    failed = Outcome(failure="exited with status 1", exit_status=1)
    world.executor.behaviours["build"] = always(failed)
    async with world.engine() as engine:
        await engine.idle()
        assert statuses(engine)["check"] is Status.BLOCKED
        assert statuses(engine)["lint"] is Status.SUCCESS
    world.executor.requests.clear()
    async with world.engine() as engine:
        await engine.idle()
        assert statuses(engine)["check"] is Status.BLOCKED
        build = await engine.build(job_of(engine, "check").builds[0])
        assert build is not None
        assert (build.status, build.reason) == (Status.FAILURE, "exited with status 1")
    assert world.executor.requests == []
    (message,) = await messages_of(world.database, "results/me-app/build")
    assert "failed" in message
    assert "exited with status 1" in message


def always(outcome: Outcome) -> Behaviour:
    async def behave(request: BuildRequest, log: Sink) -> Outcome:
        return outcome

    return behave


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (LostBuild("the machine is gone"), Status.ERROR, "the machine is gone"),
        (TimedOut("took too long"), Status.FAILURE, "took too long"),
        (ValueError("a bug"), Status.ERROR, "ValueError: a bug"),
    ],
)
async def test_a_build_without_a_result_is_shown_with_its_log_and_runs_again_after_a_restart(
    world: World, error: Exception, status: Status, reason: str
) -> None:
    await world.commit(MAIN, FILES)

    async def broken(request: BuildRequest, log: Sink) -> Outcome:
        log(b"halfway\n")
        raise error

    world.executor.behaviours["lint"] = broken
    async with world.engine() as engine:
        await engine.idle()
        assert job_of(engine, "lint").status is status
        assert (await build_of(engine, "lint")).reason == reason
        log = (await log_of(engine, "lint")).decode()
        assert "halfway\n" in log
        assert str(error) in log
        assert statuses(engine)["docs"] is Status.SUCCESS
    assert world.executor.stages.count("lint") == 1
    assert "results/me-app/lint" not in await world.database.branches()
    del world.executor.behaviours["lint"]
    async with world.engine() as engine:
        await engine.idle()
        assert job_of(engine, "lint").status is Status.SUCCESS


async def test_a_broken_target_disturbs_nobody(world: World) -> None:
    def fragile(target: TargetTerms) -> Mapping[str, Term[object]]:
        if target.target == TOPIC:
            raise KeyError("no such thing")
        return jobs(target)

    head = await world.commit(MAIN, FILES)
    await world.point(TOPIC, head)
    async with world.engine(Config(projects=[Project("me/app", fragile)])) as engine:
        await engine.idle()
        assert set(statuses(engine).values()) == {Status.SUCCESS}
        broken = state_of(engine, TOPIC)
        assert broken.status is Status.ERROR
        assert "no such thing" in broken.problem
        assert "test_engine.py:" in broken.problem


async def test_a_build_that_runs_shows_its_log_and_pools_limit_how_many(world: World) -> None:
    release = asyncio.Event()
    await world.commit(MAIN, FILES)
    for name in ("lint", "docs", "build"):
        world.executor.behaviours[name] = holding(release)
    async with world.engine() as engine:
        await world.executor.until(lambda: len(world.executor.running) == 2)
        await until(engine, lambda: Status.WAITING in statuses(engine).values())
        waiting = [name for name in ("lint", "docs", "build") if name not in world.executor.running]
        assert len(waiting) == 1
        running = world.executor.running[0]
        job = "check" if running == "build" else running
        build = await engine.build(job_of(engine, job).builds[0])
        assert build is not None
        assert build.status is Status.RUNNING
        log = engine.follow_log(build.id)
        assert await anext(log) == f"{running} runs\n".encode()
        release.set()
        assert await anext(log, b"end") == b"end"
        await engine.idle()
        assert set(statuses(engine).values()) == {Status.SUCCESS}


async def test_a_waiting_build_says_why(world: World) -> None:
    release = asyncio.Event()
    await world.commit(MAIN, FILES)
    world.executor.behaviours["lint"] = holding(release)
    only_lint = Project("me/app", lambda target: {"lint": lint(target.source)})
    async with world.engine(Config(projects=[only_lint], pools={"cpu": 0})) as engine:
        await until(engine, lambda: any(job.builds for s in engine.targets() for job in s.jobs))
        build = await build_of(engine, "lint")
        assert build.status is Status.WAITING
        assert build.reason == "waiting for pool cpu, which has no units"
        assert job_of(engine, "lint").description == "waiting for pool cpu"


async def test_a_deleted_target_stops_what_nobody_else_wants(world: World) -> None:
    release = asyncio.Event()
    head = await world.commit(MAIN, FILES)
    await world.commit(TOPIC, {**FILES, "src/a": b"other"})
    world.executor.behaviours["lint"] = holding(release)
    config = Config(
        projects=[Project("me/app", lambda target: {"lint": lint(target.source)})],
        pools={"cpu": 4},
    )
    async with world.engine(config) as engine:
        await world.executor.until(lambda: world.executor.running == ["lint", "lint"])
        await world.delete(TOPIC)
        await world.executor.until(lambda: world.executor.running == ["lint"])
        assert engine.target(TOPIC) is None
        release.set()
        await engine.idle()
        assert state_of(engine).head == head
        assert statuses(engine) == {"lint": Status.SUCCESS}
    assert world.executor.cancelled == ["lint"]
    assert len(await messages_of(world.database, "results/me-app/lint")) == 1


async def test_a_target_that_moves_on_stops_its_old_build_and_one_that_returns_starts_it_anew(
    world: World,
) -> None:
    release = asyncio.Event()
    first = await world.commit(MAIN, FILES)
    world.executor.behaviours["lint"] = holding(release)
    config = Config(projects=[Project("me/app", lambda target: {"lint": lint(target.source)})])
    async with world.engine(config) as engine:
        await world.executor.until(lambda: world.executor.running == ["lint"])
        await world.commit(MAIN, {**FILES, "src/a": b"other"})
        await world.executor.until(lambda: world.executor.cancelled == ["lint"])
        await world.point(MAIN, first)
        await world.executor.until(lambda: world.executor.cancelled == ["lint", "lint"])
        await world.executor.until(lambda: world.executor.running == ["lint"])
        release.set()
        await engine.idle()
        assert statuses(engine) == {"lint": Status.SUCCESS}
        assert state_of(engine).head == first


async def test_a_build_goes_on_when_its_target_moves_without_touching_what_it_looks_at(
    world: World,
) -> None:
    release = asyncio.Event()
    await world.commit(MAIN, FILES)
    world.executor.behaviours["lint"] = holding(release)
    async with world.engine() as engine:
        await world.executor.until(lambda: "lint" in world.executor.running)
        head = await world.commit(MAIN, {**FILES, "docs/b": b"changed"})
        await until(engine, lambda: state_of(engine).head == head)
        await world.executor.until(lambda: world.executor.stages.count("docs") == 2)
        release.set()
        await engine.idle()
        assert set(statuses(engine).values()) == {Status.SUCCESS}
    assert world.executor.stages.count("lint") == 1
    assert world.executor.cancelled == []


async def test_changes_begin_with_everything_and_tell_what_changed(world: World) -> None:
    await world.commit(MAIN, FILES)
    async with world.engine() as engine:
        await engine.idle()
        changes = engine.changes()
        assert await anext(changes) == {MAIN}
        await world.commit(TOPIC, FILES)
        assert await anext(changes) == {TOPIC}
        await changes.aclose()  # type: ignore[attr-defined]


async def test_a_cancelled_engine_leaves_a_readable_log_marked_as_interrupted(
    world: World,
) -> None:
    await world.commit(MAIN, FILES)
    world.executor.behaviours["lint"] = holding(asyncio.Event())
    config = Config(projects=[Project("me/app", lambda target: {"lint": lint(target.source)})])
    async with world.engine(config):
        await world.executor.until(lambda: world.executor.running == ["lint"])
    paused = Config(projects=config.projects, pools={"cpu": 0})
    async with Engine(world.database, paused, world.executor, world.directory / "spool"):
        (left,) = (world.directory / "spool").iterdir()
        assert left.read_text().startswith("lint runs\n")
        assert "interrupted" in left.read_text()
    async with world.engine(paused):
        assert list((world.directory / "spool").iterdir()) == []


async def test_a_database_without_targets_is_idle(world: World) -> None:
    async with world.engine() as engine:
        await engine.idle()
        assert engine.targets() == []


async def test_a_build_that_nobody_knows_is_none_and_has_no_log(world: World) -> None:
    await world.commit(MAIN, FILES)
    async with world.engine() as engine:
        await engine.idle()
        known = job_of(engine, "lint").builds[0]
        unknown = type(known)(known.project, known.stage, known.static, "0" * 64)
        assert await engine.build(unknown) is None
        assert [piece async for piece in engine.follow_log(unknown)] == []


async def test_a_damaged_result_runs_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await world.commit(MAIN, FILES)
    async with world.engine() as engine:
        await engine.idle()
        build = job_of(engine, "lint").builds[0]
    async with world.database.transaction(build.branch) as transaction:
        await transaction.write(f"{build.directory}/meta.json", b"{nonsense")
        await transaction.commit("Damage")
    world.executor.requests.clear()
    async with world.engine() as engine:
        await engine.idle()
        assert job_of(engine, "lint").status is Status.SUCCESS
    assert world.executor.stages == ["lint"]
    assert "damaged meta.json" in caplog.text


async def test_one_tree_is_joined_from_several(world: World) -> None:
    def joined(target: TargetTerms) -> Mapping[str, Term[object]]:
        made = build(target.source)
        return {"check": check(join({"": target.source, "docs": made, "deep/er": made}))}

    await world.commit(MAIN, FILES)
    async with world.engine(Config(projects=[Project("me/app", joined)])) as engine:
        await engine.idle()
        assert statuses(engine) == {"check": Status.SUCCESS}
    given = next(each.input for each in world.executor.requests if each.spec.name == "check")
    changes = await world.database.diff(EMPTY_TREE, given)
    assert [change.path for change in changes] == [
        "deep/er/build.txt",
        "docs/build.txt",
        "src/a",
        "top",
    ]


async def test_a_branch_of_the_database_is_followed(world: World) -> None:
    def following(target: TargetTerms) -> Mapping[str, Term[object]]:
        return {"check": check(tree_of(branch("raw")))}

    await world.commit(MAIN, FILES)
    async with world.engine(Config(projects=[Project("me/app", following)])) as engine:
        await engine.idle()
        reasons = {node.reason for node in state_of(engine).graph}
        assert "there is no branch raw in the database" in reasons
        await commit_files(world.database, "raw", {"data": b"one"})
        await world.executor.until(lambda: len(world.executor.requests) == 1)
        await commit_files(world.database, "raw", {"data": b"two"})
        await world.executor.until(lambda: len(world.executor.requests) == 2)
        await engine.idle()
        assert statuses(engine) == {"check": Status.SUCCESS}


async def test_what_cannot_be_looked_up_is_an_error_of_the_jobs_that_need_it(
    world: World,
) -> None:
    await world.point(MAIN, CommitId(ObjectId("a" * 40)))
    async with world.engine() as engine:
        await engine.idle()
        assert set(statuses(engine).values()) == {Status.BLOCKED}
        source = state_of(engine).graph[0]
        assert source.status is Status.ERROR
        assert "a" * 40 in source.reason
    assert world.executor.requests == []


async def test_what_another_ci_says_is_followed(world: World) -> None:
    other = "ci/other/build"

    def following(target: TargetTerms) -> Mapping[str, Term[object]]:
        return {"after": check(gate(target.source, ci_success_target_url(other, target.target)))}

    head = await world.commit(MAIN, FILES)
    async with world.engine(Config(projects=[Project("me/app", following)])) as engine:
        await engine.idle()
        assert job_of(engine, "after").description.startswith("waits for")
        await say(world, head, other, CommitStatus("pending", "at work"))
        await say(world, head, other, CommitStatus("failure", "broken", "http://other/1"))
        await until(engine, lambda: statuses(engine) == {"after": Status.BLOCKED})
        assert world.executor.requests == []
        await say(world, head, other, CommitStatus("success", "fine", "http://other/2"))
        await until(engine, lambda: statuses(engine) == {"after": Status.SUCCESS})


async def say(world: World, head: CommitId, context: str, status: CommitStatus) -> None:
    """Report as another CI does."""
    directory = status_path("me/app", head, context)
    files = {f"{directory}/{name}": data for name, data in status.files().items() if data}
    await commit_files(world.database, BRANCH, files)


async def test_canaries_are_the_only_targets_that_are_tested(world: World) -> None:
    await world.commit(MAIN, FILES)
    await world.commit(TOPIC, {**FILES, "top": b"another"})
    async with world.engine(canaries=[TOPIC]) as engine:
        await engine.idle()
        assert [state.target for state in engine.targets()] == [TOPIC]
        await engine.configure(CONFIG)
        await engine.idle()
        assert [state.target for state in engine.targets()] == [TOPIC]
    assert MAIN.status_branch not in await world.database.branches()


async def test_two_targets_at_one_commit_have_one_status(world: World) -> None:
    head = await world.commit(MAIN, FILES)
    await world.point(TOPIC, head)
    status = f"me/app/commit/{head}/status/ci/datakit/lint"
    async with world.engine() as engine:
        await engine.idle()
        files = await files_of(world.database, BRANCH)
        assert files[f"{status}/target_url"] == f"http://ci/{MAIN.path}\n"
    assert files[f"{status}/state"] == "success\n"
    assert len(world.executor.requests) == 4, "what one has run is the other's as well"


async def test_builds_with_a_lock_run_one_after_the_other_and_say_who_has_it(world: World) -> None:
    one, two = (shell(name, name, locks=["deploy"]) for name in ("one", "two"))
    config = Config(
        projects=[Project("me/app", lambda t: {"one": one(t.source), "two": two(t.source)})],
        pools={"cpu": 2},
    )
    release = asyncio.Event()
    world.executor.behaviours = dict.fromkeys(("one", "two"), holding(release))
    await world.commit(MAIN, FILES)
    async with world.engine(config) as engine:
        await world.executor.until(lambda: len(world.executor.running) == 1)
        (lock,) = engine.locks().values()
        assert lock.holder is not None
        assert engine.wanted_by(lock.holder) == {MAIN}
        (waiting,) = lock.queue
        state = await engine.build(waiting)
        assert state is not None
        assert state.reason == f"waiting for lock deploy, which {lock.holder.stage} of me/app has"
        assert engine.pools()["cpu"].busy == (lock.holder,)
        release.set()
        await engine.idle()
        log = (await log_of(engine, waiting.stage)).decode()
        assert log.startswith("[datakit-ci] started after ")
        assert f" of {state.reason}\n" in log
