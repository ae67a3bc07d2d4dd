"""This repository's own pipeline: what it runs again after a change, and what its checks find."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from datakit_ci.engine import Engine
from datakit_ci.executors.base import BuildRequest
from datakit_ci.heads import FixedHeads
from datakit_ci.outcome import Outcome
from datakit_ci.process import Sink
from datakit_ci.stage import StageFailed
from datakit_ci.state import Status
from datakit_ci.target import Target
from datakit_ci.term import Term
from datakit_ci.trace import Tracer
from datakit_ci.tree import Tree
from datakit_core.client.api import Database
from self_ci import pipeline
from tests.support.databases import BACK_ENDS
from tests.support.executors import ScriptedExecutor

pytestmark = pytest.mark.usefixtures("nonblocking")

CHECKOUT = Path(__file__).parents[2]
MAIN = Target("datakit/datakit", "heads", "main")

FUNCTIONS = {stage.spec.name: stage.function for stage in (pipeline.links, pipeline.sizes)}

FILES = {
    "README.md": b"See [the pages](docs/page.md#top) and [elsewhere](https://example.org/x).",
    "docs/page.md": b"Back to [the start](../README.md), and the [source](../datakit_ci/b.py).",
    "datakit_core/a.py": b"a = 1\n",
    "datakit_ci/b.py": b"b = 1\n",
    "tests/t.py": b"t = 1\n",
    "web/style.css": b"",
}


class Repository:
    """A database, and what the pipeline runs for one commit after the other."""

    def __init__(self, database: Database, spool: Path) -> None:
        self._database = database
        self._spool = spool
        self._executor = ScriptedExecutor(database)
        self._executor.behaviours.update(dict.fromkeys(FUNCTIONS, self._call))

    async def ran(self, changes: Mapping[str, bytes | None] = {}) -> tuple[set[str], set[str]]:
        """Commit a change; the stages that ran for it, and the jobs that did not pass."""
        async with self._database.transaction("source") as transaction:
            for path, data in {**({} if transaction.base else FILES), **changes}.items():
                if data is None:
                    await transaction.remove(path)
                else:
                    await transaction.write(path, data)
            head = await transaction.commit("A change")
        self._executor.requests.clear()
        heads = FixedHeads({MAIN: head})
        engine = Engine(
            self._database, pipeline.config, self._executor, self._spool, heads=heads, publish=False
        )
        async with engine, asyncio.TaskGroup() as group:
            task = group.create_task(engine.run())
            await engine.idle()
            state = engine.target(MAIN)
            task.cancel()
        assert state is not None
        assert not state.problem
        images = [job for job in state.jobs if job.name.startswith("image/")]
        assert {job.description for job in images} == {"no container engine"}
        others = [job for job in state.jobs if job not in images]
        failed = {job.name for job in others if job.status is not Status.SUCCESS}
        return set(self._executor.stages), failed

    async def _call(self, request: BuildRequest, log: Sink) -> Outcome:
        """Run one of the functions, traced."""
        tracer = Tracer()
        function = FUNCTIONS[request.spec.name]
        assert function is not None
        try:
            made = await function(Tree(request.input, self._database, tracer.observe))
        except StageFailed as failure:
            return Outcome(failure=str(failure), questions=tracer.questions)
        assert isinstance(made, Tree)
        return Outcome(questions=tracer.questions)


@pytest.fixture
async def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Repository]:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody")
    async with BACK_ENDS["local"](tmp_path / "db.git") as database:
        yield Repository(database, tmp_path / "spool")


async def test_a_change_of_documents_runs_no_test_and_no_check_of_code(
    repository: Repository,
) -> None:
    everything, _ = await repository.ran()
    assert {"lint", "types", "tests", "documents", "links", "sizes", "wheel"} <= everything
    assert await repository.ran({"docs/page.md": b"Nothing."}) == ({"documents", "links"}, set())
    assert await repository.ran({"docs/page.md": FILES["docs/page.md"]}) == (set(), set())


async def test_a_change_of_code_checks_no_links(repository: Repository) -> None:
    await repository.ran()
    again, failed = await repository.ran({"datakit_ci/b.py": b"b = 2\n"})
    assert {"lint", "types", "tests", "sizes", "wheel"} <= again
    assert "links" not in again
    assert not failed


async def test_a_file_that_goes_breaks_the_links_to_it(repository: Repository) -> None:
    assert (await repository.ran())[1] == set()
    again, failed = await repository.ran({"datakit_ci/b.py": None})
    assert "links" in again
    assert failed == {"links"}


def test_the_tests_that_it_runs_need_nothing_that_it_does_not_give_them(tmp_path: Path) -> None:
    given, suites = pipeline.tests.stage.spec.inputs, pipeline.tests.axes["SUITE"]
    assert given is not None
    assert not isinstance(suites, Term)
    for name in given:
        place = CHECKOUT / name
        if place.is_dir():
            shutil.copytree(place, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(place, tmp_path)
    command = [sys.executable, "-m", "pytest", "--collect-only", "--quiet"]
    command += ["-p", "no:cacheprovider", *(f"tests/{suite}" for suite in suites)]
    collected = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert collected.returncode == 0, collected.stdout[-4000:]
