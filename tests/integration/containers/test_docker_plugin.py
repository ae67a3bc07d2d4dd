"""Images as terms, with a real engine: built, run, lost and stopped."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from datakit_ci import Config, Project, Secret, TargetTerms, Term
from datakit_ci.control import Cancel
from datakit_ci.engine import Engine
from datakit_ci.heads import FixedHeads
from datakit_ci.plugins import docker
from datakit_ci.state import BuildId, JobState, Status
from datakit_ci.target import Target
from tests.support.bench import Bench
from tests.support.branches import commit_files
from tests.support.containers import TINY

pytestmark = [pytest.mark.foreign]

MAIN = Target("me/app", "heads", "main")

Jobs = Callable[[TargetTerms], Mapping[str, Term[object]]]

FILES = {
    "Dockerfile": b"ARG BASE\nFROM ${BASE}\nARG WORD=none\nCOPY a /a\nRUN echo $WORD > /word\n",
    "a": b"first\n",
    "notes/b": b"of no interest\n",
    ".dockerignore": b"notes\n",
}


@asynccontextmanager
async def running(
    bench: Bench,
    jobs: Jobs,
    changes: Mapping[str, bytes] = {},
    secrets: Mapping[str, Secret] = {},
    files: Mapping[str, bytes] = FILES,
) -> AsyncIterator[Engine]:
    head = await commit_files(bench.database, "source", {**files, **changes})
    config = Config(projects=[Project("me/app", jobs)], secrets=secrets)
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


async def begun(engine: Engine, name: str, stage: str) -> BuildId:
    """The build of ``stage`` in a job, once it has said so."""
    builds: tuple[BuildId, ...] = ()
    async for _ in engine.changes():
        builds = job(engine, name).builds if engine.target(MAIN) else ()
        if builds and builds[-1].stage == stage:
            break
    said = b""
    async for piece in engine.follow_log(builds[-1]):
        said += piece
        if b"begun-1" in said:
            break
    return builds[-1]


async def test_when_it_is_stopped_the_container_is_gone(
    bench: Bench, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)

    def jobs(target: TargetTerms) -> dict[str, Term[object]]:
        return {"wait": docker.run(docker.published(TINY), "echo begun-$((0+1)); sleep 1000")}

    async with running(bench, jobs) as engine:
        await begun(engine, "wait", "docker-run")
        assert ask(host, "ps", "--quiet") != ""
    assert ask(host, "ps", "--all", "--quiet") == ""


async def test_cancelling_a_build_ends_what_the_engine_does_for_it(
    bench: Bench, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    slow = b"ARG BASE\nFROM ${BASE}\nRUN echo begun-$((0+1)); sleep 1000\n"

    def jobs(target: TargetTerms) -> dict[str, Term[object]]:
        base = docker.published(TINY)
        return {"image": docker.build(target.source, from_=base, network="none")}

    async with running(bench, jobs, {"Dockerfile": slow}) as engine:
        build = await begun(engine, "image", "docker-build")
        (step,) = ask(host, "ps", "--quiet", "--no-trunc").split()
        await engine.control(Cancel("someone", build))
        await asyncio.to_thread(await_end_of, host, step)
        await engine.idle()
        assert job(engine, "image").status is Status.CANCELLED
    assert ask(host, "ps", "--all", "--quiet") == ""


def await_end_of(host: str, container: str) -> None:
    """Wait until the engine says that a container is gone; it may have said so before."""
    filters = [f"--filter=container={container}", "--filter=event=destroy"]
    with subprocess.Popen(
        ["docker", f"--host={host}", "events", "--since=1h", *filters], stdout=subprocess.PIPE
    ) as events:
        assert events.stdout is not None
        assert b"destroy" in events.stdout.readline()
        events.terminate()


async def test_a_container_that_takes_too_long_is_ended(
    bench: Bench, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)

    def jobs(target: TargetTerms) -> dict[str, Term[object]]:
        return {"wait": docker.run(docker.published(TINY), "sleep 1000", timeout="5s")}

    async with running(bench, jobs) as engine:
        await engine.idle()
        assert "took longer than 5 s" in job(engine, "wait").description
        assert ask(host, "ps", "--all", "--quiet") == ""


async def test_a_container_is_told_its_secrets_and_facts_and_no_log_has_them(
    bench: Bench, host: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    token = tmp_path / "token"
    token.write_text("correct-horse-battery")
    token.chmod(0o600)

    def jobs(target: TargetTerms) -> dict[str, Term[object]]:
        command = 'echo "<$GH>" "$DATAKIT_TARGET" "${#GH}"'
        tiny = docker.published(TINY)
        return {"tell": docker.run(tiny, command, secrets={"GH": "TOKEN"}, facts=["target"])}

    async with running(bench, jobs, secrets={"TOKEN": Secret.file(token)}) as engine:
        await engine.idle()
        assert (await log_of(engine, "tell")).splitlines()[-1] == "<***> heads/main 21"


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
