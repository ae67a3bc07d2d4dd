"""A thousand browsers on one live log: how soon a line reaches them, and what they cost.

One process writes a log as the engine does and serves the dashboard; in another one 1,000 clients
follow it by server-sent events. Every 100 ms a line with the time is written; the delay is from
there to when a client has that line, on the same clock. The peer is the simple way: an aiohttp
server that runs ``tail -f`` for each viewer and passes on what it prints. Memory is what the server
has resident (its tails included), and how much it grew with the viewers.
"""

from __future__ import annotations

import asyncio
import os
import re
import statistics
import subprocess
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from aiohttp import web

from datakit_ci.dashboard import create_app
from datakit_ci.dashboard.rendering import path_of
from datakit_ci.livelog import LiveLog
from datakit_ci.logtimes import LogTimes
from datakit_ci.state import BuildId, BuildState, Status
from tests.support.ci_scene import build_id
from tests.support.fake_engine import FakeEngine

__all__ = ["main"]

VIEWERS = 1000
LINES = 100
SPACING = 0.1
"""Seconds between two lines."""

_BEFORE = 10_000
"""Lines that the log has when the viewers come."""

_STAMP = re.compile(rb"at=([0-9]+);")
"""A line says when it was written: nanoseconds of the monotonic clock."""


def main() -> None:
    """Print the table; or be the server of a measurement, if that is asked for."""
    if len(sys.argv) > 2 and sys.argv[1] == "--serve":
        asyncio.run(_serve(sys.argv[2]))
        return
    print(
        f"{VIEWERS} viewers, ms{'p50':>17}{'p99':>9}{'most':>9}{'MiB before':>14}{'and after':>12}"
    )
    own = asyncio.run(_measure("dashboard", "the dashboard"))
    peer = asyncio.run(_measure("tail", "tail -f for each"))
    ratios = "".join(f"{one / other:8.2f}x" for one, other in zip(own, peer, strict=True))
    print(f"{'ratio':26}{ratios}")


async def _measure(kind: str, name: str) -> tuple[float, ...]:
    """Start a server, let viewers watch, and print the delays."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.viewers", "--serve", kind, stdin=PIPE, stdout=PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    port, path = (await process.stdout.readline()).decode().split()
    before = _resident(process.pid)
    delays: list[float] = []
    ready = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as group:
        for _ in range(VIEWERS):
            group.create_task(_view(int(port), path, delays, ready))
        for _ in range(VIEWERS):
            await ready.acquire()
        process.stdin.write(b"go\n")
    after = _resident(process.pid)
    process.stdin.write(b"stop\n")
    process.stdin.close()
    await process.wait()
    cuts = statistics.quantiles(delays, n=100)
    values = cuts[49] * 1e3, cuts[98] * 1e3, max(delays) * 1e3
    shown = "".join(f"{value:9.0f}" for value in values)
    print(f"{name:26}{shown}{before:14.0f}{after:12.0f}")
    return values


async def _view(port: int, path: str, delays: list[float], ready: asyncio.Semaphore) -> None:
    """Follow the log, and note the delay of each line that is written from now on."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await reader.readuntil(b"the last line before")
    ready.release()
    seen, rest = 0, b""
    while seen < LINES:
        data = rest + await reader.read(1 << 16)
        now = time.monotonic_ns()
        stamps = list(_STAMP.finditer(data))
        rest = data[stamps[-1].end() if stamps else 0 :][-100:]
        delays += [(now - int(stamp[1])) / 1e9 for stamp in stamps]
        seen += len(stamps)
    writer.close()


def _resident(pid: int) -> float:
    """MiB that a process and its children have resident."""
    command = ["ps", "-o", "pid=", "--ppid", str(pid)]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    pids = [pid, *(int(child) for child in listed.stdout.split())]
    total = 0
    for each in pids:
        with suppress(FileNotFoundError, StopIteration):
            lines = Path(f"/proc/{each}/status").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    return total / 1024


class _Spooled(FakeEngine):
    """An engine with one build, whose log is a real one."""

    def __init__(self, build: BuildId, log: LiveLog) -> None:
        super().__init__()
        self._build, self._log = build, log

    async def build(self, build: BuildId) -> BuildState | None:
        if build != self._build:
            return None
        return BuildState(build, Status.RUNNING, log_size=self._log.size)

    async def follow_log(self, build: BuildId, offset: int = 0) -> AsyncGenerator[bytes, None]:
        async for piece in self._log.follow(offset):
            yield piece

    async def watch_log(self, build: BuildId, offset: int = 0) -> AsyncIterator[bytes]:
        async for piece in self._log.follow(offset):
            yield piece

    async def log_times(self, build: BuildId) -> LogTimes | None:
        return self._log.times


async def _serve(kind: str) -> None:
    """Serve a log, and write to it when standard input says so."""
    with (
        TemporaryDirectory(prefix="datakit-bench-") as scratch,
        LiveLog(Path(scratch) / "log") as log,
    ):
        log.write(b"".join(b"line %d\n" % n for n in range(_BEFORE)))
        log.write(b"the last line before\n")
        build = build_id("acme/shop", "live")
        if kind == "tail":
            app, path = _tails(log.path), "/"
        else:
            app = create_app(_Spooled(build, log))
            start = f"{log.size - 21}.{_BEFORE + 1}."
            path = f"{path_of('build', build.path)}/log/events?from={start}"
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=VIEWERS).start()
        print(runner.addresses[0][1], path, flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        for _ in range(LINES):
            await asyncio.sleep(SPACING)
            log.write(b"at=%d; a line of the usual length\n" % time.monotonic_ns())
        await asyncio.to_thread(sys.stdin.readline)
        await runner.cleanup()


def _tails(path: Path) -> web.Application:
    """The simple way."""

    async def tail(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        process = await asyncio.create_subprocess_exec(
            "tail", "-n", "1", "-f", os.fspath(path), stdout=PIPE, stderr=DEVNULL
        )
        assert process.stdout is not None
        try:
            while data := await process.stdout.read(1 << 16):
                await response.write(data)
        finally:
            process.kill()
            await process.wait()
        return response

    app = web.Application()
    app.router.add_get("/", tail)
    return app


if __name__ == "__main__":
    main()
