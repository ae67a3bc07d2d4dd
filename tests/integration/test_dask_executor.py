"""Builds on a Dask cluster of real processes: what they make, how they end, what they survive."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datakit_ci.cli import main as datakit_ci
from datakit_ci.executors.base import BuildRequest, LostBuild, TimedOut
from datakit_ci.executors.dask.cluster import Cluster, Timing
from datakit_ci.executors.dask.security import Credentials
from datakit_ci.executors.dask.versions import Versions
from datakit_ci.executors.dask.wire import key_of
from datakit_ci.executors.local import LocalExecutor
from datakit_ci.pipeline import import_pipeline
from datakit_ci.question import Question, QuestionKind
from datakit_ci.state import BuildId
from datakit_core.client.api import Entry, FileMode
from datakit_core.client.reconnect import Backoff
from datakit_core.store.objects import EMPTY_TREE
from self_ci import pipeline as self_ci
from tests.support.farm import (
    Farm,
    Opened,
    begun,
    command_request,
    open_executor,
    running_farm,
)
from tests.support.processes import Collector, gone

PIPELINE = """
from datakit_ci import Config, StageFailed, stage
from words import count

@stage
def counted(source, unit: int = 1):
    print("counting")
    return {"count": str(count(source.read("text")) // unit)}

config = Config()
"""

WORDS = "def count(data):\n    return len(data.split())\n"


@pytest.fixture(scope="module")
def farm() -> Iterator[Farm]:
    with (
        tempfile.TemporaryDirectory(prefix="farm-") as directory,  # short, for its socket
        running_farm(Path(directory), {"one": "cpu=2", "two": "cpu=2,gpu=1"}) as farm,
    ):
        yield farm


@pytest.fixture
async def opened(farm: Farm, tmp_path: Path) -> AsyncIterator[Opened]:
    (tmp_path / "pipeline.py").write_text(PIPELINE)
    (tmp_path / "words.py").write_text(WORDS)
    async with open_executor(farm, tmp_path / "pipeline.py") as opened:
        yield opened


async def test_a_command_runs_on_a_worker_and_only_ids_come_back(opened: Opened) -> None:
    log = Collector()
    tree = await opened.database.import_tree({"src/a": b"one two", "b": b"not seen"})
    request = command_request(
        "ls; cat src/* > out; false || echo error >&2", tree, inputs=("src",), outputs=("out",)
    )
    outcome = await opened.executor.run(request, log)
    assert outcome.failure is None
    assert await opened.database.read(outcome.output, "out") == b"one two"
    assert dict(outcome.details)["worker"] in {"one", "two"}
    assert bytes(log.data).endswith(b"src\nerror\n")


async def test_a_function_brings_its_pipeline_along_and_what_it_looked_at_comes_back(
    opened: Opened, tmp_path: Path
) -> None:
    log = Collector()
    tree = await opened.database.import_tree({"text": b"one two three four", "b": b""})
    stage = vars(import_pipeline(tmp_path / "pipeline.py"))["counted"]
    spec = replace(stage.spec, parameters='{"unit": 2}')
    build = BuildId("me/app", "counted", "0" * 64, "1" * 64)
    outcome = await opened.executor.run(BuildRequest(build, spec, tree), log)
    assert await opened.database.read(outcome.output, "count") == b"2"
    assert outcome.questions == (Question(QuestionKind.FILE, "text"),)
    assert bytes(log.data) == b"counting\n"


PACKED = """
import os
from pathlib import Path
from datakit_ci import Config, stage
import tools.reading

@stage
def told(source):
    here = os.fsencode(Path(__file__).parent)
    return {"told": tools.reading.READ + open(here + b"/data/odd-\\xff", "rb").read()}

config = Config()
"""

READING = """
from pathlib import Path

READ = Path(__file__).with_name("linked").read_bytes()
"""


async def test_packages_links_and_data_beside_the_pipeline_are_there_as_they_are_here(
    farm: Farm, tmp_path: Path
) -> None:
    pipeline, package, data = (tmp_path / name for name in ("pipeline.py", "tools", "data"))
    package.mkdir()
    data.mkdir()
    pipeline.write_text(PACKED)
    (package / "__init__.py").touch()
    (package / "reading.py").write_text(READING)
    (package / "linked").symlink_to("../data/words")
    (data / "words").write_text("a word and ")
    (data / os.fsdecode(b"odd-\xff")).write_text("a number")
    stage = vars(import_pipeline(pipeline))["told"]
    async with open_executor(farm, pipeline) as opened:
        build = BuildId("me/app", "told", "0" * 64, "1" * 64)
        request = BuildRequest(build, stage.spec, EMPTY_TREE)
        local = LocalExecutor(opened.database, farm.repository, pipeline, tmp_path / "work")
        async with local:
            here = await local.run(request, Collector())
        there = await opened.executor.run(request, Collector())
        assert await opened.database.read(here.output, "told") == b"a word and a number"
        assert there.output == here.output
        with (data / "model").open("wb") as file:
            file.truncate(1 << 30)
        with pytest.raises(LostBuild, match=r"cannot be sent to a worker: .* 1024 MiB lie there"):
            await opened.executor.run(request, Collector())


async def test_an_output_that_is_an_input_comes_back_as_the_same_tree(opened: Opened) -> None:
    tree = await opened.database.import_tree({"a/b": b"kept", "a/c": b"old", "d": b"kept as well"})
    request = command_request("echo new > a/c", tree, outputs=("a", "d"))
    outcome = await opened.executor.run(request, Collector())
    new = {"a/b": b"kept", "a/c": b"new\n", "d": b"kept as well"}
    assert outcome.output == await opened.database.import_tree(new)


async def test_our_own_pipeline_makes_equal_trees_here_and_on_the_cluster(
    farm: Farm, tmp_path: Path
) -> None:
    stages = (self_ci.sizes, self_ci.links)
    assert self_ci.__file__ is not None
    path = Path(self_ci.__file__)
    async with open_executor(farm, path) as opened:
        tree = await opened.database.import_directory(path.parents[1] / "docs")
        docs = Entry(FileMode.DIRECTORY, tree)
        tree = await opened.database.import_tree({"docs": docs, "README.md": b"[a](docs/api.md)"})
        local = LocalExecutor(opened.database, farm.repository, path, tmp_path / "work")
        async with local:
            for spec in (stage.spec for stage in stages):
                build = BuildId("me/app", spec.name, "0" * 64, "1" * 64)
                request = BuildRequest(build, spec, tree)
                here = await local.run(request, Collector())
                there = await opened.executor.run(request, Collector())
                assert (here.output, here.failure) == (there.output, there.failure)
                assert here.questions == there.questions


async def test_failures_time_outs_and_bugs_are_told_apart(opened: Opened) -> None:
    run, log = opened.executor.run, Collector()
    outcome = await run(command_request("exit 3", EMPTY_TREE), log)
    assert (outcome.failure, outcome.exit_status) == ("exited with status 3", 3)
    with pytest.raises(TimedOut, match=r"took longer than 0\.1 s"):
        await run(command_request("sleep 600", EMPTY_TREE, timeout=0.1), log)
    with pytest.raises(LostBuild, match="SIGKILL"):
        await run(command_request("kill -9 $$", EMPTY_TREE), log)


async def test_a_build_goes_where_its_pool_is(opened: Opened) -> None:
    names = set()
    for key in "12":
        request = command_request("true", EMPTY_TREE, key=key, pool="gpu")
        names.add(dict((await opened.executor.run(request, Collector())).details)["worker"])
    assert names == {"two"}


async def test_a_long_log_comes_whole_and_in_order(opened: Opened) -> None:
    log = Collector()
    request = command_request("seq 1 200000", EMPTY_TREE)
    await opened.executor.run(request, log)
    lines = bytes(log.data).decode().splitlines()
    assert lines == ["$ seq 1 200000", *(str(number) for number in range(1, 200001))]


async def test_a_log_is_followed_while_the_build_runs(opened: Opened, tmp_path: Path) -> None:
    log, go = Collector(), tmp_path / "go"
    command = f"echo first; while test ! -e {go}; do sleep 0.01; done; echo last"
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(opened.executor.run(command_request(command, EMPTY_TREE), log))
        await log.line()
        assert await log.line() == "first"
        go.touch()
    assert bytes(log.data) == b"last\n"


async def test_cancelling_ends_the_whole_group_before_it_returns(
    opened: Opened, tmp_path: Path
) -> None:
    log, go = Collector(), tmp_path / "go"
    request = command_request(
        f"test -e {go} && exit; sleep 600 & echo $!; trap 'echo asked' TERM; wait", EMPTY_TREE
    )
    async with asyncio.TaskGroup() as tasks:
        running, pid = await begun(tasks, opened.executor, request, log)
        running.cancel()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    go.touch()
    again = await opened.executor.run(request, Collector())
    assert again.failure is None, "the same build can be asked for at once"


async def test_a_secret_reaches_its_build_and_neither_log_nor_output(opened: Opened) -> None:
    log = Collector()
    request = command_request("echo [$TOKEN] > out; cat out", EMPTY_TREE, outputs=("out",))
    given = replace(request, secrets={"TOKEN": "correct horse"})
    outcome = await opened.executor.run(given, log)
    assert outcome.failure == "the secret TOKEN is in out; nothing of it was stored"
    assert b"[***]" in log.data


def held(go: Path) -> str:
    """A command that says its process, and ends when there is a file."""
    return f"echo $$; while test ! -e {go}; do sleep 0.01; done; echo ran >> {go}; echo 1 > out"


async def test_builds_of_a_killed_worker_end_with_it_and_run_elsewhere(
    farm: Farm, opened: Opened, tmp_path: Path
) -> None:
    log, go = Collector(), tmp_path / "go"
    request = command_request(held(go), EMPTY_TREE, outputs=("out",))
    async with asyncio.TaskGroup() as tasks:
        running, pid = await begun(tasks, opened.executor, request, log)
        name = farm.worker_of(pid)
        farm.workers[name].kill()
        await gone(pid)
        assert "begun again" in await log.line()
        go.touch()
    outcome = running.result()
    assert await opened.database.read(outcome.output, "out") == b"1\n"
    assert dict(outcome.details)["worker"] != name
    assert go.read_text() == "ran\n"
    await opened.until(lambda crew: crew.interrupted == 1)
    farm.hire(name, "cpu=2,gpu=1")
    farm.ready()


async def test_a_scheduler_that_is_killed_ends_builds_and_the_next_one_runs_them(
    farm: Farm, opened: Opened, tmp_path: Path
) -> None:
    log, go = Collector(), tmp_path / "go"
    request = command_request(held(go), EMPTY_TREE, outputs=("out",))
    async with asyncio.TaskGroup() as tasks:
        running, pid = await begun(tasks, opened.executor, request, log)
        farm.kill_scheduler()
        await gone(pid)
        assert "the connection to the scheduler was lost" in await log.line()
        farm.schedule()
        assert "begun again" in await log.line()
        go.touch()
    assert await opened.database.read(running.result().output, "out") == b"1\n"
    assert go.read_text() == "ran\n"
    await opened.until(lambda crew: len(crew.workers) == 2)
    assert opened.cluster.trouble == ""


async def test_a_database_that_is_restarted_meanwhile_gets_the_outputs(
    farm: Farm, opened: Opened, tmp_path: Path
) -> None:
    log, go = Collector(), tmp_path / "go"
    request = command_request(held(go), EMPTY_TREE, outputs=("out",))
    async with asyncio.TaskGroup() as tasks:
        running, _ = await begun(tasks, opened.executor, request, log)
        farm.kill_database()
        go.touch()
        farm.serve()
    assert await opened.database.read(running.result().output, "out") == b"1\n"


def clients_of(key: str, dask_scheduler: Any) -> int:
    """How many want a task; runs in the scheduler."""
    return len(dask_scheduler.tasks[key].who_wants)


async def test_two_engines_that_ask_for_one_build_have_it_run_once(
    farm: Farm, opened: Opened, tmp_path: Path
) -> None:
    first, second, go = Collector(), Collector(), tmp_path / "go"
    request = command_request(held(go), EMPTY_TREE, outputs=("out",))
    async with open_executor(farm, tmp_path / "pipeline.py") as other, asyncio.TaskGroup() as tasks:
        one = tasks.create_task(opened.executor.run(request, first))
        await first.line()
        two = tasks.create_task(other.executor.run(request, second))
        client = await other.cluster.client()
        while await client.run_on_scheduler(clients_of, key_of(request.build)) < 2:
            continue
        go.touch()
    assert one.result() == two.result()
    assert go.read_text() == "ran\n"
    assert b"test ! -e" in second.data


async def test_a_worker_of_other_versions_gets_no_builds_and_is_named(
    farm: Farm, opened: Opened
) -> None:
    older = Versions("3.9", "0.0.1", opened.cluster.versions.dask)
    async with open_executor(farm, Path("nowhere.py"), older) as other:
        await other.until(lambda crew: len(crew.workers) == 2)
        said = "one: it has Python 3.11 instead of 3.9, DataKit"
        assert said.replace("3.11", opened.cluster.versions.python) in other.cluster.trouble
        assert other.cluster.crew.units == {}
        # The scheduler knows of that engine now: who fits it not is told so when it starts.
        misfit = farm.hire("third")
        assert misfit.wait() == 2
        assert "this worker does not fit the engine of the cluster: it has Python" in misfit.said
        del farm.workers["third"]


async def test_builds_of_a_worker_that_is_stopped_run_elsewhere(
    farm: Farm, opened: Opened, tmp_path: Path
) -> None:
    log, go = Collector(), tmp_path / "go"
    request = command_request(held(go), EMPTY_TREE)
    async with asyncio.TaskGroup() as tasks:
        running, pid = await begun(tasks, opened.executor, request, log)
        name = farm.worker_of(pid)
        assert farm.workers[name].stop() == 0
        await gone(pid)
        go.touch()
    assert dict(running.result().details)["worker"] != name
    farm.hire(name, "cpu=2,gpu=1")
    farm.ready()


async def test_builds_of_an_engine_that_is_gone_end(
    farm: Farm, opened: Opened, tmp_path: Path
) -> None:
    log = Collector()
    request = command_request(held(tmp_path / "never"), EMPTY_TREE)
    async with asyncio.TaskGroup() as tasks:
        async with open_executor(farm, tmp_path / "pipeline.py") as other:
            running, pid = await begun(tasks, other.executor, request, log)
        await gone(pid)  # its connection has ended, and nobody else wants the key
        running.cancel()


@pytest.mark.parametrize("patience", [0.05, 20.0], ids=["refused", "still connecting"])
async def test_an_engine_may_stop_while_there_is_no_scheduler(patience: float) -> None:
    with socket.socket() as nobody:  # bound, so that nobody else listens there
        nobody.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{nobody.getsockname()[1]}"
        security = Credentials().security("client", address)
        cluster = Cluster(address, security, Timing(connect=patience, backoff=Backoff(9.0)))
        tried = asyncio.Event()
        async with cluster.running():
            cluster.listen(lambda _: tried.set())
            tried.clear()
            if patience < 1:
                await tried.wait()
            else:
                await asyncio.sleep(0)
            assert f"The scheduler at {address} is away since" in cluster.trouble
        gc.collect()  # a coroutine that was never awaited would say so now


def test_a_second_worker_in_one_directory_is_refused(farm: Farm) -> None:
    first = farm.workers["one"]
    second = farm.hire("one")
    assert second.wait() == 2
    farm.workers["one"] = first
    assert "give each worker a --work of its own" in second.said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--scheduler here", "--scheduler: 'here' is not of the form tls://HOST:PORT"),
        ("--scheduler tls://h:1", "a tls:// scheduler needs --tls-ca-file"),
        ("--scheduler tcp://h:1 --tls-cert c", "certificates are for tls://"),
        ("--scheduler tls://h:1 --tls-ca-file c --tls-cert c", "(c, c) cannot be used: [Errno 2]"),
        ("--scheduler tcp://h:1 --pools gpu", "--pools: 'gpu' is not of the form NAME=UNITS"),
        ("--scheduler tcp://h:1 --pools cpu=0", "no build could run here"),
        ("--scheduler tcp://h:1 --cache big", "--cache: 'big' is not a size"),
        ("--scheduler tcp://h:1", "unix:///nowhere"),
    ],
)
def test_a_worker_says_in_a_line_what_is_wrong_with_its_options(
    options: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["datakit-ci", "worker", "--metadata-store", "unix:///nowhere", *options.split()]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        datakit_ci()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.parametrize("command", ["worker --scheduler tcp://h:1", "serve nowhere.py"])
@pytest.mark.parametrize("seconds", ["0", "inf", "nan", "1e9"])
def test_a_patience_that_the_kernel_cannot_count_is_refused(
    command: str,
    seconds: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = ["--metadata-store", "unix:///nowhere", "--patience", seconds]
    monkeypatch.setattr(sys, "argv", ["datakit-ci", *command.split(), *store])
    with pytest.raises(SystemExit) as ended:
        datakit_ci()
    assert ended.value.code == 2
    assert "'--patience': Input should be" in capsys.readouterr().err
