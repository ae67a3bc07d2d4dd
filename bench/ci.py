"""What a build costs besides its work: ``python -m bench ci``.

Trivial stages, each of which reads one small file of its input and writes one. Each build has a
process and a directory of its own, and what it writes is stored in the database. The peer starts
a Python for each stage that does the same to two files on the disk, and keeps nothing.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from datakit_ci.executors.base import BuildRequest
from datakit_ci.executors.local import LocalExecutor
from datakit_ci.pipeline import import_pipeline
from datakit_ci.spec import StageSpec
from datakit_ci.state import BuildId
from datakit_core.client.api import TreeId
from datakit_core.client.local import open_local

__all__ = ["main"]

_STAGES = 200
_AT_ONCE = os.cpu_count() or 1

_PIPELINE = """
from datakit_ci import Config, shell, stage

@stage
def copy(source):
    return {"out": source.read("in/0")}

command = shell("command", "cp in/0 out", outputs=["out"])
config = Config(projects=[])
"""

_PEER = "import pathlib, sys; pathlib.Path(sys.argv[1] + '.out').write_bytes(b'x')"


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(
        prefix="datakit-bench-", dir=os.environ.get("DATAKIT_BENCH_DIRECTORY")
    ) as scratch:
        with _measured("a Python for each, results not kept") as peer:
            _peer(Path(scratch))
        costs = [peer, *asyncio.run(_run(Path(scratch)))]
    print(f"milliseconds a stage, {_STAGES} stages, {_AT_ONCE} at once")
    print(f"  {'':40} {'elapsed':>8}        {'processor':>10}")
    for cost in costs:
        elapsed, processor = cost.elapsed / _STAGES, cost.processor / _STAGES
        print(
            f"  {cost.name:40} {elapsed * 1000:8.1f} {cost.elapsed / peer.elapsed:5.2f}x "
            f"{processor * 1000:10.1f} {cost.processor / peer.processor:5.2f}x"
        )


@dataclass(slots=True)
class _Cost:
    """Seconds, by the clock and of the processor; ours and of processes that have ended."""

    name: str
    elapsed: float = 0.0
    processor: float = 0.0


@contextmanager
def _measured(name: str) -> Iterator[_Cost]:
    cost = _Cost(name)
    started, used = time.perf_counter(), sum(os.times()[:4])
    yield cost
    cost.elapsed, cost.processor = time.perf_counter() - started, sum(os.times()[:4]) - used


def _peer(scratch: Path) -> None:
    for first in range(0, _STAGES, _AT_ONCE):
        running = [
            subprocess.Popen([sys.executable, "-c", _PEER, str(scratch / str(number))])
            for number in range(first, first + _AT_ONCE)
        ]
        for process in running:
            process.wait()


async def _run(scratch: Path) -> list[_Cost]:
    pipeline = scratch / "pipeline.py"
    pipeline.write_text(_PIPELINE)
    stages = vars(import_pipeline(pipeline))
    repository = scratch / "database.git"
    costs = []
    async with open_local(repository, create=True) as database:
        tree = await database.import_tree({"in/0": b"x"})
        for name, title in (("copy", "@stage functions"), ("command", "shell commands")):
            with _measured(title) as cost:
                async with LocalExecutor(
                    database, repository, pipeline, scratch / name
                ) as executor:
                    await _build_all(executor, stages[name].spec, tree)
            costs.append(cost)
    return costs


async def _build_all(executor: LocalExecutor, spec: StageSpec, tree: TreeId) -> None:
    numbers = iter(range(_STAGES))

    async def worker() -> None:
        for _ in numbers:
            await _build(executor, spec, tree)

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(worker())


async def _build(executor: LocalExecutor, spec: StageSpec, tree: TreeId) -> None:
    build = BuildId("me/app", spec.name, "0" * 64, "1" * 64)
    outcome = await executor.run(BuildRequest(build, spec, tree), lambda _: None)
    assert outcome.failure is None
