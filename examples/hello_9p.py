"""A file server in forty lines: a greeting, a note to write to, a clock to watch, a command.

Run it, and in another shell mount it or use any 9P client::

    python -m examples.hello_9p tcp://127.0.0.1:5640
    sudo mount -t 9p -o trans=tcp,port=5640,version=9p2000.L 127.0.0.1 /mnt
    cat /mnt/hello /mnt/clock
"""

from __future__ import annotations

import asyncio
import sys
import time

from datakit_core.ninep import serve
from datakit_core.vfs import (
    CommandFile,
    Directory,
    Live,
    MemoryFile,
    StaticDirectory,
    StreamFile,
    TextFile,
)


def tree(clock: Live) -> Directory:
    """What every client sees; a file server that gives each its own makes one for each."""
    return StaticDirectory(
        "/",
        [
            TextFile("hello", b"Hello from 9P!\n"),
            MemoryFile("note", b"Write here.\n"),
            StreamFile("clock", clock.open),
            CommandFile("shout", lambda text: text.upper().encode() + b"\n"),
        ],
    )


async def main(address: str) -> None:
    """Serve until interrupted, and let the clock tick."""
    clock = Live()
    root = tree(clock)
    async with serve(lambda connection: root, address) as server:
        print(f"Serving on {server.endpoints[0]}", flush=True)
        while True:
            clock.publish(time.strftime("%H:%M:%S\n").encode())
            await asyncio.sleep(1)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:5640"))
