"""The commands of ``datakit`` on a database, as processes, at a server and on a repository."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import COMMAND, datakit, port_in, run
from tests.support.git import git

PLACES = ["server", "repository"]
HELLO = "e965047ad7c57865823c7d992b1d046ea66edf78"


@asynccontextmanager
async def database(place: str, path: Path) -> AsyncIterator[list[str]]:
    """The options that name a new database."""
    if place == "repository":
        git(path.parent, "init", "--quiet", "--bare", path)
        yield ["--git", str(path)]
        return
    async with datakit("--git", path, "--url", "tcp://127.0.0.1:0", "--allow-fetch=file:/*") as (
        _,
        line,
    ):
        yield ["--connect", f"tcp://127.0.0.1:{port_in(line)}"]


async def head_of(*arguments: str, given: bytes = b"") -> str:
    """What a command prints that prints the new head."""
    code, output, errors = await run(*arguments, given=given)
    assert (code, errors) == (0, "")
    assert re.fullmatch(r"[0-9a-f]{40}\n", output)
    return output.strip()


async def objects(*arguments: str) -> list[dict[str, Any]]:
    """What a command prints with --json."""
    code, output, errors = await run(*arguments, "--json")
    assert (code, errors) == (0, "")
    return [json.loads(line) for line in output.splitlines()]


@pytest.mark.parametrize("place", PLACES)
async def test_a_file_is_written_and_read(place: str, tmp_path: Path) -> None:
    async with database(place, tmp_path / "db.git") as where:
        head = await head_of("write", "main", "doc/hello", "-m", "Say hello", *where,
                             given=b"Hello\n")  # fmt: skip
        assert await run("branches", *where) == (0, f"{head} main\n", "")
        assert await run("ls", "main", "doc", *where) == (0, f"F-{HELLO} hello\n", "")
        assert await run("cat", head, "doc/hello", *where) == (0, "Hello\n", "")
        code, log, _ = await run("log", "main", *where)
        assert code == 0
        assert re.fullmatch(rf"{head} \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d Say hello\n", log)
        removed = await head_of("rm", "main", "doc", *where)
        assert await run("diff", head, removed, *where) == (0, "- doc/hello\n", "")
        assert await run("ls", "main", *where) == (0, "", "")


@pytest.mark.parametrize("place", PLACES)
async def test_programs_read_json(place: str, tmp_path: Path) -> None:
    async with database(place, tmp_path / "db.git") as where:
        first = await head_of("write", "main", "hello", *where, given=b"Hello\n")
        arguments = ["write", "main", "tool", "--executable", *where, "--json"]
        _, output, _ = await run(*arguments, given=b"\xff")
        second = json.loads(output)["head"]
        file = {"kind": "normal", "id": HELLO}
        assert await objects("branches", *where) == [{"name": "main", "head": second}]
        assert (await objects("ls", "main", *where))[0] == {"name": "hello", **file}
        assert await objects("cat", "main", "hello", *where) == [{**file, "text": "Hello\n"}]
        (tool,) = await objects("cat", "main", "tool", *where)
        assert (tool["kind"], tool["base64"]) == ("executable", "/w==")
        (commit,) = await objects("log", "main", "-n1", *where)
        assert (commit["id"], commit["parents"]) == (second, [first])
        assert commit["message"] == "write tool"
        assert await objects("diff", first, second, *where) == [{"path": "tool", "change": "added"}]


@pytest.mark.parametrize("place", PLACES)
async def test_a_directory_is_committed(place: str, tmp_path: Path) -> None:
    directory = tmp_path / "directory"
    (directory / "sub").mkdir(parents=True)
    (directory / "sub" / "file").write_text("Hello\n")
    (directory / "link").symlink_to("sub/file")
    async with database(place, tmp_path / "db.git") as where:
        await head_of("write", "main", "old", *where)
        await head_of("commit", "main", str(directory), "--at", "in/here", *where)
        _, listing, _ = await run("ls", "main", "in/here", *where)
        assert [line[:2] + line[42:] for line in listing.splitlines()] == ["L- link", "D- sub"]
        await head_of("commit", "main", str(directory), *where)
        _, listing, _ = await run("ls", "main", *where)
        assert [line[43:] for line in listing.splitlines()] == ["link", "sub"]


@pytest.mark.parametrize("place", PLACES)
async def test_branches_are_merged_and_moved(place: str, tmp_path: Path) -> None:
    async with database(place, tmp_path / "db.git") as where:
        base = await head_of("write", "main", "file", *where, given=b"base")
        assert await head_of("fast-forward", "side", "main", *where) == base
        side = await head_of("write", "side", "theirs", *where)
        assert await head_of("merge", "main", "side", *where) == side, "main simply moves"
        ours = await head_of("write", "main", "ours", *where)
        other = await head_of("write", "side", "more", *where)
        merged = await head_of("merge", "main", "side", "-m", "Both", *where)
        (commit,) = await objects("log", "main", "-n1", *where)
        assert (commit["message"], commit["parents"]) == ("Both", [ours, other])
        assert await head_of("merge", "main", other, *where) == merged, "nothing is left to merge"
        assert await head_of("merge", "new", "main", *where) == merged, "a branch that is absent"
        await head_of("write", "main", "file", *where, given=b"mine")
        await head_of("write", "side", "file", *where, given=b"theirs")
        refused = (1, "", "datakit: Merge conflict: file\n")
        assert await run("merge", "main", "side", *where) == refused
        refused = (1, "", "datakit: not-fast-forward\n")
        assert await run("fast-forward", "main", "side", *where) == refused


@pytest.mark.parametrize("place", PLACES)
async def test_branches_are_made_renamed_and_removed(place: str, tmp_path: Path) -> None:
    async with database(place, tmp_path / "db.git") as where:
        head = await head_of("write", "main", "file", *where)
        assert await head_of("create-branch", "a/b", "main", *where) == head
        assert await head_of("rename-branch", "a/b", "c/d", *where) == head
        assert await run("branches", *where) == (0, f"{head} c/d\n{head} main\n", "")
        for arguments, text in (
            (["create-branch", "c/d", "main"], "there is a branch c/d"),
            (["create-branch", "new", "none"], "no branch none"),
            (["create-branch", "new", "1" * 40], f"no commit {'1' * 40}"),
            (["rename-branch", "c/d", "main"], "there is a branch main"),
            (["rename-branch", "c/d", "c/d"], "there is a branch c/d"),
            (["rename-branch", "none", "new"], "no branch none"),
            (["remove-branch", "none"], "no branch none"),
        ):
            assert await run(*arguments, *where) == (1, "", f"datakit: {text}\n")
        for arguments in (["create-branch", "a..b", "main"], ["rename-branch", "c/d", "a..b"]):
            status, _, errors = await run(*arguments, *where)
            assert (status, errors.count("\n"), "a..b" in errors) == (2, 1, True)
        assert await run("remove-branch", "c/d", *where) == (0, f"{head} c/d\n", "")
        assert await head_of("create-branch", "back", head, *where) == head
        assert await objects("remove-branch", "main", "back", *where) == [
            {"name": "main", "head": head},
            {"name": "back", "head": head},
        ]
        assert await run("branches", *where) == (0, "", "")


@pytest.mark.parametrize("place", PLACES)
async def test_a_branch_is_fetched(place: str, tmp_path: Path) -> None:
    async with database("repository", tmp_path / "other.git") as other:
        head = await head_of("write", "trunk", "file", *other)
    async with database(place, tmp_path / "db.git") as where:
        url = f"file://{tmp_path}/other.git"
        fetched = await head_of("fetch", "main", url, "--ref", "refs/heads/trunk", *where)
        assert fetched == head
        assert await head_of("fetch", "trunk", url, *where) == head
        code, _, errors = await run("fetch", "none", url, *where)
        assert (code, errors.count("\n")) == (2, 1)
        assert "refs/heads/none" in errors


@pytest.mark.parametrize("place", PLACES)
async def test_what_is_not_there_is_a_no_and_what_is_wrong_an_error(
    place: str, tmp_path: Path
) -> None:
    async with database(place, tmp_path / "db.git") as where:
        await head_of("write", "main", "doc/hello", *where)
        absent = "1" * 40
        for code, arguments, text in (
            (1, ["cat", "main", "none"], "main has no file none"),
            (1, ["ls", "main", "doc/hello"], "main has no directory doc/hello"),
            (1, ["log", "none"], "no branch none"),
            (1, ["cat", absent, "file"], f"no commit {absent}"),
            (1, ["merge", "main", absent], f"no commit {absent}"),
            (1, ["fast-forward", "main", absent], f"no commit {absent}"),
            (1, ["rm", "main", "none"], "main has no none"),
            (2, ["rm", "main", "/"], "give the path of something in the tree"),
            (2, ["ls"], "Missing argument 'SOURCE'."),
            (2, ["frobnicate"], "No such command 'frobnicate'."),
        ):
            options = where if len(arguments) > 1 else []
            assert await run(*arguments, *options) == (code, "", f"datakit: {text}\n")
        status, _, errors = await run("write", "a..b", "file", *where)
        assert (status, errors.count("\n")) == (2, 1)
        assert "a..b" in errors


@pytest.mark.parametrize("place", PLACES)
async def test_a_branch_is_watched_until_ctrl_c(place: str, tmp_path: Path) -> None:
    async with database(place, tmp_path / "db.git") as where:
        before = await head_of("write", "main", "hello", *where, given=b"Hello\n")
        async with datakit("watch", "main", *where) as (watching, first):
            assert first == before
            watching.send_signal(signal.SIGINT)
            _, errors = await watching.communicate()
            assert (watching.returncode, errors) == (130, b"")


async def test_news_of_a_branch_and_of_a_path_come_as_they_happen(tmp_path: Path) -> None:
    async with (
        database("server", tmp_path / "db.git") as where,
        datakit("watch", "main", *where) as (heads, first),
        datakit("watch", "main", "doc/hello", "--json", *where) as (paths, nothing),
    ):
        assert (first, json.loads(nothing)) == ("", {"head": None, "entry": None})
        assert heads.stdout is not None
        assert paths.stdout is not None
        elsewhere = await head_of("write", "main", "elsewhere", *where)
        assert (await heads.stdout.readline()).decode().strip() == elsewhere
        head = await head_of("write", "main", "doc/hello", *where, given=b"Hello\n")
        assert (await heads.stdout.readline()).decode().strip() == head
        file = {"kind": "normal", "id": HELLO}
        assert json.loads(await paths.stdout.readline()) == {"head": head, "entry": file}


async def test_a_watch_whose_server_goes_says_so(tmp_path: Path) -> None:
    async with datakit("--url", "tcp://127.0.0.1:0") as (server, line):
        url = f"tcp://127.0.0.1:{port_in(line)}"
        async with datakit("watch", "main", "--connect", url) as (watching, _):
            server.terminate()
            _, errors = await watching.communicate()
            assert watching.returncode == 2
            assert errors == b"datakit: the connection to the server has ended\n"


async def test_a_watch_may_wait_for_a_server_that_goes(tmp_path: Path) -> None:
    git_path, url = tmp_path / "db.git", f"unix://{tmp_path}/socket"
    serving: list[str | Path] = ["--git", git_path, "--url", url]
    arguments = ["watch", "main", "--reconnect", "--connect", url]
    code, _, errors = await run(*arguments)
    assert (code, errors.count("\n")) == (2, 1), "only who was connected connects again"
    async with datakit(*serving) as (server, _):
        first = await head_of("write", "main", "file", "--connect", url)
        watching = await asyncio.create_subprocess_exec(
            *COMMAND, *arguments, stdout=PIPE, stderr=PIPE
        )
        assert watching.stdout is not None
        assert watching.stderr is not None
        assert await watching.stdout.readline() == f"{first}\n".encode()
        server.terminate()
        lost = await watching.stderr.readline()
        assert lost == f"datakit: lost {url}: the connection to the server has ended\n".encode()
    second = await head_of("write", "main", "file", "--git", str(git_path), given=b"2")
    async with datakit(*serving):
        back = await watching.stderr.readline()
        assert back == f"datakit: connected to {url} again\n".encode()
        assert await watching.stdout.readline() == f"{second}\n".encode()
        watching.send_signal(signal.SIGINT)
        assert (await watching.communicate(), watching.returncode) == ((b"", b""), 130)


MEASURED = """
import atexit, pathlib, runpy, sys

def tell():
    status = pathlib.Path("/proc/self/status").read_text()
    print(status.partition("VmHWM:")[2].split()[0], file=sys.stderr)

atexit.register(tell)
runpy.run_module("datakit_core.cli", run_name="__main__", alter_sys=True)
"""
"""Run the command, and tell the most KiB of memory that it had (proc_pid_status(5))."""


async def memory_of(*arguments: str, given: Path | None, output: Path) -> int:
    """The most bytes that a command had in memory, reading and writing files."""
    with (given or Path(os.devnull)).open("rb") as stdin, output.open("wb") as stdout:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", MEASURED, *arguments, stdin=stdin, stdout=stdout, stderr=PIPE
        )
        _, errors = await process.communicate()
    assert process.returncode == 0, errors
    return int(errors) << 10


@pytest.mark.parametrize("place", PLACES)
async def test_a_long_file_is_never_held_as_a_whole(place: str, tmp_path: Path) -> None:
    long, short, read = tmp_path / "long", tmp_path / "short", tmp_path / "read"
    short.write_bytes(b"short")
    block = bytes(range(256)) * 4096
    with long.open("wb") as file:
        for _ in range(40):
            file.write(block)
    async with database(place, tmp_path / "db.git") as where:
        least = await memory_of("write", "main", "short", *where, given=short, output=read)
        most = await memory_of("write", "main", "long", *where, given=long, output=read)
        assert most < least + (16 << 20)
        least = await memory_of("cat", "main", "short", *where, given=None, output=read)
        assert read.read_bytes() == b"short"
        most = await memory_of("cat", "main", "long", *where, given=None, output=read)
        assert most < least + (16 << 20)
    assert read.stat().st_size == long.stat().st_size
    with read.open("rb") as file:
        assert all(piece == block for piece in iter(lambda: file.read(len(block)), b""))


_FILE_SYSTEMS_KNOW_9P = "\t9p\n" in Path("/proc/filesystems").read_text()


async def test_a_mount_that_fails_says_what_is_missing(tmp_path: Path) -> None:
    for name in ("sudo", "mount"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 32\n")
        (tmp_path / name).chmod(0o755)
    code, _, told = await run("mount", "--run", tmp_path, PATH=str(tmp_path))
    if _FILE_SYSTEMS_KNOW_9P:
        assert (code, told) == (32, "")  # mount itself says why
    else:
        assert (code, "load its module with modprobe 9p" in told) == (2, True)


@pytest.mark.parametrize("place", PLACES)
async def test_a_reader_may_leave_in_the_middle_of_a_long_file(place: str, tmp_path: Path) -> None:
    async with database(place, tmp_path / "db.git") as where:
        await head_of("write", "main", "file", *where, given=bytes(3_000_000))
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "cat", "main", "file", *where, stdout=PIPE, stderr=PIPE
        )
        assert process.stdout is not None
        assert process.stderr is not None
        assert await process.stdout.read(10) == bytes(10)
        transport = process._transport.get_pipe_transport(1)  # type: ignore[attr-defined]
        transport.close()
        assert await process.stderr.read() == b""
        assert await process.wait() == 141


@pytest.mark.parametrize("place", PLACES)
async def test_who_waits_for_its_input_can_be_interrupted(place: str, tmp_path: Path) -> None:
    async with database(place, tmp_path / "db.git") as where:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "write", "main", "file", *where, stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        assert process.stdin is not None
        # More than a pipe holds: when this has gone, it is being read.
        process.stdin.write(bytes(1_000_000))
        await process.stdin.drain()
        process.send_signal(signal.SIGINT)
        assert await process.stdout.read() == b""  # type: ignore[union-attr]
        assert await process.wait() == 130
        assert await run("branches", *where) == (0, "", "")


@pytest.mark.parametrize("command", [["cat", "main", "file"], ["ls", "main"], ["watch", "main"]])
@pytest.mark.parametrize("place", PLACES)
async def test_a_reader_that_goes_away_is_no_error(
    place: str, command: list[str], tmp_path: Path
) -> None:
    async with database(place, tmp_path / "db.git") as where:
        await head_of("write", "main", "file", *where, given=b"content")
        reader, writer = os.pipe()
        os.close(reader)
        process = await asyncio.create_subprocess_exec(
            *COMMAND, *command, *where, stdout=writer, stderr=PIPE
        )
        os.close(writer)
        _, errors = await process.communicate()
        assert errors == b""
        assert process.returncode == 141


async def test_a_closed_standard_input_is_said(tmp_path: Path) -> None:
    async with database("repository", tmp_path / "db.git") as where:
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", '"$@" 0<&-', "sh", *COMMAND, "write", "main", "file", *where, stderr=PIPE
        )
        _, errors = await process.communicate()
        assert process.returncode == 2
        assert errors == b"datakit: standard input is closed; give the content there\n"


async def test_a_command_needs_a_database(tmp_path: Path) -> None:
    code, _, errors = await run("branches", DATAKIT_URL="")
    assert (code, errors) == (
        2,
        "datakit: give --connect URL (or set DATAKIT_URL), or --git PATH\n",
    )
    code, _, errors = await run("branches", "--connect", f"unix://{tmp_path}/none")
    assert code == 2
    assert errors.startswith(f"datakit: cannot connect to unix://{tmp_path}/none: ")
    assert errors.count("\n") == 1


async def test_the_server_may_be_named_by_the_environment(tmp_path: Path) -> None:
    async with database("server", tmp_path / "db.git") as (_, url):
        code, head, _ = await run("write", "main", "file", DATAKIT_URL=url)
        assert (code, len(head)) == (0, 41)


async def test_the_mount_command_is_printed(tmp_path: Path) -> None:
    code, output, _ = await run("mount", tmp_path, "--connect", "tcp://localhost:1234")
    assert code == 0
    assert output.removeprefix("sudo ") == (
        "mount -t 9p -o trans=tcp,port=1234,version=9p2000.L,access=user,cache=none,msize=131072,"
        f"noxattr 127.0.0.1 {tmp_path}\n"
    )


async def test_the_mount_command_is_run(tmp_path: Path) -> None:
    for name in ("sudo", "mount"):  # whoever runs the test
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@"\n')
        (tmp_path / name).chmod(0o755)
    url = f"unix://{tmp_path}/a socket"
    printed = await run("mount", "--run", tmp_path, "--connect", url, PATH=str(tmp_path))
    assert printed[0] == 0
    assert printed[1].endswith(f"msize=131072,noxattr {tmp_path}/a socket {tmp_path}\n")
    for arguments, text in (
        (["--run", f"{tmp_path}/none"], "is not a directory; make it first"),
        (["--connect", "tls://127.0.0.1"], "the kernel cannot mount"),
        (["--connect", "http://127.0.0.1"], "expected tcp://HOST:PORT"),
    ):
        code, output, errors = await run("mount", *arguments)
        assert (code, output, errors.count("\n")) == (2, "", 1)
        assert text in errors


async def test_the_shell_completes_commands() -> None:
    code, output, _ = await run(
        _DATAKIT_COMPLETE="complete_bash", COMP_WORDS="datakit fast", COMP_CWORD="1"
    )
    assert (code, output.strip()) == (0, "fast-forward")


async def in_bash(script: str, home: Path) -> str:
    """What Bash prints, with ``datakit`` as a command and a home of its own."""
    (home / "datakit").write_text(f'#!/bin/sh\nexec {shlex.join(COMMAND)} "$@"\n')
    (home / "datakit").chmod(0o755)
    place = {"HOME": str(home), "PATH": f"{home}:{os.environ['PATH']}"}
    bash = await asyncio.create_subprocess_exec(
        *("bash", "--norc", "-c", script), stdout=PIPE, stderr=PIPE, env=os.environ | place
    )
    output, errors = await bash.communicate()
    assert errors == b""
    return output.decode()


_COMPLETE = """
COMP_WORDS=(datakit remove) COMP_CWORD=1
_datakit_completion datakit
echo "${COMPREPLY[@]}"
"""


async def test_what_completes_commands_is_shown_and_works(tmp_path: Path) -> None:
    script = 'eval "$(datakit --show-completion bash)"' + _COMPLETE
    assert await in_bash(script, tmp_path) == "remove-branch\n"


async def test_completion_is_installed_for_the_shell_that_asks(tmp_path: Path) -> None:
    script = 'datakit --install-completion bash >/dev/null; . "$HOME/.bashrc"' + _COMPLETE
    assert await in_bash(script, tmp_path) == "remove-branch\n"
