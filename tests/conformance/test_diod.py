"""Foreign clients for 9P2000.L: diodls and diodcat, C programs from Debian's package ``diod``.

They ask to authenticate first, and attach when that is not needed. diodcat reads until the
first empty read, so of a stream it shows what is there.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from tests.support.raw import connect
from tests.support.scenarios import commit_files
from tests.support.served import Served, serve

pytestmark = pytest.mark.foreign

BIG = bytes(range(256)) * 200


def program(name: str) -> str:
    """Where Debian puts it, which is not where users look for programs."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.skip(f"there is no {name}; install diod")
    return found


async def run(served: Served, name: str, *arguments: str) -> bytes:
    """What a program writes; it must succeed."""
    where = ("--aname=/", f"--server=127.0.0.1:{served.port}")
    process = await asyncio.create_subprocess_exec(
        program(name), *where, *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, output
    return output


async def test_diod_lists_and_reads(tmp_path: Path) -> None:
    async with serve(tmp_path / "db.git") as served:
        async with connect(served.port) as raw:
            head = await commit_files(raw, "main", {"file": b"content\n", "dir/big": BIG})
        listed = await run(served, "diodls")
        assert listed.split() == [
            b"branch", b"trees", b"commits", b"snapshots", b"remotes", b"debug",
        ]  # fmt: skip
        described = (await run(served, "diodls", "-l", "branch/main/ro")).decode().splitlines()
        assert [line.split()[0][:10] for line in described] == ["drwxrwxr-x", "-rw-rw-r--"]
        assert described[1].split()[4] == "8"
        files = ("branch/main/ro/file", "branch/main/head", "branch/main/head.live")
        assert await run(served, "diodcat", *files) == f"content\n{head}\n{head}\n".encode()
        for msize in ("4120", "65560"):
            big = await run(served, "diodcat", f"--msize={msize}", "branch/main/ro/dir/big")
            assert big == BIG
