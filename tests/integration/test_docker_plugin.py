"""Images as terms, with a real engine: built, run, lost and stopped."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from datakit_ci import Config, Project, TargetTerms, Term
from datakit_ci.engine import Engine
from datakit_ci.heads import FixedHeads
from datakit_ci.plugins import docker
from datakit_ci.state import BuildId, JobState, Status
from datakit_ci.target import Target
from tests.support.bench import Bench, open_bench
from tests.support.branches import commit_files
from tests.support.engines import TINY, tiny_engine, why_no_engine

MAIN = Target("me/app", "heads", "main")

Jobs = Callable[[TargetTerms], Mapping[str, Term[object]]]

FILES = {
    "Dockerfile": b"ARG BASE\nFROM ${BASE}\nARG WORD=none\nCOPY a /a\nRUN echo $WORD > /word\n",
    "a": b"first\n",
    "notes/b": b"of no interest\n",
    ".dockerignore": b"notes\n",
}


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    """An engine of these tests' own."""
    if missing := why_no_engine():
        pytest.skip(missing)
    with tiny_engine() as found:
        yield found


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with open_bench(tmp_path, grace=5) as opened:  # a container takes a moment to end
        yield opened


@asynccontextmanager
async def running(
    bench: Bench, jobs: Jobs, changes: Mapping[str, bytes] = {}
) -> AsyncIterator[Engine]:
    head = await commit_files(bench.database, "source", {**FILES, **changes})
    config = Config(projects=[Project("me/app", jobs)])
    async with (
        Engine(
            bench.database, config, bench.executor, bench.directory / "logs",
            heads=FixedHeads({MAIN: head}),
        ) as engine,
        asyncio.TaskGroup() as group,
    ):  # fmt: skip
        task = group.create_task(engine.run())
        yield engine
        task.cancel()


def job(engine: Engine, name: str) -> JobState:
    state = engine.target(MAIN)
    assert state is not None
    assert not state.problem
    return next(each for each in state.jobs if each.name == name)


async def log_of(engine: Engine, name: str) -> str:
    build = job(engine, name).builds[-1]
    return b"".join([piece async for piece in engine.follow_log(build)]).decode()


def ask(host: str, *arguments: str) -> str:
    done = subprocess.run(
        ["docker", f"--host={host}", *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout


def image_jobs(target: TargetTerms) -> dict[str, Term[object]]:
    base = docker.published(TINY)
    image = docker.build(target.source, from_=base, args={"WORD": "hello"}, network="none")
    show = docker.run(image, "cat /a /word > out; cat out", outputs=["out"])
    return {"image": image, "show": show}


async def test_without_an_engine_jobs_are_pending(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{bench.directory}/nobody")
    async with running(bench, image_jobs) as engine:
        await engine.idle()
        for name in ("image", "show"):
            assert job(engine, name).status is Status.WAITING
            assert job(engine, name).description == docker.NO_ENGINE


async def test_an_image_is_built_and_run_and_only_what_it_sees_builds_it_again(
    bench: Bench, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    async with running(bench, image_jobs) as engine:
        await engine.idle()
        log = await log_of(engine, "show")
        assert job(engine, "show").status is Status.SUCCESS, log
        assert log.splitlines()[-2:] == ["first", "hello"]
        first = job(engine, "image").builds, job(engine, "show").builds
        state = await engine.build(job(engine, "show").builds[-1])
        assert state is not None
        assert state.output is not None
        assert await bench.database.read(state.output, "out") == b"first\nhello\n"
    async with running(bench, image_jobs, {"notes/b": b"changed\n"}) as engine:
        await engine.idle()
        assert job(engine, "image").builds[-1] == first[0][-1]
        assert job(engine, "show").builds[-1] == first[1][-1]
    async with running(bench, image_jobs, {"a": b"second\n"}) as engine:
        await engine.idle()
        assert (await log_of(engine, "show")).splitlines()[-2:] == ["second", "hello"]
    assert ask(host, "ps", "--all", "--quiet") == ""


async def test_an_image_that_is_lost_is_built_again_when_it_is_needed(
    bench: Bench, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)

    def built(target: TargetTerms) -> dict[str, Term[object]]:
        return {"image": image_jobs(target)["image"]}

    async with running(bench, built, {"a": b"to be lost\n"}) as engine:
        await engine.idle()
        state = await engine.build(job(engine, "image").builds[-1])
        assert state is not None
        assert state.output is not None
        about = json.loads(await bench.database.read(state.output, "image.json"))
    assert about["labels"] == {"datakit.ci": "me/app"}
    ask(host, "rmi", "--force", about["id"])
    async with running(bench, image_jobs, {"a": b"to be lost\n"}) as engine:
        await engine.idle()
        log = await log_of(engine, "show")
        assert "building it again" in log
        assert log.splitlines()[-2:] == ["to be lost", "hello"]


async def test_a_container_has_no_network_and_fails_by_its_status(
    bench: Bench, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)

    def jobs(target: TargetTerms) -> dict[str, Term[object]]:
        tiny = docker.published(TINY)
        return {
            "net": docker.run(tiny, "ls /sys/class/net"),
            "status": docker.run(tiny, "cat a; exit 7", source=target.source),
            "outputs": docker.run(tiny, "echo nothing", outputs=["there"]),
        }

    async with running(bench, jobs) as engine:
        await engine.idle()
        assert job(engine, "net").status is Status.SUCCESS
        assert "eth" not in await log_of(engine, "net")
        assert job(engine, "status").status is Status.FAILURE
        assert "status 7" in job(engine, "status").description
        assert "first" in await log_of(engine, "status")
        assert "made no there" in job(engine, "outputs").description


async def test_when_it_is_stopped_the_container_is_gone(
    bench: Bench, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)

    def jobs(target: TargetTerms) -> dict[str, Term[object]]:
        return {"wait": docker.run(docker.published(TINY), "echo begun; sleep 1000")}

    async with running(bench, jobs) as engine:
        builds: tuple[BuildId, ...] = ()
        async for _ in engine.changes():
            builds = job(engine, "wait").builds if engine.target(MAIN) else ()
            if builds and builds[-1].stage == "docker-run":
                break
        async for piece in engine.follow_log(builds[-1]):
            if b"begun" in piece:
                break
        assert ask(host, "ps", "--quiet") != ""
    assert ask(host, "ps", "--all", "--quiet") == ""


async def test_what_a_killed_process_has_left_is_removed_by_the_next(
    bench: Bench, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    # No process has this number: it is above the largest that Linux gives (proc(5), pid_max).
    owner = f"datakit.owner={socket.gethostname()}:{1 << 23}"
    ask(host, "create", "--label=datakit.ci=me/app", f"--label={owner}", TINY, "sh")
    ask(host, "create", "--name=strange", TINY, "sh")

    def jobs(target: TargetTerms) -> dict[str, Term[object]]:
        return {"run": docker.run(docker.published(TINY), "echo tidy")}

    async with running(bench, jobs) as engine:
        await engine.idle()
        assert job(engine, "run").status is Status.SUCCESS
    assert ask(host, "ps", "--all", "--format={{.Names}}") == "strange\n"
    ask(host, "rm", "strange")
