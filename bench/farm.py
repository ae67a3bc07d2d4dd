"""An engine with a hundred workers, which only pretend to build: ``python -m bench farm``.

What is measured is the engine: it evaluates, looks results up, starts builds, records what comes
of them, and publishes statuses, on a database of its own. A build sleeps, says a line, and makes a
file. Twenty projects with as many targets as it takes, each a commit of its own with five jobs.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from bench.targets import point, running
from datakit_ci import Config, Project, TargetTerms, Term, shell
from datakit_ci.executors.base import BuildRequest
from datakit_ci.outcome import Outcome
from datakit_ci.process import Sink
from datakit_ci.target import Target
from datakit_core.client.api import CommitId, Database
from datakit_core.client.local import LocalDatabase
from datakit_core.store import Store

__all__ = ["Pretending", "main"]

_WORKERS = 100
_PROJECTS = 20
_JOBS = 5
_RUNS = ((0.0, 1000), (1.0, 1000), (5.0, 400), (30.0, 200))
"""How long a build takes, and how many there are."""


class Pretending:
    """Workers that do nothing for a while.

    Attributes:
        builds: How many have been started.
        first: When the first one was, by ``time.perf_counter``.
        last: When the last one was: until then something waited for a worker.
    """

    name = "pretending"

    def __init__(self, database: Database, seconds: float) -> None:
        """Take ``seconds`` for a build, up to a half more or less."""
        self.builds = 0
        self.first = self.last = 0.0
        self._running = 0
        self._busy = 0.0
        self._busy_at_last = 0.0
        self._changed = 0.0
        self._random = random.Random(0)
        self._database = database
        self._seconds = seconds

    @property
    def busy(self) -> float:
        """How many workers were busy on average while something waited for one."""
        return self._busy_at_last / (self.last - self.first)

    async def run(self, request: BuildRequest, log: Sink) -> Outcome:
        """Say a line, wait, and make a file."""
        self._count(1)
        self.builds += 1
        self.first, self.last = self.first or self._changed, self._changed
        self._busy_at_last = self._busy
        log(b"at work\n")
        await asyncio.sleep(self._seconds * self._random.uniform(0.5, 1.5))
        output = await self._database.import_tree({"made": request.build.path.encode()})
        self._count(-1)
        return Outcome(output=output, exit_status=0)

    def _count(self, change: int) -> None:
        now = time.perf_counter()
        self._busy += self._running * (now - self._changed)
        self._running, self._changed = self._running + change, now


def main() -> None:
    """Print the table."""
    print(f"{_WORKERS} workers in simulation, {_PROJECTS} projects, {_JOBS} jobs for each target")
    print("  build    builds   elapsed   builds/s   processor of the engine, each   workers busy")
    for seconds, builds in _RUNS:
        with tempfile.TemporaryDirectory(prefix="datakit-bench-") as scratch:
            asyncio.run(_run(Path(scratch), seconds, builds))


async def _run(scratch: Path, seconds: float, builds: int) -> None:
    async with Store.open(scratch / "db.git", create=True) as store:
        database = LocalDatabase(store)
        executor = Pretending(database, seconds)
        await point(database, await _sources(database, builds // _JOBS))
        processor = time.process_time()
        async with running(database, _config(), executor, scratch) as (_, elapsed):
            processor = time.process_time() - processor
    assert executor.builds == builds
    busy = f"{executor.busy / _WORKERS:.0%}" if seconds else ""
    print(
        f"  {seconds:4.0f} s {builds:9} {elapsed:7.1f} s {builds / elapsed:10.1f}"
        f" {processor / builds * 1000:28.1f} ms {busy:>14}"
    )


def _config() -> Config:
    stages = [shell(f"s{n}", "true") for n in range(_JOBS)]

    def jobs(target: TargetTerms) -> Mapping[str, Term[object]]:
        return {stage.name: stage(target.source) for stage in stages}

    projects = [Project(f"me/p{n:02}", jobs) for n in range(_PROJECTS)]
    return Config(projects=projects, pools={"cpu": _WORKERS})


async def _sources(database: LocalDatabase, targets: int) -> Mapping[Target, CommitId]:
    """Targets, each a commit of its own."""
    heads = {}
    for number in range(targets):
        target = Target(f"me/p{number % _PROJECTS:02}", "heads", f"topic/{number}")
        async with database.transaction(f"source-{target.project}") as transaction:
            await transaction.write("VERSION", target.path.encode())
            heads[target] = await transaction.commit(f"Version {number}")
    return heads
