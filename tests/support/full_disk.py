"""A disk of eight megabytes in name spaces of its own, and what becomes of builds on it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from datakit_ci import shell
from datakit_ci.executors.base import LostBuild
from tests.support.bench import open_bench

__all__ = ["can_mount", "on_a_full_disk"]

_MOUNT = 'mount -t tmpfs -o size=8m none "$1" && exec "$2" -m tests.support.full_disk "$1"'


def on_a_full_disk(folder: Path) -> str:
    """What is said of a build that fills its disk, and of the one after it, a line each."""
    command = ["unshare", "-Urm", "sh", "-c", _MOUNT, "sh", str(folder), sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout


def can_mount() -> bool:
    """Whether this machine lets its users have name spaces."""
    command = ["unshare", "-Urm", "true"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


async def _main(folder: Path) -> None:
    full = shell("full", "head -c 20m /dev/zero > large", outputs=["large"])
    small = shell("small", "echo small > file", outputs=["file"])
    async with open_bench(folder) as bench:
        try:
            await bench.run(full.spec)
        except LostBuild as error:
            sys.stdout.write(f"{error}\n")
        outcome = await bench.run(small.spec)
        sys.stdout.write(f"{sorted(await bench.files(outcome.output))}\n")


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
