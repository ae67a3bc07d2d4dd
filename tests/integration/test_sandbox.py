"""The sandbox, with the real bubblewrap: what a hostile command can do, which is nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from datakit_ci.conditions import Conditions, Sandbox
from datakit_ci.executors.base import LostBuild
from datakit_ci.sandbox import Confinement, sandbox_problem
from datakit_ci.spec import StageSpec
from tests.support.bench import Bench, command, open_bench

works = pytest.mark.skipif(
    bool(shutil.which("bwrap") is None or sandbox_problem()), reason="bubblewrap does not work here"
)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with open_bench(tmp_path) as opened:
        yield opened


def sandboxed(text: str, *, network: bool = False, **options: object) -> StageSpec:
    conditions = Conditions(sandbox=Sandbox.YES, network=network)
    return replace(command(text, **options), conditions=conditions)


def lines(bench: Bench) -> list[str]:
    return bench.text.splitlines()[1:]


@works
async def test_a_command_reads_its_input_and_makes_its_outputs(bench: Bench) -> None:
    tree = await bench.tree({"in": b"data"})
    spec = sandboxed("cat in > out; pwd; echo $HOME $TMPDIR; touch ~/a /tmp/b", outputs=("out",))
    outcome = await bench.run(spec, tree)
    assert outcome.failure is None
    assert await bench.files(outcome.output) == {"out": b"data"}
    assert lines(bench) == ["/build", "/home/build /tmp"]
    assert dict(outcome.details)["sandbox"] == "bubblewrap"
    assert bench.leftovers == []


@works
async def test_the_exit_status_is_that_of_the_command(bench: Bench) -> None:
    assert (await bench.run(sandboxed("exit 7"))).failure == "exited with status 7"


@works
async def test_the_database_and_other_builds_are_not_there(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "work/other").mkdir()
    await bench.run(sandboxed(f"ls {tmp_path} {tmp_path}/database.git {tmp_path}/work; true"))
    assert all("No such file" in line for line in lines(bench))
    assert len(lines(bench)) == 3


@works
def test_a_virtual_environment_in_the_directory_of_temporary_files_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("tree", "home", "tmp", "venv"):
        (tmp_path / part).mkdir()
    program = tmp_path / "venv/program"
    program.write_text("here\n")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    script = f"cat {program}; echo changed > {program} || touch /tmp/writable && ls /tmp"
    command = Confinement(tmp_path).arguments(["/bin/sh", "-c", script])
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.splitlines()[0] == "here"
    assert "writable" in done.stdout.splitlines()
    assert program.read_text() == "here\n"


def test_a_database_below_a_system_directory_is_covered() -> None:
    arguments = Confinement(Path("/nowhere"), hidden=[Path("/usr/lib")]).arguments(["true"])
    covered = arguments.index("--tmpfs")
    assert arguments[covered + 1] == str(Path("/usr/lib").resolve())
    assert covered > arguments.index("/usr")


@works
def test_a_file_that_is_hidden_below_something_visible_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("tree", "home", "tmp", "venv/keys"):
        (tmp_path / part).mkdir(parents=True)
    hidden, shown = tmp_path / "venv/key", tmp_path / "venv/shown"
    for path in (hidden, shown, tmp_path / "venv/keys/other"):
        path.write_text(f"{path.name}\n")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    confinement = Confinement(tmp_path, hidden=[hidden, tmp_path / "venv/keys"])
    script = f"cat {shown}; cat {hidden}; ls {tmp_path}/venv/keys; true"
    command = confinement.arguments(["/bin/sh", "-c", script])
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == "shown\n"


@works
async def test_nothing_of_the_system_can_be_written(bench: Bench, tmp_path: Path) -> None:
    places = f"/x /usr/x /etc/x /home/x {tmp_path}/x /proc/sys/kernel/core_pattern"
    await bench.run(sandboxed(f"for place in {places}; do echo 1 > $place; done; true"))
    assert len(lines(bench)) == 6
    assert all("cannot create" in line for line in lines(bench))
    assert not (tmp_path / "x").exists()


@works
async def test_passwords_keys_and_other_homes_are_not_there(bench: Bench) -> None:
    await bench.run(
        sandboxed("cat /etc/shadow; ls /etc/ssh /etc/ssl/private ~root/.ssh /run; true")
    )
    assert len(lines(bench)) == 5
    assert all("No such file" in line for line in lines(bench))


@works
async def test_other_processes_and_their_environments_are_not_there(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_ENGINE", "visible")
    await bench.run(sandboxed("cat /proc/[0-9]*/environ | tr '\\0' '\\n'; kill -0 $PPID; echo $$"))
    assert "SECRET_OF_THE_ENGINE" not in bench.text
    assert "CI=true" in bench.text
    assert int(lines(bench)[-1]) < 10
    await bench.run(sandboxed(f"kill -9 {os.getpid()}; true"))
    assert "No such process" in bench.text


PYTHON_CONNECTS = "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}), 5)'"


@works
@pytest.mark.parametrize("network", [False, True])
async def test_loopback_is_reached_only_with_the_network(bench: Bench, network: bool) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        spec = sandboxed(PYTHON_CONNECTS.format(port=port), network=network)
        outcome = await bench.run(spec)
    assert (outcome.failure is None) == network
    assert ("Connection refused" in bench.text) != network
    assert dict(outcome.details)["sandbox"] == "bubblewrap" + " with network" * network


@works
async def test_no_rights_can_be_gained(bench: Bench) -> None:
    await bench.run(sandboxed("grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status"))
    found = dict(line.split(":\t") for line in lines(bench))
    assert found == {"CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1"}


@works
async def test_a_daemon_does_not_outlive_its_command(bench: Bench, tmp_path: Path) -> None:
    """Its own namespace hides its id, so it is known by a pipe that it holds open."""
    tree = await bench.tree({"a": b""})
    text = (
        "mkfifo pipe; setsid sh -c 'trap \"\" TERM HUP; sleep 1000 < pipe' & exec 3> pipe; exit 0"
    )
    outcome = await bench.run(sandboxed(text), tree)
    assert outcome.failure is None
    assert bench.leftovers == []
    assert "sleep 1000" not in _command_lines(tmp_path)


def _command_lines(directory: Path) -> str:
    """Of the processes that have anything to do with ``directory``."""
    found = ""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(directory) in str((process / "cwd").readlink()):
                found += (process / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
    return found


@works
async def test_a_secret_is_in_no_command_line(bench: Bench) -> None:
    spec = sandboxed('test "$TOKEN" = "a secret value"; cat /proc/[0-9]*/cmdline')
    outcome = await bench.run(spec, secrets={"TOKEN": "a secret value"})
    assert outcome.failure is None
    # It is in the command that compares it, and nowhere else.
    assert bench.text.count("a secret value") == bench.text.count('"$TOKEN" = "a secret value"')


@works
async def test_cancelling_ends_all_of_it(bench: Bench) -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(
            bench.run(sandboxed("setsid sleep 1000 & echo up; while :; do sleep 1000; done"))
        )
        await bench.log.line()
        await bench.log.line()
        task.cancel()
    assert bench.leftovers == []


@pytest.fixture
def without_bubblewrap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Programs as on a machine where it is not installed."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "echo", "cat"):
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(programs))


@pytest.mark.usefixtures("without_bubblewrap")
async def test_where_it_is_missing_the_build_says_so_and_has_no_result(bench: Bench) -> None:
    with pytest.raises(LostBuild, match="in a sandbox: bubblewrap is missing; install"):
        await bench.run(sandboxed("echo never"))
    assert "never" not in bench.text


@pytest.mark.usefixtures("without_bubblewrap")
async def test_auto_runs_without_and_records_that(bench: Bench) -> None:
    spec = replace(command("echo done"), conditions=Conditions(sandbox=Sandbox.AUTO))
    outcome = await bench.run(spec)
    assert outcome.failure is None
    assert dict(outcome.details)["sandbox"] == "none"
    assert bench.text.startswith("[datakit-ci] not in a sandbox: bubblewrap is missing")


async def test_where_it_is_forbidden_the_build_says_what_to_look_at(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "bwrap").write_text("#!/bin/sh\necho 'bwrap: No permissions' >&2; exit 1\n")
    (programs / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    with pytest.raises(LostBuild, match=r"does not work here: bwrap: No permissions; .*sysctl"):
        await bench.run(sandboxed("echo never"))


@works
async def test_auto_uses_it_where_it_works(bench: Bench) -> None:
    spec = replace(command("pwd"), conditions=Conditions(sandbox=Sandbox.AUTO))
    outcome = await bench.run(spec)
    assert dict(outcome.details)["sandbox"] == "bubblewrap"
    assert lines(bench) == ["/build"]
