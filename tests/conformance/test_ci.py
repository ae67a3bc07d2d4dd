"""What the CI says in the database, to clients that know only files: scenarios 49 to 52."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from datakit_ci import Config, Project, TargetTerms, Term, head, join, shell, tree_of
from datakit_ci.engine import Engine
from datakit_ci.outcome import Outcome
from datakit_ci.state import BuildId, JobState, Status
from datakit_ci.target import Target, TargetKind
from datakit_core.client.api import CommitId
from datakit_core.client.local import LocalDatabase
from datakit_core.store import EMPTY_TREE, ObjectKind, new_object
from tests.support.branches import commit_files, messages_of
from tests.support.executors import ScriptedExecutor, holding
from tests.support.raw import Raw
from tests.support.scenarios import Stream, head_of
from tests.support.scenarios import commit_files as put_files
from tests.support.served import Served

PULL = Target("me/app", "pr", "7")
TAG = Target("me/app", "tags", "v1")
OTHER = Target("you/lib", "heads", "main")

ls = shell("ls", "ls")
after = shell("after", "after")


def jobs(target: TargetTerms) -> Mapping[str, Term[object]]:
    return {"test": ls(target.source)}


CONFIG = Config(projects=[Project("me/app", jobs)], pools={"cpu": 1})


class Ci:
    """An engine on a served database; its builds are scripted."""

    def __init__(self, served: Served, directory: Path) -> None:
        self.database = LocalDatabase(served.store)
        self.executor = ScriptedExecutor(self.database)
        self._directory = directory
        self._spools = itertools.count()

    @asynccontextmanager
    async def engine(self, config: Config = CONFIG) -> AsyncIterator[Engine]:
        spool = self._directory / f"spool{next(self._spools)}"
        async with (
            Engine(self.database, config, self.executor, spool, "http://ci") as engine,
            asyncio.TaskGroup() as group,
        ):
            task = group.create_task(engine.run())
            yield engine
            task.cancel()

    async def point(self, raw: Raw, target: Target, content: bytes) -> CommitId:
        """Make a commit and say that ``target`` is there, as a bridge does that is a client."""
        commit = await commit_files(self.database, "sources", {"file": content})
        files: dict[str, bytes | None] = {f"{target.path}/head": f"{commit}\n".encode()}
        if target.kind is TargetKind.PULL_REQUEST:
            files[f"{target.path}/owner"] = b"me\n"
        await put_files(raw, "github-metadata", files)
        return commit


@pytest.fixture
def ci(served: Served, tmp_path: Path) -> Ci:
    return Ci(served, tmp_path)


def blob(text: str) -> str:
    """How a watch names a file with this content."""
    return f"F-{new_object(ObjectKind.BLOB, text.encode()).id}"


def only_job(engine: Engine, target: Target = PULL) -> JobState:
    state = engine.target(target)
    assert state is not None
    (job,) = state.jobs
    return job


async def until(engine: Engine, job: str, status: Status, target: Target = PULL) -> JobState:
    """Wait until a job stands so."""
    async for _ in engine.changes():
        state = engine.target(target)
        for each in state.jobs if state else ():
            if (each.name, each.status) == (job, status):
                return each
    raise AssertionError("changes have no end")


async def test_49_statuses_are_files_and_change_in_their_order(ci: Ci, raw: Raw) -> None:
    commit = await ci.point(raw, PULL, b"1")
    release = asyncio.Event()
    ci.executor.behaviours["ls"] = holding(release, Outcome(exit_status=0, output=EMPTY_TREE))
    place = f"me/app/commit/{commit}/status/ci/datakit/test"
    nodes = "/".join(f"{name}.node" for name in f"{place}/state".split("/"))
    async with ci.engine() as engine:
        stream = await Stream.open(raw, f"branch/github-metadata/watch/{nodes}/tree.live")
        states = [await stream.line()]
        while states[-1] != blob("pending\n"):
            states.append(await stream.line())
        release.set()
        states.append(await stream.line())
        assert states[-2:] == [blob("pending\n"), blob("success\n")]
        assert set(states[:-2]) <= {""}
        await engine.idle()
    files = f"branch/github-metadata/ro/{place}"
    assert await raw.read(f"{files}/state") == b"success\n"
    description = await raw.read(f"{files}/description")
    assert description.startswith(b"passed in ")
    assert description.endswith(b"\n")
    assert await raw.read(f"{files}/target_url") == b"http://ci/me/app/pr/7\n"


async def test_50_results_and_history_are_branches(ci: Ci, raw: Raw) -> None:
    commit = await ci.point(raw, PULL, b"1")
    async with ci.engine() as engine:
        await engine.idle()
        (build,) = only_job(engine).builds
    history = "branch/status-me-app-pr-7/ro"
    assert await raw.read(f"{history}/source-commit") == f"{commit}\n".encode()
    output = json.loads(await raw.read(f"{history}/job/test/output"))
    assert output["result"]["status"] == "success"
    assert output["builds"][0]["key"] == build.key
    index = f"branch/commit-index/ro/{commit[:2]}/{commit}/status-me-app-pr-7"
    assert (await raw.read(index)).decode().strip() == await head_of(raw, "status-me-app-pr-7")
    result = ["branch", "results/me-app/ls", "ro", *build.directory.split("/")]
    assert await raw.read([*result, "log"]) == b"ls runs\n"
    assert await raw.read([*result, "value", "ls.txt"])
    assert json.loads(await raw.read([*result, "meta.json"]))["command"] == "ls"


async def test_50_a_failure_is_a_result_with_a_reason(ci: Ci, raw: Raw) -> None:
    await ci.point(raw, PULL, b"1")
    release = asyncio.Event()
    release.set()
    ci.executor.behaviours["ls"] = holding(release, Outcome(failure="exited with status 2"))
    async with ci.engine() as engine:
        await engine.idle()
        (build,) = only_job(engine).builds
    result = ["branch", "results/me-app/ls", "ro", *build.directory.split("/")]
    assert await raw.read([*result, "failure"]) == b"exited with status 2\n"


async def test_51_a_build_waits_for_a_reason_and_is_stopped_with_its_target(
    ci: Ci, raw: Raw
) -> None:
    def two(target: TargetTerms) -> Mapping[str, Term[object]]:
        return {"first": ls(target.source), "second": after(target.source)}

    await ci.point(raw, PULL, b"1")
    release = asyncio.Event()
    for stage in ("ls", "after"):
        ci.executor.behaviours[stage] = holding(release)
    async with ci.engine(Config(projects=[Project("me/app", two)], pools={"cpu": 1})) as engine:
        await ci.executor.until(lambda: len(ci.executor.running) == 1)
        (running,) = ci.executor.running  # either, there is one place in the pool
        async for _ in engine.changes():
            state = engine.target(PULL)
            if any("pool cpu" in job.description for job in (state.jobs if state else ())):
                break
        await put_files(raw, "github-metadata", {PULL.path: None})
        await ci.executor.until(lambda: ci.executor.cancelled == [running])
        await engine.idle()
        assert engine.target(PULL) is None
        assert not ci.executor.running


async def ask(raw: Raw, name: str, **fields: object) -> None:
    """Leave a command for the engine, as a client does that knows only files."""
    said = {"version": 1, "time": "2026-03-04T12:00:00Z", **fields}
    await put_files(raw, "control", {f"asked/{name}": json.dumps(said).encode()})


async def answered(raw: Raw, *names: str) -> list[str]:
    """Wait until the engine has answered these commands; what it says."""
    stream = await Stream.open(raw, "branch/control/head.live")
    while True:
        said = f"snapshots/{await stream.line()}/ro"  # the live tree may change between two reads
        if "answered" not in await raw.list(said):
            continue
        if set(names) <= set(await raw.list(f"{said}/answered")):
            break
    texts = [await raw.read(f"{said}/answered/{name}") for name in names]
    return [str(json.loads(text)["text"]) for text in texts]


async def test_51_a_rebuild_is_asked_for_by_a_file_and_is_a_commit_on_the_same_key(
    ci: Ci, raw: Raw
) -> None:
    await ci.point(raw, PULL, b"1")
    async with ci.engine() as engine:
        await engine.idle()
        (build,) = only_job(engine).builds
        first = await head_of(raw, build.branch)
        await ask(raw, "1", command="rebuild", user="alice", target=PULL.path, job="test")
        (done,) = await answered(raw, "1")
        assert done.startswith("rebuild ls of me/app")
        await engine.idle()
        assert only_job(engine).builds == (build,)
    second = await head_of(raw, build.branch)
    assert (await raw.read(f"snapshots/{second}/parents")).decode() == f"{first}\n"
    assert "By: alice" in "\n".join(await messages_of(ci.database, "control"))
    assert "Rebuild by alice" in (await messages_of(ci.database, build.branch))[0]
    assert len(ci.executor.requests) == 2


async def test_51_rebuilds_asked_for_at_once_are_one_run(ci: Ci, raw: Raw) -> None:
    for target in (PULL, TAG):
        await ci.point(raw, target, b"1")  # the same tree: one build
    release = asyncio.Event()
    async with ci.engine() as engine:
        await engine.idle()
        ci.executor.behaviours["ls"] = holding(release)
        for name, target, user in (("1", PULL, "alice"), ("2", TAG, "bob"), ("3", PULL, "carol")):
            await ask(raw, name, command="rebuild", user=user, target=target.path)
        assert len(await answered(raw, "1", "2", "3")) == 3
        await ci.executor.until(lambda: bool(ci.executor.running))
        release.set()
        await engine.idle()
        for target in (PULL, TAG):
            assert only_job(engine, target).status is Status.SUCCESS
    assert len(ci.executor.requests) == 2


async def test_51_heads_of_other_projects_and_tags_are_inputs(ci: Ci, raw: Raw) -> None:
    def crossing(target: TargetTerms) -> Mapping[str, Term[object]]:
        theirs = tree_of(head(OTHER))
        return {"test": ls(join({"": target.source, "lib": theirs}))}

    await ci.point(raw, TAG, b"1")
    async with ci.engine(Config(projects=[Project("me/app", crossing)])) as engine:
        job = await until(engine, "test", Status.BLOCKED, TAG)
        assert "you/lib" in job.description
        await ci.point(raw, OTHER, b"library")
        first = await until(engine, "test", Status.SUCCESS, TAG)
        await ci.point(raw, OTHER, b"a newer library")
        async for _ in engine.changes():
            now = only_job(engine, TAG)
            if now.status is Status.SUCCESS and now.builds != first.builds:
                break
    assert len(ci.executor.requests) == 2


async def test_51_a_log_is_live_and_then_the_saved_one(ci: Ci, raw: Raw) -> None:
    await ci.point(raw, PULL, b"1")
    release = asyncio.Event()

    async def talking(request: object, log: object) -> Outcome:
        log(b"first\n")  # type: ignore[operator]
        await release.wait()
        log(b"second\n")  # type: ignore[operator]
        return Outcome(exit_status=0, output=EMPTY_TREE)

    ci.executor.behaviours["ls"] = talking
    async with ci.engine() as engine:
        running = await until(engine, "test", Status.RUNNING)
        log = engine.follow_log(running.builds[-1])
        live = b""
        while b"first\n" not in live:
            live += await anext(log)
        release.set()
        live += b"".join([piece async for piece in log])
        await engine.idle()
        build: BuildId = running.builds[-1]
    saved = ["branch", "results/me-app/ls", "ro", *build.directory.split("/"), "log"]
    assert live.endswith(b"first\nsecond\n")
    assert await raw.read(saved) == live


async def test_52_equal_states_make_no_commit_and_a_change_makes_one(ci: Ci, raw: Raw) -> None:
    branch = "status-me-app-pr-7"
    commit = await ci.point(raw, PULL, b"1")
    async with ci.engine() as engine:
        await engine.idle()
    first = await head_of(raw, branch)
    async with ci.engine() as engine:
        await engine.idle()
    assert await head_of(raw, branch) == first, "an equal state"

    release = asyncio.Event()
    ci.executor.behaviours["ls"] = holding(release, Outcome(failure="broken"))
    changed = await ci.point(raw, PULL, b"2")
    stream = await Stream.open(raw, f"branch/{branch}/head.live")
    assert await stream.line() == first
    async with ci.engine() as engine:
        second = await stream.line()
        release.set()
        third = await stream.line()
        await engine.idle()
    for new, old in ((second, first), (third, second)):
        assert await raw.read(f"snapshots/{new}/parents") == f"{old}\n".encode()
    assert await head_of(raw, branch) == third
    index = f"branch/commit-index/ro/{changed[:2]}/{changed}/{branch}"
    assert (await raw.read(index)).decode().strip() == third
    assert (await messages_of(ci.database, branch))[0] == "test: failure"
    assert commit != changed


async def test_52_engines_with_other_jobs_share_a_history(ci: Ci, raw: Raw) -> None:
    def theirs(target: TargetTerms) -> Mapping[str, Term[object]]:
        return {"other": after(target.source)}

    commit = await ci.point(raw, PULL, b"1")
    second = Config(projects=[Project("me/app", theirs)])
    async with ci.engine() as one, ci.engine(second) as two:
        await one.idle()
        await two.idle()
    for job in ("test", "other"):
        output = json.loads(await raw.read(f"branch/status-me-app-pr-7/ro/job/{job}/output"))
        assert output["result"]["status"] == "success"
        status = f"branch/github-metadata/ro/me/app/commit/{commit}/status/ci/datakit/{job}/state"
        assert await raw.read(status) == b"success\n"
