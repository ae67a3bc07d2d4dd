"""Log throughput: what builds print, through the engine's log to its readers, against ``tee``.

Commands write lines of 100 bytes: one of them, and 50 at a time. The engine's side is what the
output of a build goes through: the pipe of its process, the redaction of a secret, the spooled
log, and a reader who follows each log from its first byte while it is written. The peers write
the same to a file: ``cat`` from the pipe directly, which nobody reads, and ``tee``, which somebody
reads as well. Files are in ``DATAKIT_BENCH_DIRECTORY``.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable
from pathlib import Path

from datakit_ci.livelog import LiveLog, RedactedLog
from datakit_ci.process import Command, run_process
from datakit_ci.redaction import Redaction

__all__ = ["main"]

ROUNDS = 3
_TOTAL = 200 << 20
"""Bytes, of all builds together."""

_PRINT = """
import os, sys
block = b"".join(b"%099d\\n" % number for number in range(600))
left = int(sys.argv[1])
while left > 0:
    os.write(1, block)
    left -= len(block)
"""


def main() -> None:
    """Print the table."""
    print(f"{'MB/s of all builds together, best of ' + str(ROUNDS):44}{'1 build':>9}{'50':>18}")
    ways: dict[str, Callable[[Path, int], Awaitable[None]]] = {
        "cat > FILE": lambda directory, builds: _peers(directory, builds, "cat > {}"),
        "tee FILE | cat > /dev/null": lambda directory, builds: _peers(
            directory, builds, "tee {} | cat > /dev/null"
        ),
        "the log of a build": lambda directory, builds: _ours(directory, builds, followed=False),
        "the same, and a reader of each": lambda directory, builds: _ours(
            directory, builds, followed=True
        ),
    }
    peers: list[float] = []
    for name, way in ways.items():
        speeds = [_speed(way, builds) for builds in (1, 50)]
        peers = peers or speeds
        shown = "".join(
            f"{speed:10.0f} {speed / peer:5.2f}x" for speed, peer in zip(speeds, peers, strict=True)
        )
        print(f"{name:40}{shown}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"most memory of the process that has the logs: {peak} MiB")


def _speed(way: Callable[[Path, int], Awaitable[None]], builds: int) -> float:
    """MB/s, the best of some rounds."""
    best = 0.0
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(
            prefix="datakit-bench-", dir=os.environ.get("DATAKIT_BENCH_DIRECTORY")
        ) as scratch:
            started = time.perf_counter()
            asyncio.run(_timed(way, Path(scratch), builds))
            best = max(best, _TOTAL / 1e6 / (time.perf_counter() - started))
    return best


async def _timed(way: Callable[[Path, int], Awaitable[None]], directory: Path, builds: int) -> None:
    await way(directory, builds)


def _printer(builds: int) -> tuple[str, ...]:
    return sys.executable, "-c", _PRINT, str(_TOTAL // builds)


async def _peers(directory: Path, builds: int, sink: str) -> None:
    async def run(number: int) -> None:
        script = f'"$@" | {sink.format(directory / str(number))}'
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", script, "sh", *_printer(builds), stdin=PIPE
        )
        await process.communicate()
        assert process.returncode == 0

    async with asyncio.TaskGroup() as group:
        for number in range(builds):
            group.create_task(run(number))


async def _ours(directory: Path, builds: int, *, followed: bool) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(builds):
            log = LiveLog(directory / str(number), limit=2 * _TOTAL)
            group.create_task(_build(log, directory, builds, group if followed else None))


async def _build(
    log: LiveLog, directory: Path, builds: int, readers: asyncio.TaskGroup | None
) -> None:
    command = Command(_printer(builds), directory, dict(os.environ))
    with log:
        if readers is not None:
            readers.create_task(_follow(log))
        redacted = RedactedLog(log, Redaction({"TOKEN": b"a secret of a build"}))
        status = await run_process(command, stdout=redacted.write, stderr=redacted.write)
        redacted.finish()
        assert status == 0


async def _follow(log: LiveLog) -> None:
    size = 0
    async for piece in log.follow():
        size += len(piece)
    assert size == log.size


if __name__ == "__main__":
    main()
