"""Builds in child processes: what they see, what they make, how they end, and what they leave."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from datakit_ci.executors.base import LostBuild, TimedOut
from datakit_ci.spec import StageSpec
from datakit_core.client.api import Entry, FileMode
from datakit_core.store.objects import EMPTY_TREE
from tests.support.bench import Bench, PlacedBench, bench_at, command, open_bench
from tests.support.git import git
from tests.support.places import BOTH, Place
from tests.support.processes import Collector, gone

PIPELINE = '''
"""A pipeline with functions of every kind."""
import json, os
from pathlib import Path
from datakit_ci.project import Config
from datakit_ci.stage import StageFailed, stage
from datakit_ci.tree import Tree

@stage
async def sizes(source: Tree, unit: int = 1) -> Tree:
    found = {path: len(await source.read(path)) // unit async for path in source.glob("**/*.py")}
    return Tree.from_files({"sizes.json": json.dumps(found)})

@stage(version="1")
def plain(source):
    print("in", os.getcwd(), sorted(os.environ))
    return {"copy/a": source.read("a.py")}

@stage
def unwanted(source):
    raise StageFailed("not today")

@stage
def broken(source):
    raise ValueError("a bug")

@stage
def nonsense(source):
    return 17

@stage
def same(source):
    return source.subtree("src")

@stage(version="1")
def directory(source):
    Path("made/below").mkdir(parents=True)
    Path("made/below/file").write_text("content")
    return Path("made")

config = Config(projects=[])
'''


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with open_bench(tmp_path, PIPELINE) as opened:
        yield opened


@pytest.fixture
def placed(place: Place, tmp_path: Path) -> PlacedBench:
    return bench_at(place, tmp_path, PIPELINE)


@BOTH
async def test_a_command_sees_its_input_and_makes_its_outputs(placed: PlacedBench) -> None:
    tree = await placed.tree({"in/data": b"some data"})
    spec = command("tr a-z A-Z < in/data > out.txt; echo done", outputs=("out.txt",))
    outcome = await placed.run(spec, tree)
    assert outcome.failure is None
    assert outcome.exit_status == 0
    assert await placed.files(outcome.output) == {"out.txt": b"SOME DATA"}
    assert placed.text.splitlines() == [f"$ {spec.command}", "done"]
    assert placed.leftovers == []


@BOTH
async def test_links_and_executable_bits_reach_the_command_and_come_back(
    placed: PlacedBench,
) -> None:
    script = await placed.tree({"x": b"#!/bin/sh\necho hello\n"})
    entry = await placed.database.entry(script, "x")
    assert entry is not None
    tree = await placed.tree({"run": Entry(FileMode.EXECUTABLE, entry.id)})
    outcome = await placed.run(
        command("./run > out; ln -s out link; chmod +x out", outputs=("out", "link")), tree
    )
    made = await placed.database.tree(outcome.output)
    assert {name: entry.mode for name, entry in made.items()} == {
        "link": FileMode.LINK,
        "out": FileMode.EXECUTABLE,
    }


@BOTH
async def test_a_command_sees_only_its_declared_inputs(placed: PlacedBench) -> None:
    tree = await placed.tree({"src/a": b"a", "docs/b": b"b"})
    await placed.run(command("find . -type f", inputs=("src",)), tree)
    assert placed.text.splitlines()[1:] == ["./src/a"]


async def test_a_command_is_told_the_tree_that_it_sees_and_not_more(bench: Bench) -> None:
    for docs in (b"old", b"new"):
        tree = await bench.tree({"src/a": b"a", "docs/b": docs})
        await bench.run(command("echo $DATAKIT_TREE", inputs=("src",)), tree)
    old, new = bench.text.splitlines()[1::2]
    assert old == new


@BOTH
async def test_what_is_left_running_is_ended_before_outputs_are_looked_for(
    placed: PlacedBench,
) -> None:
    text = "(while :; do date +%s%N > out; done) & while ! test -s out; do :; done"
    outcome = await placed.run(command(text, outputs=("out",)))
    assert outcome.failure is None
    assert "left behind and killed" in placed.text


@BOTH
async def test_a_non_zero_exit_is_a_result_and_reports_are_kept(placed: PlacedBench) -> None:
    outcome = await placed.run(
        command("echo '<x/>' > report.xml; exit 3", reports=("report.xml",), outputs=("out",))
    )
    assert (outcome.failure, outcome.exit_status) == ("exited with status 3", 3)
    assert outcome.output == EMPTY_TREE
    assert outcome.reports is not None
    assert await placed.files(outcome.reports) == {"report.xml": b"<x/>\n"}


@BOTH
async def test_a_missing_output_is_a_failure_that_names_it(placed: PlacedBench) -> None:
    outcome = await placed.run(command("true", outputs=("dist/*.whl",)))
    assert outcome.failure == "made no dist/*.whl, which it declares as outputs"


@BOTH
async def test_a_command_that_is_not_there_is_a_failure(placed: PlacedBench) -> None:
    outcome = await placed.run(command("no-such-command-anywhere"))
    assert outcome.failure == "exited with status 127"
    assert "not found" in placed.text


async def test_a_command_killed_by_a_signal_of_its_own_is_a_failure(bench: Bench) -> None:
    assert (await bench.run(command("kill -SEGV $$"))).failure == "killed by SIGSEGV"


@pytest.mark.parametrize("text", ["kill -KILL $$", "sh -c 'kill -KILL $$'; exit $?"])
@BOTH
async def test_a_command_killed_from_outside_has_no_result(placed: PlacedBench, text: str) -> None:
    with pytest.raises(LostBuild, match="SIGKILL"):
        await placed.run(command(text))
    assert placed.leftovers == []


@BOTH
async def test_the_environment_is_clean_and_says_what_runs(
    placed: PlacedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_ENGINE", "1")
    tree = await placed.tree({"a": b"a"})
    await placed.run(command("env; test -d $HOME; test -d $TMPDIR", env=(("MY", "value"),)), tree)
    seen = dict(line.split("=", 1) for line in placed.text.splitlines()[1:])
    assert set(seen) - {"PWD", "SHLVL", "_", "OLDPWD"} == {
        *("CI", "DATAKIT_CI", "DATAKIT_PROJECT", "DATAKIT_STAGE", "DATAKIT_TREE"),
        *("GIT_CEILING_DIRECTORIES", "HOME", "LANG", "MY", "PATH", "TERM", "TMPDIR"),
    }
    assert (seen["CI"], seen["MY"], seen["DATAKIT_TREE"]) == ("true", "value", tree)
    assert Path(seen["HOME"]).parents[1] in placed.builds


@BOTH
async def test_a_build_may_take_away_rights_and_is_still_removed(placed: PlacedBench) -> None:
    await placed.run(command("mkdir -p a/b; touch a/b/c; chmod 0 a/b a"))
    assert placed.leftovers == []


async def test_kill_0_in_a_script_is_no_suicide_of_ours(bench: Bench) -> None:
    outcome = await bench.run(command("trap 'trap - TERM; kill 0' EXIT; sleep 1000 & exit 0"))
    assert outcome.failure == "killed by SIGTERM"


@BOTH
async def test_what_a_command_leaves_running_is_killed_and_told(placed: PlacedBench) -> None:
    outcome = await placed.run(command("setsid sleep 1000 & echo $!"))
    assert outcome.failure is None
    _, pid, note = placed.text.splitlines()
    await gone(int(pid))
    assert note == "[datakit-ci] 1 process was left behind and killed"


STUBBORN = (
    "trap '' TERM; setsid sh -c \"trap '' TERM; echo \\$\\$; while :; do sleep 1000; done\" & "
    "echo $$; while :; do sleep 1000; done"
)
"""Ignores SIGTERM, and so does the daemon that it starts in a session of its own."""


async def stubborn_pids(log: Collector) -> list[int]:
    await log.line()
    return [int(await log.line()), int(await log.line())]


async def test_cancel_ends_whatever_it_runs(bench: Bench) -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(bench.run(command(STUBBORN)))
        pids = await stubborn_pids(bench.log)
        task.cancel()
    assert task.cancelled()
    for pid in pids:
        await gone(pid)
    assert bench.leftovers == []


async def test_a_build_that_takes_too_long_is_ended_and_is_no_result(bench: Bench) -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(timed_out(bench))
        pids = await stubborn_pids(bench.log)
    assert task.result() == "took longer than 1 s and was killed"
    for pid in pids:
        await gone(pid)


async def timed_out(bench: Bench) -> str:
    with pytest.raises(TimedOut) as caught:
        await bench.run(command(STUBBORN, timeout=1.0))
    return str(caught.value)


async def test_a_child_that_is_killed_takes_its_command_along(bench: Bench) -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(lost(bench, command("echo $PPID $$; exec sleep 1000")))
        await bench.log.line()
        child, pid = map(int, (await bench.log.line()).split())
        os.kill(child, signal.SIGKILL)
    assert "status -9" in task.result()
    await gone(pid)


async def lost(bench: Bench, spec: StageSpec) -> str:
    with pytest.raises(LostBuild) as caught:
        await bench.run(spec)
    return str(caught.value)


ENGINE = """
import asyncio, sys
from pathlib import Path
from datakit_ci.executors.base import BuildRequest
from datakit_ci.executors.local import LocalExecutor
from datakit_ci.outcome import Outcome
from datakit_ci.spec import StageKind, StageSpec
from datakit_ci.state import BuildId
from datakit_core.client.local import open_local

async def main(repository, work, command):
    def log(data):
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    async with open_local(repository, create=True) as database:
        async with LocalExecutor(database, repository, work, work, grace=0.1) as executor:
            spec = StageSpec("stage", StageKind.SHELL, command, "0" * 64)
            build = BuildId("me/app", "stage", "0" * 64, "1" * 64)
            tree = await database.import_tree({"a": b"a"})
            await executor.run(BuildRequest(build, spec, tree), log)

asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
"""


async def test_nothing_survives_an_engine_that_is_killed(tmp_path: Path) -> None:
    for pid in pids_of_a_killed_engine(tmp_path):
        await gone(pid)


def pids_of_a_killed_engine(directory: Path) -> list[int]:
    """Start an engine with a stubborn build, and kill it once that runs."""
    arguments = [str(directory / "engine.git"), str(directory / "work"), STUBBORN]
    with subprocess.Popen(
        [sys.executable, "-c", ENGINE, *arguments], stdout=subprocess.PIPE
    ) as engine:
        assert engine.stdout is not None
        engine.stdout.readline()
        pids = [int(engine.stdout.readline()), int(engine.stdout.readline())]
        engine.kill()
    return pids


async def test_what_a_killed_engine_left_is_removed_at_the_next_start(
    bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "work/old/tree").mkdir(parents=True)
    (tmp_path / "work/old/tree/file").touch()
    async with bench.executor:
        assert bench.leftovers == []


async def test_a_command_does_not_see_a_repository_around_the_work_directory(
    bench: Bench, tmp_path: Path
) -> None:
    git(tmp_path, "init", "-q")
    outcome = await bench.run(command("git rev-parse --show-toplevel"))
    assert outcome.failure == "exited with status 128"
    assert str(tmp_path) not in bench.text.splitlines()


@BOTH
async def test_an_async_function_reads_its_tree_and_returns_another(placed: PlacedBench) -> None:
    tree = await placed.tree({"a.py": b"12345678", "src/b.py": b"1234", "c.txt": b""})
    outcome = await placed.run(placed.function("sizes", unit=2), tree)
    assert outcome.failure is None
    files = await placed.files(outcome.output)
    assert json.loads(files["sizes.json"]) == {"a.py": 4, "src/b.py": 2}


@BOTH
async def test_a_plain_function_sees_a_clean_environment(placed: PlacedBench) -> None:
    outcome = await placed.run(placed.function("plain"), await placed.tree({"a.py": b"a"}))
    assert await placed.files(outcome.output) == {"copy/a": b"a"}
    assert any(f"in {builds}" in placed.text for builds in placed.builds)
    assert "'DATAKIT_STAGE'" in placed.text


@BOTH
async def test_a_function_may_return_a_part_of_what_it_got(placed: PlacedBench) -> None:
    outcome = await placed.run(
        placed.function("same"), await placed.tree({"src/a": b"a", "b": b"b"})
    )
    assert await placed.files(outcome.output) == {"a": b"a"}


@BOTH
async def test_a_function_may_return_a_directory(placed: PlacedBench) -> None:
    outcome = await placed.run(placed.function("directory"))
    assert await placed.files(outcome.output) == {"below/file": b"content"}


@BOTH
async def test_stage_failed_is_a_result_with_its_message(placed: PlacedBench) -> None:
    assert (await placed.run(placed.function("unwanted"))).failure == "not today"


@BOTH
async def test_another_exception_is_no_result_and_its_traceback_is_in_the_log(
    placed: PlacedBench,
) -> None:
    with pytest.raises(LostBuild, match="ValueError: a bug"):
        await placed.run(placed.function("broken"))
    assert "Traceback" in placed.text
    assert "pipeline.py" in placed.text


@BOTH
async def test_nonsense_from_a_function_is_a_failure(placed: PlacedBench) -> None:
    failure = (await placed.run(placed.function("nonsense"))).failure
    assert failure == "returned 17: return a tree, files or a directory"


@BOTH
async def test_a_kept_checkout_shows_nothing_of_the_build_before(placed: PlacedBench) -> None:
    tree = await placed.tree({"a": b"a", "d/b": b"b"})
    for _ in range(3):
        placed.log.data.clear()
        text = "find . | sort; cat a d/b; echo xx > a; rm -r d; touch left; mkdir -p home/.cache"
        outcome = await placed.run(command(text), tree)
        assert outcome.failure is None
        assert placed.text.splitlines()[1:] == [".", "./a", "./d", "./d/b", "ab"]
    assert any(any((builds / "kept").iterdir()) for builds in placed.builds)


async def test_a_kept_checkout_outlives_the_executor_and_a_damaged_one_does_not(
    bench: Bench,
) -> None:
    tree = await bench.tree({"a": b"a"})
    await bench.run(command("stat -c %i a"), tree)
    async with bench.executor:
        await bench.run(command("stat -c %i a"), tree)
    first, second = bench.text.splitlines()[1::2]
    assert first == second
    (kept,) = (bench.directory / "work/kept").iterdir()
    (kept / "manifest").unlink()
    async with bench.executor:
        assert list((bench.directory / "work/kept").iterdir()) == []


async def test_two_builds_at_once_have_checkouts_of_their_own(bench: Bench) -> None:
    tree = await bench.tree({"a": b"a"})
    await bench.run(command("true"), tree)
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(bench.run(command("pwd; echo b > a"), tree))
    places = {line for line in bench.text.splitlines() if line.startswith("/")}
    assert len(places) == 3
    assert len(list((bench.directory / "work/kept").iterdir())) == 3


async def test_builds_that_come_to_no_result_leave_no_checkout(bench: Bench) -> None:
    with pytest.raises(LostBuild):
        await bench.run(command("kill -KILL $$"))
    assert list((bench.directory / "work/kept").iterdir()) == []


@BOTH
async def test_what_a_shell_traces_is_marked_and_nothing_else_changes(placed: PlacedBench) -> None:
    outcome = await placed.run(
        command("set -x\necho one\n! echo two; missing-command"), await placed.tree({})
    )
    assert outcome.exit_status == 127
    mark = "\x1b]133;A\x07+ "
    lines = placed.text.replace(mark, "MARK ").splitlines()
    assert lines[:7] == [
        "$ set -x", "> echo one", "> ! echo two; missing-command",
        "MARK echo one", "one", "MARK echo two", "two",
    ]  # fmt: skip
    assert lines[7] == "MARK missing-command"
    assert "3: missing-command: not found" in lines[8]  # the numbers of lines are the command's own
    assert len(lines) == 9
