"""``datakit-ci run``: a pipeline on the repository around the current directory, in a terminal.

Results are kept in the repository's own ``.datakit``, so that the next run starts warm; if a
service has that, the run starts cold, in a temporary database. Nothing is published.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.text import Text

from datakit_ci.checkout import Checkout, Source
from datakit_ci.engine import Engine
from datakit_ci.executors.base import BuildRequest, Executor
from datakit_ci.executors.local import LocalExecutor
from datakit_ci.heads import FixedHeads
from datakit_ci.meta import duration
from datakit_ci.outcome import Outcome
from datakit_ci.process import Sink
from datakit_ci.progress import LineProgress, Progress, TableProgress, mark, summary
from datakit_ci.project import Config, load_pipeline
from datakit_ci.state import BuildId, BuildState, JobState, Status
from datakit_ci.target import Target
from datakit_core.client.api import Database
from datakit_core.client.local import open_local
from datakit_core.errors import ConfigError, RepositoryError

__all__ = ["run_once"]

_DATABASE = "database.git"
_LOG_LINES = 200
"""Of a failed build's log, the last lines that are shown."""

_INTERRUPTED = 130
"""What shells report of a program that Ctrl-C ended: 128 + SIGINT."""


def run_once(pipeline: Path, short: str, *, verbose: bool) -> int:
    """Run the jobs of one target to their end and show how that went.

    Args:
        pipeline: The pipeline's file.
        short: ``heads/NAME`` or ``tags/NAME``; empty: what is checked out.
        verbose: Show what stages print while they run.

    Returns:
        The exit status: 0 if all jobs passed, 1 if not, 130 if interrupted.

    Raises:
        DatakitError: There is nothing to run, or the pipeline is broken.
    """
    console = Console(highlight=False, emoji=False, markup=False)
    checkout = Checkout.around(Path.cwd())
    source = checkout.source(short)
    config = load_pipeline(pipeline)
    try:
        return asyncio.run(_run(_Run(console, checkout, source, config, pipeline, verbose)))
    except KeyboardInterrupt:
        console.print("interrupted; all builds were stopped")
        return _INTERRUPTED


@dataclass(frozen=True, slots=True)
class _Run:
    """What was asked for."""

    console: Console
    checkout: Checkout
    source: Source
    config: Config
    pipeline: Path
    verbose: bool


@dataclass(frozen=True, slots=True)
class _Home:
    """Where a run keeps its things.

    Attributes:
        database: The open database.
        repository: Its repository.
    """

    database: Database
    repository: Path

    @property
    def work(self) -> Path:
        """Where builds and logs go; the same place as in a service on this database."""
        return self.repository.with_name(f"{self.repository.stem}.work")


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


async def _run(run: _Run) -> int:
    async with _home(run) as home:
        commit = await home.database.fetch(str(run.checkout.root), run.source.ref)
        subject = (await home.database.commit(commit)).message.partition("\n")[0]
        run.console.print(f"{run.source.short} at {commit[:12]}: {subject}", soft_wrap=True)
        targets = [Target.parse(project.id, run.source.short) for project in run.config.projects]
        async with LocalExecutor(
            home.database, home.repository, run.pipeline, home.work / "builds"
        ) as local:
            tee = _Tee(local)
            async with Engine(
                home.database,
                run.config,
                tee,
                home.work / "logs",
                heads=FixedHeads(dict.fromkeys(targets, commit)),
                publish=False,
            ) as engine:
                return await _session(run, engine, tee, targets)


@asynccontextmanager
async def _home(run: _Run) -> AsyncIterator[_Home]:
    """The repository's own database if it is free, else a temporary one."""
    async with AsyncExitStack() as stack:
        try:
            directory = run.checkout.make_state()
            database = await stack.enter_async_context(_open(directory))
        except (ConfigError, RepositoryError) as error:
            note = f"note: {error}; using a temporary database"
            run.console.print(note, style="dim", soft_wrap=True)
            directory = Path(stack.enter_context(TemporaryDirectory(prefix="datakit-")))
            database = await stack.enter_async_context(_open(directory))
        yield _Home(database, directory / _DATABASE)


def _open(directory: Path) -> AbstractAsyncContextManager[Database]:
    return open_local(directory / _DATABASE, create=True)


async def _session(run: _Run, engine: Engine, tee: _Tee, targets: Sequence[Target]) -> int:
    """Let the engine work until nothing is left to do, and show that."""
    tee.progress = progress = _progress(run, tee)
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
            await _show_log(run.console, engine, build)
    run.console.print(summary([_row(job, builds, tee) for job in jobs]))
    return 0 if all(job.status is Status.SUCCESS for job in jobs) else 1


def _progress(run: _Run, tee: _Tee) -> Progress:
    can_draw = run.console.is_terminal and not run.console.is_dumb_terminal
    if can_draw and not run.verbose:
        return TableProgress(run.console, tee.ran)
    return LineProgress(run.console, verbose=run.verbose)


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


def _row(
    job: JobState, builds: Mapping[BuildId, BuildState], tee: _Tee
) -> tuple[JobState, str, str]:
    """A job's line in the summary: how long its own build took, and when that was."""
    own = builds.get(job.builds[-1]) if job.builds else None
    if job.status is Status.BLOCKED or own is None or own.started is None or own.finished is None:
        return job, "", ""
    return job, duration(own.started, own.finished), "" if own.id in tee.started else "cached"


async def _show_log(console: Console, engine: Engine, build: BuildState) -> None:
    """Print the end of a failed build's log."""
    console.rule(Text.assemble(mark(build.status), f" {build.id.stage}: {build.reason}"))
    content = b"".join([piece async for piece in engine.follow_log(build.id)])
    lines = content.decode(errors="replace").splitlines()
    if len(lines) > _LOG_LINES:
        console.print(f"({len(lines) - _LOG_LINES} lines before these)", style="dim")
    for line in lines[-_LOG_LINES:]:
        console.print(Text.from_ansi(line), soft_wrap=True)
    console.rule()
