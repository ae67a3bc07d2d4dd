"""The metrics of a real engine: true, documented, bounded, and to Prometheus' own taste."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from datakit_ci import Config, Project, TargetTerms, Term, shell
from datakit_ci.crew import Crew, WorkerState
from datakit_ci.engine import Engine
from datakit_ci.executors.base import BuildRequest, LostBuild
from datakit_ci.metadata import BRANCH
from datakit_ci.monitoring import Figures
from datakit_ci.outcome import Outcome
from datakit_ci.process import Sink
from datakit_ci.state import BuildId
from datakit_ci.tally import Tally
from datakit_ci.target import Target
from datakit_core.client.api import Database
from tests.support.databases import BACK_ENDS
from tests.support.executors import ScriptedExecutor
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("nonblocking")

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"

lint, unit, lost = shell("lint", "lint"), shell("unit", "unit"), shell("lost", "lost", pool="net")


def jobs(target: TargetTerms) -> Mapping[str, Term[object]]:
    return {"lint": lint(target.source), "unit": unit(target.source), "lost": lost(target.source)}


CONFIG = Config(projects=[Project("me/app", jobs)], pools={"cpu": 2, "net": 3})
NARROW = Config(projects=[Project("me/app", jobs)], pools={"cpu": 1, "net": 3})


class Monitored:
    """An engine, what it tells, and the database that it works on."""

    def __init__(self, database: Database, engine: Engine, figures: Figures) -> None:
        self.database = database
        self.engine = engine
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(figures)

    @property
    def page(self) -> str:
        return generate_latest(self.registry).decode()

    @property
    def figures(self) -> dict[str, float]:
        """Every sample by name and labels."""
        return {
            " ".join([sample.name, *(f"{k}={v}" for k, v in sorted(sample.labels.items()))]): (
                sample.value
            )
            for family in text_string_to_metric_families(self.page)
            for sample in family.samples
        }

    async def until(self, name: str, value: float) -> None:
        """Wait until a figure is this one."""
        await until(lambda: self.figures.get(name) == value)

    async def push(self, *branches: str, content: bytes = b"1") -> None:
        """Move branches of the project to a commit with a file of this content."""
        async with self.database.transaction("source") as transaction:
            await transaction.write("file", content)
            head = await transaction.commit("A change")
        async with self.database.transaction(BRANCH) as transaction:
            for name in branches:
                path = f"{Target('me/app', 'heads', name).path}/head"
                await transaction.write(path, f"{head}\n".encode())
            await transaction.commit("Move")


async def fail(request: BuildRequest, log: Sink) -> Outcome:
    return Outcome(failure="two tests failed", exit_status=1)


async def lose(request: BuildRequest, log: Sink) -> Outcome:
    raise LostBuild("the machine is gone")


@asynccontextmanager
async def monitored(path: Path, config: Config | None = None) -> AsyncIterator[Monitored]:
    async with BACK_ENDS["local"](path / "db.git") as database:
        tally = Tally()
        figures = Figures(tally)
        executor = ScriptedExecutor(database)
        executor.behaviours |= {"unit": fail, "lost": lose}
        async with (
            Engine(database, config or CONFIG, executor, path / "spool", tally=tally) as engine,
            asyncio.TaskGroup() as group,
        ):
            tasks = [
                group.create_task(engine.run()),
                group.create_task(figures.follow(engine, lambda: 2.5)),
            ]
            yield Monitored(database, engine, figures)
            for task in tasks:
                task.cancel()


async def test_what_became_of_builds_and_targets_is_counted(tmp_path: Path) -> None:
    async with monitored(tmp_path) as it:
        await it.push("main")
        await it.engine.idle()
        await it.until("datakit_ci_jobs status=error", 1)
        figures = it.figures
    prefix = "datakit_ci_builds_total outcome"
    assert figures[f"{prefix}=passed project=me/app stage=lint"] == 1
    assert figures[f"{prefix}=failed project=me/app stage=unit"] == 1
    assert figures[f"{prefix}=lost project=me/app stage=lost"] == 1
    assert figures["datakit_ci_jobs status=success"] == 1
    assert figures["datakit_ci_jobs status=failure"] == 1
    assert figures["datakit_ci_targets project=me/app status=error"] == 1
    assert figures["datakit_ci_build_seconds_count pool=cpu"] == 2
    assert figures["datakit_ci_build_wait_seconds_count pool=net"] == 1
    assert figures["datakit_ci_build_seconds_bucket le=+Inf pool=cpu"] == 2
    assert figures["datakit_ci_log_bytes_total"] > 0
    assert figures["datakit_ci_evaluation_seconds_count"] >= 1
    assert figures["datakit_ci_published_total"] >= 1
    assert figures["datakit_ci_pool_capacity pool=net"] == 3
    assert figures["datakit_ci_pool_busy pool=cpu"] == 0
    assert figures["datakit_ci_database_away_seconds"] == 2.5


async def test_what_the_cache_serves_is_a_hit_and_no_run(tmp_path: Path) -> None:
    async with monitored(tmp_path) as it:
        for content, misses in (b"1", 3), (b"2", 6):
            await it.push("main", content=content)
            await it.until("datakit_ci_lookup_seconds_count outcome=miss", misses)
            await it.engine.idle()
        await it.push("main", content=b"1")
        await it.until("datakit_ci_lookup_seconds_count outcome=miss", 7)
        await it.engine.idle()
        figures = it.figures
    hits = figures["datakit_ci_lookup_seconds_count outcome=hit"]
    assert hits == 2, "a lost build is no result, and is a miss again"
    assert figures["datakit_ci_builds_total outcome=passed project=me/app stage=lint"] == 2


async def test_a_target_that_is_gone_is_not_counted_any_more(tmp_path: Path) -> None:
    async with monitored(tmp_path) as it:
        await it.push("main", "topic")
        await it.until("datakit_ci_jobs status=success", 2)
        async with it.database.transaction(BRANCH) as transaction:
            await transaction.remove(Target("me/app", "heads", "topic").path)
            await transaction.commit("Delete")
        await it.until("datakit_ci_jobs status=success", 1)
        counts = {name: value for name, value in it.figures.items() if "ci_targets" in name}
    assert sum(counts.values()) == 1


async def test_the_workers_of_a_cluster_are_counted(tmp_path: Path) -> None:
    builds = (BuildId("p", "s", "0" * 64, "1" * 64),)
    works = WorkerState("one", pools={"cpu": 4}, running=builds, cache=3000)
    other = WorkerState("two", pools={"cpu": 2}, cache=500, refusal="it is old")
    crew = Crew((works, other), where="farm", interrupted=7)
    async with monitored(tmp_path, replace(CONFIG, pools={"net": 3})) as it:
        await it.push("main")
        await it.until("datakit_ci_jobs status=error", 1)
        assert "datakit_ci_workers state=busy" not in it.figures
        it.engine.employ(crew)
        figures = it.figures
    for state, number in (("busy", 1), ("idle", 0), ("refused", 1)):
        assert figures[f"datakit_ci_workers state={state}"] == number
    assert figures["datakit_ci_worker_units pool=cpu"] == 4
    assert figures["datakit_ci_worker_builds"] == 1
    assert figures["datakit_ci_worker_cache_bytes"] == 3500
    assert figures["datakit_ci_builds_interrupted_total"] == 7
    assert figures["datakit_ci_pool_capacity pool=cpu"] == 4, "as the pipeline does not say it"


async def test_builds_that_wait_are_a_queue(tmp_path: Path) -> None:
    released = asyncio.Event()

    async def hold(request: BuildRequest, log: Sink) -> Outcome:
        await released.wait()
        return await fail(request, log)

    async with BACK_ENDS["local"](tmp_path / "db.git") as database:
        executor = ScriptedExecutor(database)
        executor.behaviours |= {"lint": hold, "unit": hold, "lost": fail}
        figures = Figures(Tally())
        async with (
            Engine(database, NARROW, executor, tmp_path / "spool") as engine,
            asyncio.TaskGroup() as group,
        ):
            tasks = [
                group.create_task(engine.run()),
                group.create_task(figures.follow(engine, lambda: 0)),
            ]
            it = Monitored(database, engine, figures)
            await it.push("main")
            await it.until("datakit_ci_pool_queue pool=cpu", 1)
            assert it.figures["datakit_ci_pool_busy pool=cpu"] == 1
            released.set()
            await engine.idle()
            assert it.figures["datakit_ci_pool_queue pool=cpu"] == 0
            for task in tasks:
                task.cancel()


async def test_every_metric_of_the_engine_is_documented_and_nothing_else(tmp_path: Path) -> None:
    async with monitored(tmp_path) as it:
        it.engine.employ(Crew(where="farm"))
        await it.push("main")
        await it.engine.idle()
        served = dict(re.findall(r"^# TYPE (\w+) (\w+)$", it.page, re.MULTILINE))
    rows = re.findall(r"^\| `(datakit_ci_\w+)` \| (\w+) \|", DOCUMENT.read_text(), re.MULTILINE)
    assert dict(rows) == served


@pytest.mark.foreign
async def test_promtool_finds_nothing_to_complain_of(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    async with monitored(tmp_path) as it:
        await it.push("main")
        await it.engine.idle()
        page = it.page
    done = await asyncio.to_thread(
        subprocess.run,
        [promtool, "check", "metrics"],
        input=page,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout + done.stderr, done.returncode) == ("", 0)
