"""The command ``datakit-ci``: a file for each group of commands.

Exit statuses: 0; 1 when the answer is no (a job failed, results differ, there is no such result);
2 for what cannot be done as it was asked. What goes wrong is one line on standard error.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from datakit_ci.cli import checking, deciding, results, running, serving, standing
from datakit_core import __version__
from datakit_core.errors import DatakitError, NoEntry

__all__ = ["app", "main"]

app = typer.Typer(
    name="datakit-ci",
    help="Test what is in Git with stages whose results are commits.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # brackets in texts are brackets
    context_settings={"help_option_names": ["-h", "--help"]},
)

for _part in (checking, serving, running, deciding, standing):
    app.add_typer(_part.commands)
app.add_typer(results.commands)


def _show_version(value: bool) -> None:  # typer calls it so
    if value:
        typer.echo(f"datakit-ci {__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    """Test what is in Git with stages whose results are commits."""


def main() -> None:
    """Run the command; what is somebody's fault but not a bug is one line."""
    try:
        app()
    except DatakitError as error:
        typer.echo(f"datakit-ci: {error}", err=True)
        sys.exit(1 if isinstance(error, NoEntry) else 2)
