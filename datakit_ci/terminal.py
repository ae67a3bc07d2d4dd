"""A run in the terminal: the engine on one target, until nothing is left to do.

Results are kept (:mod:`datakit_ci.runhome`), so that the next run starts
warm. Nothing is published.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from datakit_ci.account import account, has_colours, row
from datakit_ci.engine import Engine
from datakit_ci.executors.base import BuildRequest, Executor
from datakit_ci.heads import FixedHeads
from datakit_ci.lending import Lender
from datakit_ci.localrun import LocalRun
from datakit_ci.outcome import Outcome
from datakit_ci.process import Sink
from datakit_ci.progress import LineProgress, Progress, TableProgress, mark
from datakit_ci.runhome import RunHome, open_run_home
from datakit_ci.state import BuildId, BuildState, JobState, Status
from datakit_ci.target import Target
from datakit_ci.warming import fetch_results, is_web_address
from datakit_core.client.readonly import open_read_only
from datakit_core.errors import ConfigError
from datakit_core.store.git import without_credentials

__all__ = ["run_jobs", "show_logs"]

_LOG_LINES = 200
"""Of a failed build's log, the last lines that are shown."""

_LOG_BYTES = 1 << 20
"""How much of it is looked at for them, should they be very long."""


def run_jobs(run: LocalRun) -> int:
    """Run what is missing, and show how that goes.

    Returns:
        The exit status: 0 if all jobs passed, 1 if not.

    Raises:
        DatakitError: There is nothing to run, or the pipeline is broken.
        KeyboardInterrupt: Somebody pressed Ctrl-C; all builds were stopped.
    """
    return asyncio.run(_run(_Session(run, Console(highlight=False, emoji=False, markup=False))))


async def show_logs(
    log: Callable[[BuildId], AsyncIterator[bytes]], builds: Iterable[BuildState]
) -> None:
    """Print the ends of failed builds' logs."""
    console = Console(highlight=False, emoji=False, markup=False)
    for build in builds:
        await _show_log(console, log, build)


@dataclass(frozen=True, slots=True)
class _Session:
    """A run, and where it is shown."""

    run: LocalRun
    console: Console

    def note(self, text: str) -> None:
        """Say something about the run itself."""
        self.console.print(text, style="dim", soft_wrap=True)


class _Tee:
    """An executor that remembers what it ran, and shows what that prints."""

    def __init__(self, executor: Executor) -> None:
        self.started: dict[BuildId, None] = {}
        self.progress: Progress | None = None
        self.name = executor.name
        self._executor = executor

    async def run(self, request: BuildRequest, log: Sink) -> Outcome:
        """Run it, and show its output."""
        self.started[request.build] = None
        redactor = request.redaction.stream()

        def show(data: bytes) -> None:
            if self.progress is not None and data:
                self.progress.output(request.build.stage, data)

        def take(data: bytes) -> None:
            log(data)
            show(redactor.feed(data))

        try:
            return await self._executor.run(request, take)
        finally:
            show(redactor.finish())

    def ran(self, job: JobState) -> Sequence[str]:
        """The stages of ``job`` that were started in this run, in their order."""
        return [build.stage for build in job.builds if build in self.started]


async def _run(session: _Session) -> int:
    run = session.run
    async with open_run_home(run, session.note) as home:
        with run.snapshot.fetchable() as (url, ref):
            commit = await home.database.fetch(url, ref)
        tee = _Tee(home.executor)
        async with (
            _lender(run, home) as lender,
            Engine(
                home.database,
                run.config,
                tee,
                home.work / "logs",
                heads=FixedHeads(dict.fromkeys(run.targets, commit)),
                publish=False,
                lender=lender,
            ) as engine,
        ):
            home.listen(engine.employ, session.note)
            return await _work(session, engine, tee)


@asynccontextmanager
async def _lender(run: LocalRun, home: RunHome) -> AsyncIterator[Lender | None]:
    """Results of the other database that was named: a service's, a server's or a repository's.

    Raises:
        ConfigError: The service cannot be reached, or refuses.
        Disconnected: Nobody serves there.
        RepositoryError: The repository cannot be read.
    """
    source = run.wanted.warm
    name = without_credentials(source)
    if not source:
        yield None
    elif is_web_address(source):
        projects = [each.id for each in run.config.projects]
        copy = await fetch_results(source, projects, home.repository.with_name("warm"))
        with open_read_only(copy) as other:
            yield Lender(other, home.database, name)
    elif "://" in source:
        from datakit_core.client.remote import connect  # only few need 9P

        async with connect(source) as remote:
            yield Lender(remote, home.database, name)
    else:
        with open_read_only(Path(source)) as other:
            yield Lender(other, home.database, name)


async def _work(session: _Session, engine: Engine, tee: _Tee) -> int:
    """Let the engine work until nothing is left to do, and show that."""
    targets = session.run.targets
    tee.progress = progress = _progress(session, tee)
    with progress.shown():
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(engine.run()),
                group.create_task(_watch(engine, targets, progress)),
            ]
            await engine.idle()
            for task in tasks:
                task.cancel()
    jobs = _jobs(engine, targets)
    builds = await _builds(engine, jobs)
    for build in builds.values():
        if build.status in (Status.FAILURE, Status.ERROR):
            await _show_log(session.console, engine.follow_log, build)
    rows = [row(job, builds, tee.started.keys()) for job in jobs]
    session.console.file.write(f"{account(rows, coloured=has_colours(sys.stdout))}\n")
    return 0 if all(job.status is Status.SUCCESS for job in jobs) else 1


def _progress(session: _Session, tee: _Tee) -> Progress:
    console, verbose = session.console, session.run.wanted.verbose
    can_draw = console.is_terminal and not console.is_dumb_terminal
    if can_draw and not verbose:
        return TableProgress(console, tee.ran)
    return LineProgress(console, verbose=verbose)


async def _watch(engine: Engine, targets: Sequence[Target], progress: Progress) -> None:
    async for _ in engine.changes():
        progress.jobs(_jobs(engine, targets))


def _jobs(engine: Engine, targets: Sequence[Target]) -> list[JobState]:
    """All jobs; those of several projects with the project's name.

    Raises:
        ConfigError: The pipeline has no jobs for a target, because it is broken.
    """
    found: list[JobState] = []
    for target in targets:
        state = engine.target(target)
        if state is None:
            continue
        if state.problem:
            raise ConfigError(state.problem)
        prefix = f"{target.project} " if len(targets) > 1 else ""
        found += [replace(job, name=f"{prefix}{job.name}") for job in state.jobs]
    return found


async def _builds(engine: Engine, jobs: Sequence[JobState]) -> Mapping[BuildId, BuildState]:
    """The builds behind ``jobs``, each once."""
    names = dict.fromkeys(build for job in jobs for build in job.builds)
    states = [await engine.build(name) for name in names]
    return {state.id: state for state in states if state is not None}


async def _show_log(
    console: Console, log: Callable[[BuildId], AsyncIterator[bytes]], build: BuildState
) -> None:
    """Print the end of a failed build's log."""
    console.rule(Text.assemble(mark(build.status), f" {build.id.stage}: {build.reason}"))
    tail, before = b"", 0
    async for piece in log(build.id):
        tail += piece
        before += tail[:-_LOG_BYTES].count(b"\n")
        tail = tail[-_LOG_BYTES:]
    lines = tail.decode(errors="replace").splitlines()
    before += max(0, len(lines) - _LOG_LINES)
    if before:
        console.print(f"({before} lines before these)", style="dim")
    for line in lines[-_LOG_LINES:]:
        console.print(Text.from_ansi(line), soft_wrap=True)
    console.rule()
