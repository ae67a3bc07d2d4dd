"""Rehearsals: a scratch database in which repositories' pipelines are imported, and nothing is run.

What a pipeline in a tree says can be known only by importing it, in a process of its own. That is
no run of anything, and what comes of it is thrown away.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from datakit_ci.executors.base import BuildRequest, LostBuild
from datakit_ci.executors.local import LocalExecutor
from datakit_ci.need import Build, BuildFact
from datakit_ci.scratch import scratch_copy
from datakit_ci.state import BuildId
from datakit_core.client.api import CommitId, Database
from datakit_core.client.local import open_local

__all__ = ["Rehearsal", "rehearsal"]


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Where pipelines are imported.

    Attributes:
        database: All that the real one has, and what the imports have written.
        executor: Imports them.
    """

    database: Database
    executor: LocalExecutor

    async def draft(self, build: BuildId, need: Build) -> BuildFact:
        """What comes of importing a pipeline."""
        try:
            request = BuildRequest(build, need.spec, need.input)
            outcome = await self.executor.run(request, lambda _: None)
        except LostBuild as error:
            return BuildFact(error.status, str(error), build=build)
        if outcome.failure is not None:
            return BuildFact.failed(outcome.failure, build)
        return BuildFact.passed(outcome.output, build)


@asynccontextmanager
async def rehearsal(
    repository: Path, heads: Mapping[str, CommitId], *others: Path
) -> AsyncIterator[Rehearsal]:
    """A rehearsal on the branches ``heads`` of ``repository``; ``others`` lend it objects too."""
    with scratch_copy(repository, heads, *others) as scratch:
        work = scratch.with_name("work")
        async with (
            open_local(scratch) as database,
            LocalExecutor(database, scratch, work / "none.py", work / "builds") as executor,
        ):
            yield Rehearsal(database, executor)
