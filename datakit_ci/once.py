"""``datakit-ci run``: a pipeline on the repository around the current directory.

First it is looked what is recorded already, in a database that is only read. If a run would come
to nothing new, that is all; else the engine is loaded and runs what is missing
(:mod:`datakit_ci.terminal`).
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from datakit_ci.account import account, has_colours, row
from datakit_ci.cache import Cache
from datakit_ci.docket import Docket
from datakit_ci.forecast import Draft, Forecast, Forecaster
from datakit_ci.localrun import DATABASE, LocalRun, Wanted, prepare
from datakit_ci.preview import preview_lines, preview_record
from datakit_ci.rulings import Rulings
from datakit_ci.snapshot import Snapshot
from datakit_ci.state import JobState, Status
from datakit_core.client.api import CommitId, Database
from datakit_core.client.readonly import ReadOnlyDatabase
from datakit_core.store.objects import parse_id

__all__ = ["run_once"]

_INTERRUPTED = 130
"""What shells report of a program that Ctrl-C ended: 128 + SIGINT."""


def run_once(wanted: Wanted) -> int:
    """Run the jobs of one target to their end and show how that went; or say what would run.

    Returns:
        The exit status: 0 if all jobs passed or nothing was to be run, 1 if not, 130 if
        interrupted.

    Raises:
        DatakitError: There is nothing to run, or the pipeline is broken.
    """
    try:
        with prepare(wanted) as (run, database):
            status = asyncio.run(_from_results(run, database))
            if status is not None:
                return status
            from datakit_ci.terminal import run_jobs  # slow to import

            return run_jobs(run)
    except KeyboardInterrupt:
        _print("interrupted; all builds were stopped")
        return _INTERRUPTED


async def _from_results(run: LocalRun, database: ReadOnlyDatabase) -> int | None:
    """Show what is recorded; none if that is not all: something has to be run."""
    forecasts = await _forecasts(run, database)
    if run.wanted.as_json:
        for each in forecasts:
            extra = {"commit": run.snapshot.commit, "changed": run.snapshot.is_changed}
            _print(json.dumps({**preview_record(each), **extra}))
        return 0
    _print(await _title(run.snapshot, database))
    if run.wanted.is_dry:
        for each in forecasts:
            if len(forecasts) > 1:
                _print(f"{each.target.project}:")
            for line in preview_lines(each):
                _print(line)
        return 0
    if not all(each.is_settled for each in forecasts):
        return None
    jobs = [job for each in forecasts for job in _named(each, len(forecasts) > 1)]
    builds = {build: state for each in forecasts for build, state in each.served.items()}
    failed = [state for state in builds.values() if state.status is Status.FAILURE]
    if failed:
        from datakit_ci.terminal import show_logs  # slow to import

        await show_logs(Cache(database).log, failed)
    rows = [row(job, builds, ()) for job in jobs]
    _print(account(rows, coloured=has_colours(sys.stdout)))
    return 0 if all(job.status is Status.SUCCESS for job in jobs) else 1


async def _title(snapshot: Snapshot, database: ReadOnlyDatabase) -> str:
    """What is tested, for people."""
    if not snapshot.base:
        return f"{snapshot.short}, of which nothing is committed yet"
    commit = await database.commit(CommitId(parse_id(snapshot.base)))
    subject = commit.message.partition("\n")[0]
    changed = ", with changes that are not committed" if snapshot.is_changed else ""
    return f"{snapshot.short} at {commit.id[:12]}: {subject}{changed}"


async def _forecasts(run: LocalRun, database: ReadOnlyDatabase) -> Sequence[Forecast]:
    """Of each project; a pipeline in the repository is imported only if nothing is to be run."""
    docket = Docket(database, lambda _: None)
    await docket.load()
    looks_only = run.wanted.as_json or run.wanted.is_dry
    if not looks_only or not any(project.pipeline for project in run.config.projects):
        return await _forecast_in(run, database, docket.rulings)
    from datakit_ci.rehearsal import rehearsal  # slow to import

    snapshot, recorded = run.snapshot.repository, run.state / DATABASE
    repositories = (recorded, snapshot) if recorded.is_dir() else (snapshot,)
    async with rehearsal(repositories[0], await database.branches(), *repositories[1:]) as imports:
        return await _forecast_in(run, imports.database, docket.rulings, imports.draft)


async def _forecast_in(
    run: LocalRun, database: Database, rulings: Rulings, draft: Draft | None = None
) -> Sequence[Forecast]:
    forecaster = Forecaster(
        database,
        Cache(database),
        dict.fromkeys(run.targets, run.snapshot.commit),
        rulings,
        run.config.threshold,
        datetime.now(UTC),
        draft,
    )
    return [await forecaster.forecast(run.config, target) for target in run.targets]


def _named(forecast: Forecast, several: bool) -> Iterator[JobState]:
    """The jobs; those of several projects with the project's name."""
    for job in forecast.jobs:
        yield replace(job, name=f"{forecast.target.project} {job.name}") if several else job


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - this is what the command says
