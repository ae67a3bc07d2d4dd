"""Watching other processes without sleeping: output as it comes, and deaths as they happen."""

from __future__ import annotations

import asyncio
import os

__all__ = ["Collector", "gone"]


class Collector:
    """A sink that keeps what it gets and wakes who waits for a line.

    Attributes:
        data: All bytes so far.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self._grown = asyncio.Event()

    def __call__(self, data: bytes) -> None:
        """Take ``data``."""
        self.data += data
        self._grown.set()

    async def line(self) -> str:
        """Wait for a whole line, take it out of the data and return it without its end."""
        while b"\n" not in self.data:
            self._grown.clear()
            await self._grown.wait()
        line, _, rest = bytes(self.data).partition(b"\n")
        self.data[:] = rest
        return line.decode()


async def gone(pid: int, patience: float = 30.0) -> None:
    """Wait until the process ``pid`` has died.

    Raises:
        TimeoutError: It lives on.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    dead = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, dead.set)
    try:
        async with asyncio.timeout(patience):
            await dead.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
