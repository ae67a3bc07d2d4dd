"""How late the server's event loop is while others do what is large: ``python -m bench lag``.

A server runs in a process of its own, as ``datakit serve`` would. One client writes a file of
100 MB, commits and reads it; then it commits 100,000 files, lists their directory, and has them
merged with as many others, each of them a conflict. All the while a second client asks for small
things, one after the other. A timer in the server's loop, due every millisecond, tells how late
the loop was.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from datakit_core.client import connect
from datakit_core.client.remote import RemoteDatabase
from datakit_core.errors import MergeConflict
from datakit_core.ninep.client import Client
from datakit_core.ninep.client import connect as connect_9p
from datakit_core.resources import collecting_when_idle
from datakit_core.server import open_server

__all__ = ["main"]

_MEGABYTES = int(os.environ.get("DATAKIT_BENCH_MEGABYTES", "100"))
_FILES = int(os.environ.get("DATAKIT_BENCH_FILES", "100000"))
_PIECE = 1 << 20
_TICK = 0.001


def main() -> None:
    """Print the table; or be the server, when asked by the process that prints it."""
    with tempfile.TemporaryDirectory(
        prefix="datakit-bench-", dir=os.environ.get("DATAKIT_BENCH_DIRECTORY")
    ) as scratch:
        asyncio.run(_run(Path(scratch)))


async def _run(scratch: Path) -> None:
    async with _serving(scratch) as (address, ask), connect_9p(address) as client:
        print("milliseconds that the loop was late, and that a small request took beside it")
        print(f"{'':34} {'seconds':>8} {'p99.9':>7} {'max':>7}   {'p99.9':>7} {'max':>7}")
        large = _Large(client)
        for name, what in (
            ("at rest", lambda: asyncio.sleep(2)),
            (f"write {_MEGABYTES} MB in a transaction", large.write),
            ("commit it", large.commit),
            (f"read {_MEGABYTES} MB", large.read),
            (f"create {_FILES} files in a transaction", large.create_files),
            ("commit them", large.commit),
            ("list them for the first time", large.list_files),
            (f"change all {_FILES} on another branch", large.change_files),
            ("merge: every file a conflict", large.merge),
        ):
            await _measure(name, what, address, ask)


class _Large:
    """The client that does what is large."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._numbers = iter(range(100))
        self._place: list[str] = []

    async def write(self) -> None:
        await self._begin("main")
        file = [*self._place, "rw", "large"]
        piece = random.Random(1).randbytes(_PIECE)
        await self._client.create(file)
        async with self._client.open(file, 1) as opened:
            for number in range(_MEGABYTES):
                await opened.write(number * _PIECE, piece)

    async def commit(self) -> None:
        await self._client.command([*self._place, "ctl"], "commit")

    async def read(self) -> None:
        async with self._client.open(["branch", "main", "ro", "large"]) as opened:
            offset = 0
            while data := await opened.read(offset):
                offset += len(data)

    async def create_files(self) -> None:
        await self._client.mkdir(["branch", "side"])
        await self._fill("main", b"ours")

    async def list_files(self) -> None:
        await self._client.names(["branch", "main", "ro", "flat"])

    async def change_files(self) -> None:
        await self._fill("side", b"theirs")
        await self.commit()

    async def merge(self) -> None:
        await self._begin("main")
        side = (await self._client.read(["branch", "side", "head"])).decode().strip()
        await self._client.command([*self._place, "merge"], side)
        if (await self._client.read([*self._place, "conflicts"])).count(b"\n") != _FILES:
            raise MergeConflict(["not all files are in conflict"])

    async def _fill(self, branch: str, content: bytes) -> None:
        await self._begin(branch)
        await self._client.mkdir([*self._place, "rw", "flat"])
        for start in range(0, _FILES, 100):
            async with asyncio.TaskGroup() as tasks:
                for number in range(start, min(start + 100, _FILES)):
                    file = [*self._place, "rw", "flat", f"f{number:06}"]
                    tasks.create_task(self._client.create(file, content + b" %d" % number))

    async def _begin(self, branch: str) -> None:
        await self._client.mkdir(["branch", branch])
        self._place = ["branch", branch, "transactions", str(next(self._numbers))]
        await self._client.mkdir(self._place)


async def _measure(
    name: str,
    what: Callable[[], Awaitable[object]],
    address: str,
    ask: Callable[[], Awaitable[list[float]]],
) -> None:
    took: list[float] = []
    await ask()
    start = time.perf_counter()
    async with connect(address) as other:
        assert isinstance(other, RemoteDatabase)
        asking = asyncio.create_task(_ask_small_things(other, took))  # noqa: TID251 - ends below
        try:
            await what()
        finally:
            asking.cancel()
    seconds = time.perf_counter() - start
    lag = await ask()
    print(f"{name:34} {seconds:8.1f} {_figures(lag)}   {_figures(took)}")


async def _ask_small_things(database: RemoteDatabase, took: list[float]) -> None:
    while True:
        start = time.perf_counter()
        await database.head("main")
        took.append(time.perf_counter() - start)
        await asyncio.sleep(_TICK)


def _figures(seconds: list[float]) -> str:
    ordered = sorted(seconds) or [0.0]
    return f"{ordered[int(len(ordered) * 0.999)] * 1e3:7.1f} {ordered[-1] * 1e3:7.1f}"


@asynccontextmanager
async def _serving(
    scratch: Path,
) -> AsyncIterator[tuple[str, Callable[[], Awaitable[list[float]]]]]:
    """A server in a process of its own; its address, and how to get its lags since last asked."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.lag", str(scratch / "db.git"),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 26,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    async def ask() -> list[float]:
        stdin.write(b"\n")
        return [float(each) for each in (await stdout.readline()).split()]

    try:
        yield (await stdout.readline()).decode().strip(), ask
    finally:
        stdin.close()
        await process.wait()


async def _serve(path: Path) -> None:
    """Serve, and print the lags for each line that comes."""
    with collecting_when_idle():
        await _serve_calmly(path)


async def _serve_calmly(path: Path) -> None:
    async with open_server(path, ["tcp://127.0.0.1:0"]) as server:
        print(server.endpoints[0], flush=True)
        lags: list[float] = []
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

        def tick(due: float) -> None:
            now = loop.time()
            lags.append(max(0.0, now - due))
            loop.call_at(now + _TICK, tick, now + _TICK)

        tick(loop.time())
        while await reader.readline():
            print(*(f"{lag:.6f}" for lag in lags), flush=True)
            lags.clear()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
