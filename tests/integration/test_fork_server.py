"""The process that builds are forked from: when it starts, when it ends, and who notices."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from datakit_ci.executors.base import BuildRequest
from datakit_ci.executors.forking import ForkServer
from datakit_ci.executors.forkserver import PIPES
from datakit_ci.executors.local import LocalExecutor
from datakit_ci.outcome import Outcome
from datakit_ci.pipeline import import_pipeline
from datakit_ci.process import Command, run_process
from datakit_ci.spec import StageSpec
from datakit_ci.stage import Stage, shell
from datakit_ci.state import BuildId
from datakit_core.client.local import LocalDatabase
from datakit_core.store import InlineWriter, Store
from datakit_core.store.objects import EMPTY_TREE
from tests.integration.test_local_executor import ENGINE, STUBBORN, stubborn_pids
from tests.support.processes import Collector, gone


class Bench:
    """An executor with a pipeline."""

    def __init__(self, executor: LocalExecutor, pipeline: Path) -> None:
        self.executor = executor
        self.pipeline = pipeline
        self.log = Collector()

    @property
    def server(self) -> int:
        pid = self.executor._server.pid
        assert pid is not None
        return pid

    async def run(self, spec: StageSpec) -> Outcome:
        build = BuildId("me/app", spec.name, "0" * 64, "1" * 64)
        return await self.executor.run(BuildRequest(build, spec, EMPTY_TREE), self.log)

    def function(self, code: str) -> StageSpec:
        """A stage ``made`` whose body is ``code``."""
        head = "from datakit_ci import Config, stage\nconfig = Config(projects=[])\n"
        self.pipeline.write_text(f"{head}@stage\ndef made(source):\n    {code}\n")
        stage: Stage[...] = vars(import_pipeline(self.pipeline))["made"]
        return stage.spec


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    pipeline, repository = tmp_path / "pipeline.py", tmp_path / "database.git"
    async with Store.open(repository, create=True, writer=InlineWriter) as store:
        database = LocalDatabase(store)
        executor = LocalExecutor(database, repository, pipeline, tmp_path / "work", grace=0.1)
        async with executor:
            yield Bench(executor, pipeline)


def command(text: str) -> StageSpec:
    return shell("stage", text).spec


async def test_it_is_started_for_the_first_build_and_ends_with_the_executor(
    bench: Bench, tmp_path: Path
) -> None:
    assert bench.executor._server.pid is None
    async with bench.executor:
        await bench.run(command("true"))
        first = bench.server
        await bench.run(command("true"))
        assert bench.server == first
    await gone(first)
    assert bench.executor._server.pid is None
    assert (await bench.run(command("true"))).failure is None


async def test_a_build_outlives_the_server_and_its_result_counts(
    bench: Bench, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    descriptor = os.open(fifo, os.O_RDWR)
    async with asyncio.TaskGroup() as group:
        build = group.create_task(bench.run(command(f"echo here; read line < {fifo}; exit 3")))
        await bench.log.line()
        await bench.log.line()
        server = bench.server
        os.kill(server, signal.SIGKILL)
        await gone(server)
        os.write(descriptor, b"go\n")
    os.close(descriptor)
    assert build.result().failure == "exited with status 3"


async def test_a_build_is_ended_by_a_cancellation_also_without_the_server(bench: Bench) -> None:
    async with asyncio.TaskGroup() as group:
        build = group.create_task(bench.run(command(STUBBORN)))
        pids = await stubborn_pids(bench.log)
        os.kill(bench.server, signal.SIGKILL)
        await gone(bench.server)
        build.cancel()
    for pid in pids:
        await gone(pid)


async def test_after_its_death_the_next_build_has_another_one(bench: Bench) -> None:
    spec = bench.function("return {}")  # a command may have the process of an earlier one
    servers = set()
    for _ in range(3):
        assert (await bench.run(spec)).failure is None
        servers.add(bench.server)
        os.kill(bench.server, signal.SIGKILL)
        await gone(bench.server)
    assert len(servers) == 3


async def test_a_process_of_a_dead_server_is_used_until_it_ends(bench: Bench) -> None:
    await bench.run(command("echo $PPID"))
    process = int(bytes(bench.log.data).splitlines()[-1])
    os.kill(bench.server, signal.SIGKILL)
    await gone(bench.server)
    await bench.run(command("echo $PPID"))
    assert int(bytes(bench.log.data).splitlines()[-1]) == process
    os.kill(process, signal.SIGKILL)
    assert (await bench.run(command("true"))).failure is None


async def test_a_changed_pipeline_is_imported_anew(bench: Bench) -> None:
    for text in ("one", "two"):
        spec = bench.function(f'print("{text}"); return {{}}')
        assert (await bench.run(spec)).failure is None
    assert bytes(bench.log.data) == b"one\ntwo\n"


async def test_user_code_that_ends_its_process_harms_no_other_build(bench: Bench) -> None:
    server = None
    for code, status in (("import os; os._exit(7)", 7), ("import os; os.abort()", -signal.SIGABRT)):
        spec = bench.function(code)
        with pytest.raises(Exception, match=f"status {status} and no result"):
            await bench.run(spec)
        assert server in (None, bench.server)
        server = bench.server
    assert (await bench.run(command("true"))).failure is None


async def test_sets_have_one_order_in_all_builds(bench: Bench) -> None:
    spec = bench.function("print(hash('a')); return {}")
    await bench.run(spec)
    await bench.executor._server.close()
    await bench.run(spec)
    one, two = bytes(bench.log.data).split()
    assert one == two


async def test_a_start_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    server = ForkServer()
    log = Collector()

    async def start() -> None:
        await run_process(Command((), tmp_path, {}), stdout=log, stderr=log, start=server.start)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(start()) for _ in range(3)]
        await asyncio.sleep(0)
        assert server.pid is not None
        for task in tasks:
            task.cancel()
    await server.close()
    assert bytes(log.data) == b""


async def test_many_builds_start_at_once(bench: Bench) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(bench.run(command(f"echo {number}")))
    shown = {line for line in bytes(bench.log.data).splitlines() if not line.startswith(b"$")}
    assert shown == {b"%d" % number for number in range(20)}


async def test_neither_server_nor_builds_survive_an_engine_that_is_killed(tmp_path: Path) -> None:
    server, pids = killed_engine(tmp_path)
    for pid in (server, *pids):
        await gone(pid)


def killed_engine(directory: Path) -> tuple[int, list[int]]:
    """Kill an engine with a stubborn build; the ids of its server and of the build's processes."""
    arguments = [str(directory / "engine.git"), str(directory / "work"), f"echo $PPID; {STUBBORN}"]
    with subprocess.Popen(
        [sys.executable, "-c", ENGINE, *arguments], stdout=subprocess.PIPE
    ) as engine:
        assert engine.stdout is not None
        engine.stdout.readline()
        pids = [int(engine.stdout.readline()) for _ in range(3)]
        status = Path(f"/proc/{pids[0]}/stat").read_text()
        server = int(status.rpartition(")")[2].split()[1])
        engine.kill()
    return server, pids


async def test_an_engine_that_goes_in_the_middle_of_a_start_is_no_error(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    given = [os.open(os.devnull, os.O_RDWR) for _ in range(PIPES)]
    with ours, theirs:
        order = json.dumps({"fork": 1, "directory": str(tmp_path)}).encode()
        socket.send_fds(ours, [order], given)
        ours.close()  # before the server has read it: it forks, and there is nobody to tell
        server = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "datakit_ci.executors.forkserver",
            stdin=theirs.fileno(),
            stderr=PIPE,
        )
        theirs.close()
        for each in given:
            os.close(each)
        _, errors = await server.communicate()
    assert (server.returncode, errors) == (0, b"")
