"""Builds by the ten thousand: what one costs that nobody looks at."""

from __future__ import annotations

import asyncio
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from datakit_ci import shell
from datakit_ci.builds import Builds, Reports
from datakit_ci.cache import Cache
from datakit_ci.clock import SystemClock
from datakit_ci.livelog import Pending
from datakit_ci.need import Build
from datakit_ci.runner import Runner
from datakit_ci.schedule import Scheduler
from datakit_ci.search import Finding, Search
from datakit_ci.spool import Spool
from datakit_ci.state import BuildId, BuildState, Status
from datakit_core.client.api import ObjectId, TreeId
from tests.support.clock import START

COUNT = 1000
STAGE = shell("unit", "make test")


class Results:
    """As much of a search as look-ups need: it finds all results, or none."""

    def __init__(self, *, recorded: bool) -> None:
        self._recorded = recorded

    def refresh(self, *, many: bool = False) -> None:
        """Nothing changes."""

    async def find(self, need: Build) -> Finding:
        name = self.name(need)
        if not self._recorded:
            return Finding(name)
        state = BuildState(name, Status.SUCCESS, input=need.input, queued=START, started=START)
        return Finding(name, state)

    def name(self, need: Build) -> BuildId:
        return BuildId(need.project, need.spec.name, "0" * 64, f"{need.input}{'0' * 24}")


class NoRunner:
    """Stands where builds would be run; the pool has no units, so nothing is."""


async def until_known(builds: Builds, build: BuildId) -> None:
    """Wait until it has been looked up; look-ups are begun in order, and none of them waits."""
    while builds.standing(build) is None:  # noqa: ASYNC110 - nobody tells of look-ups
        await asyncio.sleep(0)


@pytest.fixture
def measured() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.parametrize("recorded", [False, True], ids=["waiting", "recorded"])
async def test_an_idle_build_takes_less_than_4_kib_and_no_file(
    recorded: bool, tmp_path: Path, measured: None
) -> None:
    needs = [Build("me/app", STAGE.spec, TreeId(ObjectId(f"{n:040x}"))) for n in range(COUNT)]
    async with asyncio.TaskGroup() as group:
        builds = Builds(
            cast("Cache", None),
            cast("Search", Results(recorded=recorded)),
            cast("Runner", NoRunner()),
            Scheduler({"cpu": 0}),
            Spool(tmp_path),
            group,
            Reports(lambda need, fact: None, lambda build: None, lambda: None),
            SystemClock(),
        )
        before, _ = tracemalloc.get_traced_memory()
        for need in needs:
            builds.want(need)
        last = Results(recorded=True).name(needs[-1])
        await until_known(builds, last)
        after, _ = tracemalloc.get_traced_memory()
        assert (after - before) / COUNT < 4096
        assert not os.listdir(tmp_path)  # noqa: PTH208 - of an empty directory, at once
        if not recorded:
            log = builds.logs.watch(last)
            assert await anext(log) == Pending("waiting for pool cpu, which has no units")
            await log.aclose()
        for need in needs:
            builds.unwant(need)
        assert builds.standing(last) is None
