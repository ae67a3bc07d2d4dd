"""The service as a process: how it starts, refuses to start, follows its pipeline, and stops."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.git import commit_file, git
from tests.support.service import RunningService, embedded, running_service, service_command

PIPELINE = """
from datakit_ci import Config, Project, shell

def jobs(target):
    return {{"{job}": shell("{job}", "{command}")(target.source)}}

config = Config(projects=[Project("me/app", jobs)])
"""


def write_pipeline(path: Path, job: str, command: str = "true") -> None:
    path.write_text(PIPELINE.format(job=job, command=command))


def break_pipeline(path: Path) -> None:
    path.write_text("config = oops\n")


def names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    path = tmp_path / "pipeline.py"
    write_pipeline(path, "quick")
    return path


@pytest.fixture
async def service(tmp_path: Path, pipeline: Path) -> AsyncIterator[RunningService]:
    commit_file(tmp_path / "app", "a", b"1")
    async with running_service(
        pipeline, tmp_path / "app", tmp_path / "database.git", "me/app"
    ) as running:
        yield running


def refused(command: list[str], directory: Path | None = None) -> str:
    """What a command that must refuse to start says: one line, and exit status 2."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=30, cwd=directory
    )
    assert done.returncode == 2, done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if not line[:1].isdigit()]  # not the log
    assert len(lines) == 1, done.stderr
    return lines[0]


async def test_a_database_that_another_service_has_is_refused(
    service: RunningService, pipeline: Path, tmp_path: Path
) -> None:
    said = refused(service_command(pipeline, tmp_path / "app", "me/app", *embedded(service.git)))
    assert f"{service.git} is served by another DataKit (process {service.process.pid})" in said


@pytest.mark.parametrize(
    ("option", "url"), [("--web-ui", "http://127.0.0.1:{}"), ("--listen-9p", "tcp://127.0.0.1:{}")]
)
def test_a_port_in_use_is_named(option: str, url: str, pipeline: Path, tmp_path: Path) -> None:
    commit_file(tmp_path / "app", "a", b"1")
    command = service_command(
        pipeline, tmp_path / "app", "me/app", *embedded(tmp_path / "database.git")
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = url.format(taken.getsockname()[1])
        said = refused([*command, option, address])
    assert address in said
    assert "in use" in said


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("--web-ui", "nonsense", "--web-ui: 'nonsense' is not of the form http://HOST:PORT"),
        ("--listen-9p", "ftp://x", "ftp://x"),
        ("--repository", "me/app", "'me/app' is not of the form USER/REPO:PATH"),
        ("--repository", "you/other:.", "the pipeline has no project you/other, only me/app"),
        ("--canary", "main", "'main' is not a target"),
        ("--canary", "you/other/pr/1", "the pipeline has no project you/other"),
        ("--metadata-store", "tcp://x", "--git and --metadata-store"),
    ],
)
def test_a_wrong_option_is_named(
    option: str, value: str, text: str, pipeline: Path, tmp_path: Path
) -> None:
    commit_file(tmp_path / "app", "a", b"1")
    command = service_command(
        pipeline, tmp_path / "app", "me/app", *embedded(tmp_path / "database.git")
    )
    assert text in refused([*command, option, value])


def test_a_broken_pipeline_is_refused_with_its_line(pipeline: Path, tmp_path: Path) -> None:
    commit_file(tmp_path / "app", "a", b"1")
    pipeline.write_text("from datakit_ci import Config\n\nconfig = undefined()\n")
    command = service_command(
        pipeline, tmp_path / "app", "me/app", *embedded(tmp_path / "database.git")
    )
    assert f"{pipeline}:3: NameError" in refused(command)


async def test_another_pipeline_takes_over_while_it_runs(
    service: RunningService, pipeline: Path, tmp_path: Path
) -> None:
    head = git(tmp_path / "app", "rev-parse", "HEAD")
    await service.until_job("main", "quick", "success", at=head)
    write_pipeline(pipeline, "other")
    await service.until_job("main", "other", "success", at=head)
    break_pipeline(pipeline)  # is reported, and changes nothing
    write_pipeline(pipeline, "third")
    await service.until_job("main", "third", "success", at=head)


OWN = """
from datakit_ci import shell, stage
import words

quick = shell("quick", "{command}", pool="{pool}")

@stage
def count(source):
    return {{"n": words.counted(source.read("a"))}}

def jobs(target):
    return {{"quick": quick(target.source), "count": count(target.source)}}
"""

SERVICE = """
from datakit_ci import Config, Project

config = Config(projects=[Project("me/app", pipeline="ci/pipeline.py")], pools={pools})
"""


@pytest.mark.parametrize("remote", [False, True])
async def test_a_repository_brings_its_own_pipeline(tmp_path: Path, remote: bool) -> None:
    pipeline, app = tmp_path / "pipeline.py", tmp_path / "app"
    pipeline.write_text(SERVICE.format(pools="{}"))
    commit_file(app, "a", b"one two")
    commit_file(app, "ci/words.py", b"def counted(data):\n    return str(len(data.split()))\n")
    first = commit_file(app, "ci/pipeline.py", OWN.format(command="true", pool="cpu").encode())
    git_directory = tmp_path / "database.git"
    async with running_service(pipeline, app, git_directory, "me/app", remote=remote) as service:
        await service.until_job("main", "count", "success", at=first)
        wants = OWN.format(command="true", pool="disk").encode()
        second = commit_file(app, "ci/pipeline.py", wants)
        job = await service.until_job("main", "pipeline", "failure", at=second)
        assert "wants pool disk, which is not declared" in job["result"]["descr"]
        pipeline.write_text(SERVICE.format(pools='{"disk": 1}'))  # reloaded while it runs
        await service.until_job("main", "quick", "success", at=second)
        third = commit_file(app, "ci/pipeline.py", wants.replace(b"true", b"false"))
        await service.until_job("main", "quick", "failure", at=third)
    async with running_service(pipeline, app, git_directory, "me/app", remote=remote) as service:
        fourth = commit_file(app, "a", b"one two three")
        await service.until_job("main", "count", "success", at=fourth)


async def test_a_signal_ends_running_builds_with_it(tmp_path: Path, pipeline: Path) -> None:
    commit_file(tmp_path / "app", "a", b"1")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    write_pipeline(pipeline, "slow", f"echo $$ > {fifo}; exec sleep 1000")
    database = tmp_path / "database.git"
    async with running_service(pipeline, tmp_path / "app", database, "me/app") as service:
        pid = int(await asyncio.to_thread(fifo.read_text))
        service.process.send_signal(signal.SIGINT)
        assert await service.process.wait() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert names_in(tmp_path / "database.work/builds") == ["kept"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--metadata-store", "nonsense://x"], "nonsense://x"),
        (["--metadata-store", "unix:///no/such/socket"], "/no/such/socket"),
        (["--metadata-store", "unix:///x", "--auto-push", "/y"], "--auto-push is for who serves"),
        (["--metadata-store", "unix:///x", "--listen-9p", "unix:///y"], "--listen-9p is for who"),
    ],
)
def test_a_server_that_cannot_be_used_is_named(
    options: list[str], text: str, pipeline: Path, tmp_path: Path
) -> None:
    commit_file(tmp_path / "app", "a", b"1")
    command = service_command(pipeline, tmp_path / "app", "me/app", *options)
    assert text in refused(command, tmp_path / "app")


async def test_a_repository_that_is_not_there_yet_is_waited_for(
    tmp_path: Path, pipeline: Path
) -> None:
    app, database = tmp_path / "later" / "app", tmp_path / "database.git"
    async with running_service(pipeline, app, database, "me/app") as service:
        head = commit_file(app, "a", b"1")
        await service.until_job("main", "quick", "success", at=head)
