"""``datakit-ci what-if``: another pipeline on all targets that are recorded, and what would change.

The pipeline is run in a scratch copy of the database: results that are there are used, what is
missing is run, and nothing is written to the database itself. Flows are left out, dangerous stages
wait for a confirmation that never comes, and no status is published.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from datakit_ci.cache import Cache
from datakit_ci.docket import APPROVED, Docket
from datakit_ci.docket import BRANCH as CONTROL
from datakit_ci.engine import Engine
from datakit_ci.executors.local import LocalExecutor
from datakit_ci.forecast import Forecast, Forecaster
from datakit_ci.heads import FixedHeads, MetadataHeads
from datakit_ci.ledger import read_target
from datakit_ci.metadata import BRANCH
from datakit_ci.policy import Level
from datakit_ci.project import Config, load_pipeline
from datakit_ci.rehearsal import rehearsal
from datakit_ci.rulings import Rulings
from datakit_ci.scratch import scratch_copy
from datakit_ci.spec import DEFAULT_POOL
from datakit_ci.state import JobState, Status
from datakit_ci.target import Target
from datakit_core.client.api import CommitId, Database
from datakit_core.client.local import open_local
from datakit_core.client.readonly import open_read_only
from datakit_core.errors import ConfigError

__all__ = ["OutcomeChange", "Supposition", "Verdict", "forecast_all", "run_all"]

_LOG_LINES = 20
"""Of the log of a build that fails now, the last lines."""


@dataclass(frozen=True, slots=True)
class Supposition:
    """What is to be found out.

    Attributes:
        pipeline: The pipeline's file.
        database: The repository with targets and results.
        targets: The only ones to look at; none: all.
        processors: Units of the pool ``cpu``; none: as many as usual.
    """

    pipeline: Path
    database: Path
    targets: Sequence[Target] = ()
    processors: int | None = None

    def config(self) -> Config:
        """The pipeline, without what reaches beyond the scratch copy.

        Raises:
            ConfigError: It is broken.
        """
        config = load_pipeline(self.pipeline)
        pools = dict(config.pools)
        if self.processors is not None:
            pools[DEFAULT_POOL] = self.processors
        confirm = Level.DANGEROUS if config.confirm is None else config.confirm
        return replace(config, pools=pools, confirm=confirm, flows=())


@dataclass(frozen=True, slots=True)
class OutcomeChange:
    """A job that comes to something else.

    Attributes:
        target: Whose job it is.
        job: Its name.
        before: What is recorded of it at the target's head; none if nothing is.
        after: What it comes to; none if there is no such job any more.
        log: The end of the log of its build, if that failed.
    """

    target: Target
    job: str
    before: JobState | None
    after: JobState | None
    log: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer.

    Attributes:
        targets: How many were looked at.
        jobs: How many jobs they have now.
        ran: How many builds had to be run.
        changes: The jobs that come to something else, by target.
    """

    targets: int
    jobs: int
    ran: int
    changes: tuple[OutcomeChange, ...]


async def run_all(supposition: Supposition) -> Verdict:
    """Run the pipeline on all targets, and compare.

    Raises:
        ConfigError: The pipeline is broken, or there are no targets.
        RepositoryError: The database cannot be read.
    """
    config = supposition.config()
    with open_read_only(supposition.database) as recorded:
        heads = await _heads(recorded, config, supposition)
        branches = await recorded.branches()
        with scratch_copy(supposition.database, branches) as scratch:
            await _copy_approvals(recorded, scratch)
            async with _engine(scratch, config, supposition, heads) as engine:
                await _until_idle(engine)
                changes: list[OutcomeChange] = []
                jobs = 0
                for target in heads:
                    state = engine.target(target)
                    if state is not None and state.problem:
                        raise ConfigError(f"{target.path}: {state.problem}")
                    after = () if state is None else state.jobs
                    jobs += len(after)
                    found = _compare(target, await _before(recorded, target, heads[target]), after)
                    changes += [await _with_log(each, engine) for each in found]
            ran = await _new_commits(scratch, branches)
    return Verdict(len(heads), jobs, ran, tuple(changes))


async def forecast_all(
    supposition: Supposition,
) -> Sequence[tuple[Forecast, Sequence[OutcomeChange]]]:
    """For each target what would have to run, and the jobs that are known to change."""
    config = supposition.config()
    with open_read_only(supposition.database) as recorded:
        heads = await _heads(recorded, config, supposition)
        branches = await recorded.branches()
        async with rehearsal(supposition.database, branches) as imports:
            forecaster = Forecaster(
                imports.database,
                Cache(imports.database),
                heads,
                await _approvals(recorded),
                config.threshold,
                datetime.now(UTC),
                imports.draft,
            )
            answers = []
            for target, head in heads.items():
                forecast = await forecaster.forecast(config, target)
                before = await _before(recorded, target, head)
                found = _compare(target, before, forecast.jobs)
                known = [each for each in found if each.after is None or each.after.status.is_final]
                answers.append((forecast, known))
    return answers


async def _approvals(database: Database) -> Rulings:
    """Which heads of forks people have let through; what else they have decided does not hold."""
    docket = Docket(database, lambda _: None)
    await docket.load()
    return Rulings(approved=docket.rulings.approved)


async def _copy_approvals(recorded: Database, scratch: Path) -> None:
    """Have them hold in the scratch copy as well."""
    head = await recorded.head(CONTROL)
    if head is None:
        return
    approved = await recorded.entry((await recorded.commit(head)).tree, APPROVED)
    if approved is None:
        return
    async with open_local(scratch) as database, database.transaction(CONTROL) as transaction:
        await transaction.graft(APPROVED, approved)
        await transaction.commit("Approvals")


async def _heads(
    database: Database, config: Config, supposition: Supposition
) -> Mapping[Target, CommitId]:
    """The targets to look at, sorted."""
    metadata = await database.head(BRANCH)
    if metadata is None:
        raise ConfigError(
            f"no targets are recorded in {supposition.database}; "
            "give the database of a service with --git"
        )
    root = (await database.commit(metadata)).tree
    known = await MetadataHeads(database).read(root)
    projects = {project.id for project in config.projects}
    for target in supposition.targets:
        if target not in known:
            raise ConfigError(f"there is no target {target.path} in {supposition.database}")
    wanted = supposition.targets or sorted(known)
    found = {target: known[target] for target in wanted if target.project in projects}
    if not found:
        raise ConfigError("there are no targets of the pipeline's projects: " + ", ".join(projects))
    return found


@asynccontextmanager
async def _engine(
    scratch: Path, config: Config, supposition: Supposition, heads: Mapping[Target, CommitId]
) -> AsyncIterator[Engine]:
    work = scratch.with_name("work")
    async with (
        open_local(scratch) as database,
        LocalExecutor(database, scratch, supposition.pipeline, work / "builds") as executor,
        Engine(
            database, config, executor, work / "logs", heads=FixedHeads(heads), publish=False
        ) as engine,
    ):
        yield engine


async def _until_idle(engine: Engine) -> None:
    async with asyncio.TaskGroup() as group:
        running = group.create_task(engine.run())
        await engine.idle()
        running.cancel()


async def _before(database: Database, target: Target, head: CommitId) -> Sequence[JobState]:
    """What is recorded of the target at this very commit."""
    state = await read_target(database, target)
    return () if state is None or state.head != head else state.jobs


def _compare(
    target: Target, before: Sequence[JobState], after: Sequence[JobState]
) -> list[OutcomeChange]:
    """The jobs whose status differs, in the new order; those that are gone last."""
    old = {job.name: job for job in before}
    new = {job.name: job for job in after}
    return [
        OutcomeChange(target, name, old.get(name), new.get(name))
        for name in dict.fromkeys([*new, *old])
        if _status(old.get(name)) is not _status(new.get(name))
    ]


def _status(job: JobState | None) -> Status | None:
    return None if job is None else job.status


async def _with_log(change: OutcomeChange, engine: Engine) -> OutcomeChange:
    after = change.after
    if after is None or after.status is not Status.FAILURE or not after.builds:
        return change
    content = b"".join([piece async for piece in engine.follow_log(after.builds[-1])])
    lines = content.decode(errors="replace").splitlines()
    return replace(change, log="\n".join(lines[-_LOG_LINES:]))


async def _new_commits(scratch: Path, before: Mapping[str, CommitId]) -> int:
    """How many results were added to the scratch copy."""
    count = 0
    with open_read_only(scratch) as database:
        for branch, head in (await database.branches()).items():
            if branch.startswith("results/"):
                async for commit in database.history(head):
                    if commit.id == before.get(branch):
                        break
                    count += 1
    return count
