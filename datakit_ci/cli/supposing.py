"""``datakit-ci what-if``: what another pipeline would make of the targets that there are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from datakit_ci.cli.options import PipelineFile, own_database
from datakit_core.cli.work import Json
from datakit_core.errors import ConfigError

if TYPE_CHECKING:  # slow to import
    from datakit_ci.forecast import Forecast
    from datakit_ci.state import JobState
    from datakit_ci.whatif import OutcomeChange, Verdict

__all__ = ["commands"]

commands = typer.Typer()

_INTERRUPTED = 130


@commands.command(name="what-if")
def what_if(
    pipeline: PipelineFile,
    *,
    git: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="The repository with targets and results; a server may have it. "
            "Default: .datakit/database.git in the checkout of the current directory.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            help="Only this one, USER/REPO/heads/NAME and so on; may be repeated.",
            show_default=False,
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", "-j", min=1, help="Units of the pool cpu; by default one a processor."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would have to run.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run another pipeline on all targets, and list the jobs that come to something else.

    It runs in a scratch copy: nothing is written to the database, and no status is published. The
    exit status is 0 if no job changes, and 1 if any does.
    """
    import asyncio

    from datakit_ci.target import Target
    from datakit_ci.whatif import Supposition, forecast_all, run_all

    repository = git or own_database()
    if repository is None:
        raise ConfigError("there is no database here; give --git PATH")
    targets = tuple(Target.named(text) for text in target or ())
    supposition = Supposition(pipeline.absolute(), repository.absolute(), targets, jobs)
    try:
        if dry_run:
            answers = asyncio.run(forecast_all(supposition))
            for forecast, changes in answers:
                _show_forecast(forecast, changes, as_json=as_json)
            changed = any(changes for _, changes in answers)
        else:
            verdict = asyncio.run(run_all(supposition))
            _show_verdict(verdict, as_json=as_json)
            changed = bool(verdict.changes)
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None
    raise typer.Exit(1 if changed else 0)


def _show_forecast(forecast: Forecast, changes: Sequence[OutcomeChange], *, as_json: bool) -> None:
    from datakit_ci.preview import preview_lines, preview_record

    if as_json:
        record = {**preview_record(forecast), "changes": [_record(each) for each in changes]}
        typer.echo(json.dumps(record))
        return
    typer.echo(f"{forecast.target.project}/{forecast.target.short}")
    for each in changes:
        typer.echo(f"  {_line(each)}")
    for line in preview_lines(forecast, served=False):
        typer.echo(f"  {line}")


def _show_verdict(verdict: Verdict, *, as_json: bool) -> None:
    for each in verdict.changes:
        if as_json:
            typer.echo(json.dumps(_record(each)))
            continue
        typer.echo(f"{each.target.project}/{each.target.short}  {_line(each)}")
        for line in each.log.splitlines():
            typer.echo(f"    {line}")
    if not as_json:
        typer.echo(
            f"{len(verdict.changes)} of {verdict.jobs} jobs of {verdict.targets} targets "
            f"change; {verdict.ran} builds were run"
        )


def _line(each: OutcomeChange) -> str:
    said = "" if each.after is None else each.after.description
    return f"{each.job}: {_word(each.before)} -> {_word(each.after)}  {said}".rstrip()


def _word(job: JobState | None) -> str:
    return "none" if job is None else job.status.value


def _record(each: OutcomeChange) -> dict[str, object]:
    def state(job: JobState | None) -> dict[str, str] | None:
        return None if job is None else {"status": job.status.value, "description": job.description}

    return {
        "target": f"{each.target.project}/{each.target.short}",
        "job": each.job,
        "before": state(each.before),
        "after": state(each.after),
        "log": each.log or None,
    }
