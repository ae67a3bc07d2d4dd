"""``datakit-ci check``: a pipeline without running it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from datakit_ci.cli.options import PipelineFile

if TYPE_CHECKING:  # slow to import
    from datakit_ci.graph import Graph

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def check(
    pipeline: PipelineFile,
    *,
    target: Annotated[
        str,
        typer.Option(help="Whose jobs to show: heads/NAME, tags/NAME or pr/N.", show_default=False),
    ] = "",
    project: Annotated[
        str,
        typer.Option(
            metavar="USER/REPO",
            help="Check a pipeline that this project has in its repository: a file with jobs.",
            show_default=False,
        ),
    ] = "",
) -> None:
    """Check a pipeline and draw its graph; nothing is run.

    Without --target the jobs are also made for a tag and a pull request, so that mistakes in
    those come to light too. What is only probably a mistake is a note, and no failure.
    """
    from rich.console import Console  # slow to import

    from datakit_ci.blueprint import decode, encode
    from datakit_ci.outline import outline
    from datakit_ci.project import Config, Project, load_jobs, load_pipeline
    from datakit_ci.spec import DEFAULT_POOL
    from datakit_ci.target import Target

    console = Console(highlight=False)
    if project:
        config = Config(projects=[Project(project, load_jobs(pipeline))])
    else:
        config = load_pipeline(pipeline)
    for declared in config.projects:
        if declared.pipeline:
            console.print(f"{declared.id} is judged by {declared.pipeline} of each commit")
            continue
        branch = declared.dashboards[0] if declared.dashboards else "main"
        first, *others = [target] if target else [f"heads/{branch}", "tags/v1.0", "pr/1"]
        judge = declared.graph if project else config.graph  # a service declares what it needs
        graph = judge(Target.parse(declared.id, first))
        console.print(outline(graph, f"{declared.id}, jobs of {first}"))
        if project:
            decode(encode(graph, project), project, "")  # as a service does
            _note_needs(pipeline, graph)
        _advise(pipeline, graph, alone=len(config.projects) == 1)
        for other in others:
            jobs = judge(Target.parse(declared.id, other)).jobs
            same = "the same" if list(jobs) == list(graph.jobs) else ", ".join(jobs) or "none"
            console.print(f"jobs of {other}: {same}", style="dim")
    for flow in config.flows:
        console.print(outline(config.graph(flow.target), f"flow to {flow.output}"))
    pools = {DEFAULT_POOL: "(one unit for each processor)", **config.pools}
    shown = ", ".join(f"{name} {units}" for name, units in pools.items())
    console.print(f"{pipeline} is fine; pools: {shown}", soft_wrap=True)


def _note_needs(pipeline: Path, graph: Graph) -> None:
    """Print which pools and secrets the service has to declare for a pipeline in a repository."""
    from datakit_ci.project import stages
    from datakit_ci.spec import DEFAULT_POOL

    specs = [*stages(graph)]
    pools = sorted({f"pool {spec.pool}" for spec in specs} - {f"pool {DEFAULT_POOL}"})
    secrets = sorted({f"secret {name}" for spec in specs for _, name in spec.conditions.secrets})
    if wanted := [*pools, *secrets]:
        typer.echo(f"{pipeline}: note: the service has to declare {', '.join(wanted)}", err=True)


def _advise(pipeline: Path, graph: Graph, *, alone: bool) -> None:
    """Print notes; the checkout of the pipeline counts if it has the only project."""
    from datakit_ci.advice import missing_inputs, missing_sandbox
    from datakit_ci.checkout import Checkout
    from datakit_ci.project import stages
    from datakit_core.errors import ConfigError

    notes = [*missing_sandbox([*stages(graph)])]
    with suppress(ConfigError):  # it is in no checkout
        if alone:
            notes += missing_inputs(graph, Checkout.around(pipeline.absolute().parent).root)
    for note in notes:
        typer.echo(f"{pipeline}: note: {note}", err=True)
