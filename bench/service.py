"""A running engine with a pipeline of 200 stages: ``python -m bench service``.

Each stage reads a file of its own, and builds take no time: measured is all the rest. A head moves
to a commit that touches nothing that a stage reads, or one file of them: from the commit of the
head to the target's state, and the processor time of that and of the statuses that follow. And how
long it takes to find one of 10,000 results of one stage, and that there is none.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bench.targets import Instant, evaluated, point, running
from datakit_ci import Config, Project, TargetTerms, Term, shell
from datakit_ci.cache import Cache
from datakit_ci.decisions import add_result
from datakit_ci.engine import Engine
from datakit_ci.meta import Meta
from datakit_ci.need import Build
from datakit_ci.search import Search
from datakit_ci.spec import StageSpec
from datakit_ci.state import BuildId
from datakit_ci.target import Target
from datakit_ci.trace import Asker, declared, trace_key
from datakit_core.client.api import CommitId, Transaction
from datakit_core.client.local import LocalDatabase
from datakit_core.store import Durability, Store

__all__ = ["main"]

_STAGES = 200
_MOVES = 21
_RESULTS = 10_000
_LOOKUPS = 500

_TARGET = Target("me/app", "heads", "main")


def main() -> None:
    """Print both tables."""
    with tempfile.TemporaryDirectory(prefix="datakit-bench-") as scratch:
        asyncio.run(_run(Path(scratch)))


async def _run(scratch: Path) -> None:
    async with Store.open(scratch / "db.git", create=True, durability=Durability.RELAXED) as store:
        database = LocalDatabase(store)
        await _measure_moves(database, scratch)
        await _measure_lookups(database)


async def _measure_moves(database: LocalDatabase, scratch: Path) -> None:
    stages = [shell(f"s{number}", "true", inputs=[f"in/{number}"]) for number in range(_STAGES)]

    def jobs(target: TargetTerms) -> Mapping[str, Term[object]]:
        return {stage.name: stage(target.source) for stage in stages}

    executor, config = Instant(), Config(projects=[Project(_TARGET.project, jobs)])
    files = {f"in/{number}": b"0" for number in range(_STAGES)}
    await point(database, {_TARGET: await _source(database, files)})
    async with running(database, config, executor, scratch) as (engine, _):
        print(f"milliseconds after a head has moved, {_STAGES} stages, {executor.builds} builds")
        print(f"  {'':44} {'state':>8} {'processor':>10}")
        for title, path in ("nothing that is read", "VERSION"), ("what one stage reads", "in/0"):
            costs = []
            for number in range(_MOVES):
                head = await _source(database, {path: f"{number} {path}".encode()})
                costs.append(await _move(database, engine, head))
            seconds, used = (median(column) * 1000 for column in zip(*costs, strict=True))
            print(f"  touches {title:36} {seconds:8.1f} {used:10.1f}")


async def _move(database: LocalDatabase, engine: Engine, head: CommitId) -> tuple[float, float]:
    """Seconds until the target's state is known, and of the processor until all is done."""
    used = time.process_time()
    await point(database, {_TARGET: head})
    began = time.perf_counter()
    await evaluated(engine, _TARGET, head)
    seconds = time.perf_counter() - began
    await engine.idle()
    return seconds, time.process_time() - used


async def _source(database: LocalDatabase, files: Mapping[str, bytes]) -> CommitId:
    async with database.transaction("source") as transaction:
        for path, data in files.items():
            await transaction.write(path, data)
        return await transaction.commit("Edit")


async def _measure_lookups(database: LocalDatabase) -> None:
    spec = shell("one", "true", inputs=["in"]).spec
    cache = Cache(database)
    needs = [await _need(database, spec, number) for number in range(_RESULTS + _LOOKUPS)]
    await _record(database, cache, needs[:_RESULTS])
    print(f"microseconds to look up one of {_RESULTS} results")
    for title, some in (
        ("one that is there", needs[:: _RESULTS // _LOOKUPS]),
        ("one that is not there", needs[_RESULTS:]),
    ):
        search = Search(database, cache)
        began = time.perf_counter()
        for need in some:
            await search.find(need)
        print(f"  {title:44} {(time.perf_counter() - began) / len(some) * 1e6:8.0f}")


async def _need(database: LocalDatabase, spec: StageSpec, number: int) -> Build:
    return Build("me/app", spec, await database.import_tree({"in/0": str(number).encode()}))


async def _record(database: LocalDatabase, cache: Cache, needs: list[Build]) -> None:
    """Record all in one commit, as if they had been recorded one after the other."""
    first = await cache.name(needs[0])
    async with database.transaction(first.branch) as transaction:
        for need in needs:
            await _add(database, transaction, need)
        await transaction.commit_if(transaction.base, "Many results")


async def _add(database: LocalDatabase, transaction: Transaction, need: Build) -> None:
    seen = await Asker(database, need.input).observe(declared(need.spec).questions)
    build = BuildId(
        need.project, need.spec.name, need.spec.static_digest(need.project), trace_key(seen)
    )
    now = datetime.now(UTC)
    meta = Meta(need.spec.command, need.input, now, now, now, "none", 0)
    await transaction.write(f"{build.directory}/meta.json", meta.to_bytes())
    trace = build.directory.rpartition("/runs/")[0] + "/trace"
    await add_result(transaction, trace, seen, build.key)
