"""``datakit-ci run``: a pipeline in the terminal, without a service."""

from __future__ import annotations

from typing import Annotated

import typer

from datakit_ci.cli.options import PipelineFile, ShowOutput
from datakit_core.errors import ConfigError

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def run(
    pipeline: PipelineFile,
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Stop when all jobs are done.", show_default=False)
    ] = False,
    target: Annotated[
        str,
        typer.Option(
            help="What to test: heads/NAME or tags/NAME; by default what is checked out.",
            show_default=False,
        ),
    ] = "",
    verbose: ShowOutput = False,
) -> None:
    """Run a pipeline on the repository around the current directory.

    The exit status is 0 if all jobs passed, 1 if not, and 2 if there was nothing to run. What is
    tested is the commit, not the working tree. Results are kept in .datakit.
    """
    from datakit_ci.terminal import run_once  # slow to import

    if not once:
        raise ConfigError("run needs --once; datakit-ci serve watches a repository")
    raise typer.Exit(run_once(pipeline, target, verbose=verbose))
