"""Commands that get the process of an earlier one: when they do, when not, and what is left."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from datakit_ci.conditions import Conditions
from datakit_ci.executors import reused
from datakit_ci.executors.base import LostBuild
from datakit_ci.executors.reusing import Reusing
from datakit_ci.spec import StageSpec
from tests.integration.test_local_executor import ENGINE
from tests.support.bench import Bench, command, open_bench
from tests.support.processes import gone

PIPELINE = """
from datakit_ci import Config, stage

@stage
def process(source):
    import os
    print(os.getpid())
    return {}

config = Config(projects=[])
"""

WHO = command("echo $PPID")
"""Prints the process that runs the command."""

AND_STAYS = """log)
            print("idle", flush=True)
            await asyncio.sleep(1000)
"""
IDLE_ENGINE = ENGINE.replace("log)\n\n", f"{AND_STAYS}\n")
"""Stays when its build is done."""

DAEMON = (
    "(setsid sh -c 'echo $$ > pid.new; mv pid.new pid; exec sleep 1000' &); "
    "while ! test -s pid; do :; done; cat pid; "
)
"""Leaves a process that has left its session, its group and its parent, and prints its id."""


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with open_bench(tmp_path, PIPELINE) as opened:
        yield opened


async def who_runs(bench: Bench, spec: StageSpec = WHO) -> int:
    """Run a build that prints its process, and say which that was."""
    bench.log.data.clear()
    await bench.run(spec)
    return next(int(line) for line in bench.text.splitlines() if line.isdecimal())


def idle(bench: Bench) -> list[int]:
    return bench.executor._reusing.idle


async def test_commands_one_after_the_other_have_one_process(bench: Bench) -> None:
    first = await who_runs(bench)
    assert [await who_runs(bench) for _ in range(3)] == [first] * 3
    assert idle(bench) == [first]


async def test_it_is_used_again_after_a_build_that_fails(bench: Bench) -> None:
    first = await who_runs(bench)
    assert (await bench.run(command("exit 3"))).exit_status == 3
    assert await who_runs(bench) == first


async def test_commands_at_once_have_a_process_each(bench: Bench, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    text = f"touch {here}/$PPID; while [ $(ls {here} | wc -l) -lt 3 ]; do :; done"
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(bench.run(command(text)))
    assert sorted(idle(bench)) == sorted(int(path.name) for path in here.iterdir())


async def test_what_a_command_leaves_running_is_gone_before_the_next(bench: Bench) -> None:
    daemon = await who_runs(bench, command(DAEMON))
    with pytest.raises(ProcessLookupError):
        os.kill(daemon, 0)
    assert len(idle(bench)) == 1
    assert await who_runs(bench) in idle(bench)


async def test_a_log_has_only_what_its_own_build_printed(bench: Bench) -> None:
    await bench.run(command("echo one; echo oops >&2"))
    bench.log.data.clear()
    await bench.run(command("echo two"))
    assert bench.text == "$ echo two\ntwo\n"


async def test_functions_have_processes_of_their_own(bench: Bench) -> None:
    first = await who_runs(bench)
    spec = bench.function("process")
    one, two = await who_runs(bench, spec), await who_runs(bench, spec)
    assert len({first, one, two}) == 3
    assert idle(bench) == [first]


@pytest.mark.parametrize(
    "conditions",
    [Conditions(untrusted=True), Conditions(secrets=(("TOKEN", "TOKEN"),))],
    ids=["a stranger's", "one with secrets"],
)
async def test_after_such_a_build_the_process_is_not_used_again(
    bench: Bench, conditions: Conditions
) -> None:
    spec = replace(WHO, conditions=conditions)
    first = await who_runs(bench, spec)
    assert idle(bench) == []
    assert await who_runs(bench) != first


async def test_a_build_that_kills_its_process_harms_no_other(bench: Bench) -> None:
    first = await who_runs(bench)
    with pytest.raises(LostBuild, match="status -9 and no result"):
        await bench.run(command("kill -KILL $PPID; sleep 1000"))
    assert idle(bench) == []
    assert await who_runs(bench) != first


async def test_a_build_over_a_limit_takes_its_process_along(bench: Bench) -> None:
    first = await who_runs(bench)
    spec = command("while :; do sleep 1000 & done")
    with pytest.raises(LostBuild, match="more than the 20 processes"):
        await bench.run(replace(spec, conditions=Conditions(processes=20)))
    assert await who_runs(bench) != first


async def test_the_limits_of_a_build_hold_for_no_later_one(bench: Bench) -> None:
    spec = replace(command("true"), conditions=Conditions(processes=2))
    await bench.run(spec)
    # Longer than the interval at which an earlier build's watch would look.
    outcome = await bench.run(command("for i in 1 2 3; do sleep 0.3 & done; wait; echo $PPID"))
    assert outcome.failure is None
    assert idle(bench) == [int(bench.text.splitlines()[-1])]


async def test_a_cancelled_build_takes_its_process_along(bench: Bench) -> None:
    first = await who_runs(bench)
    bench.log.data.clear()
    async with asyncio.TaskGroup() as group:
        build = group.create_task(bench.run(command("echo $PPID; sleep 1000")))
        await bench.log.line()
        assert int(await bench.log.line()) == first
        build.cancel()
    await gone(first)
    assert await who_runs(bench) != first


async def test_a_build_that_is_cancelled_before_it_begins_leaves_nothing(bench: Bench) -> None:
    await who_runs(bench)
    for turns in range(20):
        async with asyncio.TaskGroup() as group:
            build = group.create_task(bench.run(command("sleep 1000")))
            for _ in range(turns):
                await asyncio.sleep(0)
            build.cancel()
    await who_runs(bench)
    assert len(idle(bench)) == 1
    assert bench.leftovers == []


async def test_an_idle_process_that_is_killed_costs_no_build(bench: Bench) -> None:
    for _ in range(3):
        pid = await who_runs(bench)
        os.kill(pid, signal.SIGKILL)
        # At once: the engine may have heard of it or not.
        assert (await bench.run(command("true"))).failure is None


async def test_a_process_is_not_used_for_ever(bench: Bench) -> None:
    first = await who_runs(bench)
    for _ in range(reused.MOST - 2):
        await bench.run(command("true"))
    assert await who_runs(bench) == first
    assert await who_runs(bench) != first


async def test_idle_processes_end_with_the_executor(bench: Bench) -> None:
    pid = await who_runs(bench)
    async with bench.executor:
        pass
    assert idle(bench) == []
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_idle_processes_end_after_a_while(bench: Bench) -> None:
    bench.executor._reusing = Reusing(bench.executor._server, patience=0.0)
    first = await who_runs(bench)
    await gone(first)
    assert await who_runs(bench) != first


async def test_idle_processes_do_not_survive_an_engine_that_is_killed(tmp_path: Path) -> None:
    await gone(process_of_a_killed_engine(tmp_path))


def process_of_a_killed_engine(directory: Path) -> int:
    """Let an engine run a build, and kill it when that is over."""
    arguments = [str(directory / "engine.git"), str(directory / "work"), WHO.command]
    with subprocess.Popen(
        [sys.executable, "-c", IDLE_ENGINE, *arguments], stdout=subprocess.PIPE
    ) as engine:
        assert engine.stdout is not None
        _, pid, state = (engine.stdout.readline() for _ in range(3))
        assert state == b"idle\n"
        engine.kill()
    return int(pid)
