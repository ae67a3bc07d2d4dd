"""The examples run and do what they say."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from datakit_core.ninep import connect

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
        async with connect(address) as client:
            assert await client.names([]) == ["hello", "note", "clock", "shout"]
            assert await client.read(["hello"]) == b"Hello from 9P!\n"
            await client.write(["note"], b"been here")
            assert await client.read(["note"]) == b"been here"
            assert await client.command(["shout"], "hey") == b"HEY\n"
            lines = client.lines(["clock"])
            assert [(await anext(lines)).count(b":") for _ in range(2)] == [2, 2]
            await lines.aclose()
    finally:
        process.terminate()
        await process.wait()
