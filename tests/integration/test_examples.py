"""The examples run and do what they say."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from datakit_core.ninep import connect
from examples import client
from tests.support.served import serve

CHECKOUT = Path(__file__).parents[2]


async def test_hello_9p_serves_its_files() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "examples.hello_9p",
        "tcp://127.0.0.1:0",
        cwd=CHECKOUT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        address = (await process.stdout.readline()).decode().split()[-1]
        async with connect(address) as connected:
            assert await connected.names([]) == ["hello", "note", "clock", "shout"]
            assert await connected.read(["hello"]) == b"Hello from 9P!\n"
            await connected.write(["note"], b"been here")
            assert await connected.read(["note"]) == b"been here"
            assert await connected.command(["shout"], "hey") == b"HEY\n"
            lines = connected.lines(["clock"])
            assert [(await anext(lines)).count(b":") for _ in range(2)] == [2, 2]
            await lines.aclose()
    finally:
        process.terminate()
        await process.wait()


async def test_the_client_counts_shows_and_watches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serve(tmp_path / "db.git") as served:
        await client.main(served.address)
        head = served.store.head("counter")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(" runs")
    assert lines[1] == "count 1"
    assert lines[2].endswith(" Count to 1")
    first = lines[2].split()[1]
    assert lines[3:] == [f"head {first}", f"head {head}"]
