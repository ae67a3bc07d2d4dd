"""The command ``datakit``, as a process: serving, its errors, and the commands of its client."""

from __future__ import annotations

import asyncio
import re
import signal
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support.command import datakit, port_in, run
from tests.support.git import git
from tests.support.raw import connect
from tests.support.waiting import until


@pytest.mark.parametrize("word", ["serve", ""])
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
async def test_it_serves_until_a_signal_comes(
    word: str, stop: signal.Signals, tmp_path: Path
) -> None:
    path = tmp_path / "db.git"
    words = [word] if word else []
    async with datakit(*words, "--git", path, "--listen-9p=tcp://127.0.0.1:0") as (process, line):
        assert line.startswith(f"datakit: serving {path} on tcp://127.0.0.1:")
        async with connect(port_in(line)) as raw:
            await raw.mkdir("branch/master")
            process.send_signal(stop)
            _, errors = await process.communicate()
        assert process.returncode == 0
        assert "Traceback" not in errors.decode()
    async with datakit("--git", path, "--url", "tcp://127.0.0.1:0") as (_, line):
        assert line.startswith(f"datakit: serving {path}")


async def test_it_serves_at_several_addresses_and_without_a_repository(tmp_path: Path) -> None:
    socket = tmp_path / "socket"
    log = tmp_path / "log"
    async with datakit(
        "serve", f"--url=tcp://127.0.0.1:0,unix://{socket}", "--verbose", "--log-destination", log
    ) as (process, line):
        assert line.startswith("datakit: serving a temporary database on tcp://127.0.0.1:")
        assert line.endswith(f" unix://{socket}")
        assert socket.is_socket()
        async with connect(port_in(line)) as raw:
            assert await raw.list("branch") == []
        process.terminate()
        assert await process.wait() == 0
    assert not socket.exists()
    assert "Tversion" in log.read_text()


async def test_what_goes_wrong_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "db.git"
    (tmp_path / "file").write_text("")
    async with datakit("--git", path, "--url", "tcp://127.0.0.1:0") as (_, line):
        taken = port_in(line)
        for arguments, text in (
            (["--git", path], "is served by another DataKit"),
            (["--git", tmp_path / "file"], "is not a directory"),
            (["--url", f"tcp://127.0.0.1:{taken}"], "the address is in use"),
            (["--url", "http://127.0.0.1"], "expected tcp://HOST:PORT"),
            (["--url", "tcp://127.0.0.1:0", "--log-destination", tmp_path], "Is a directory"),
            (["--listen-prometheus", "here"], "expected PORT or HOST:PORT"),
            (["--url=tcp://127.0.0.1:0", f"--listen-prometheus={taken}"], "it is in use"),
        ):
            code, output, errors = await run("serve", *arguments)
            assert code == 2
            assert output == ""
            last = errors.splitlines()[-1]
            assert last.startswith("datakit: ")
            assert text in last
            assert "Traceback" not in errors


async def test_metrics_are_served_where_it_is_asked_for(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with datakit(
        "--url=tcp://127.0.0.1:0", "--listen-prometheus", "0", "--log-destination", log
    ):
        found = re.search(r"serving metrics on (http://127\.0\.0\.1:\d+/metrics)", log.read_text())
        assert found is not None
        with await asyncio.to_thread(urlopen, found[1]) as reply:
            assert b"\ndatakit_9p_connections 0.0\n" in reply.read()


async def test_without_anything_to_do_it_explains_itself() -> None:
    code, output, _ = await run()
    assert code == 0
    assert "Without a command, the options are those of" in output
    assert (await run("--version"))[1].startswith("datakit 0")


async def test_every_branch_is_mirrored_by_the_server(tmp_path: Path) -> None:
    copy = tmp_path / "copy.git"
    copy.mkdir()
    git(copy, "init", "-q", "--bare")
    url = "--url", "tcp://127.0.0.1:0"
    async with datakit(*url, "--auto-push", f"file://{copy}") as (_, line):
        where = f"tcp://127.0.0.1:{port_in(line)}"
        _, head, _ = await run("write", "main", "file", "--connect", where)
        await until(lambda: git(copy, "for-each-ref", "--format=%(objectname)") == head.strip())
    code, _, errors = await run("serve", *url, DATAKIT_AUTO_PUSH="ext::evil")
    assert code == 2
    assert errors.splitlines()[-1].startswith("datakit: --auto-push: cannot use 'ext::evil': ")


async def test_a_wrong_list_of_what_may_be_fetched_is_one_line() -> None:
    code, _, errors = await run("serve", "--url", "tcp://127.0.0.1:0", "--allow-fetch", "ftp")
    assert code == 2
    assert errors.startswith("datakit: --allow-fetch: 'ftp' is none of https, ")


async def test_git_itself_is_served_by_the_server(tmp_path: Path) -> None:
    log = tmp_path / "log"
    http = "http://127.0.0.1:0/data.git"
    async with datakit("--listen-http", http, "--url=tcp://127.0.0.1:0",
                       "--log-destination", log) as (_, line):  # fmt: skip
        _, head, _ = await run("write", "main", "file", "--connect", line.split()[-1])
        found = re.search(r"serving Git on (http://\S+/data\.git/), read-only", log.read_text())
        assert found is not None
        listed = await asyncio.to_thread(git, tmp_path, "ls-remote", found[1])
        assert listed.split() == [head.strip(), "HEAD", head.strip(), "refs/heads/main"]
    code, _, errors = await run(
        "serve", "--url=tcp://127.0.0.1:0", "--listen-http", "http://127.0.0.1"
    )
    assert code == 2
    assert errors.splitlines()[-1].startswith("datakit: --listen-http: 'http://127.0.0.1' is no ")
