"""All commands together; importing this takes a while."""

from __future__ import annotations

from typing import Annotated

import typer

from datakit_ci.cli import (
    checking,
    deciding,
    explaining,
    following,
    results,
    running,
    serving,
    standing,
    supposing,
    users,
    worker,
)
from datakit_core import __version__

__all__ = ["app"]

app = typer.Typer(
    name="datakit-ci",
    help="Test what is in Git with stages whose results are commits.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # brackets in texts are brackets
    context_settings={"help_option_names": ["-h", "--help"]},
)

for _part in (checking, serving, running, deciding, standing, supposing, explaining, following):
    app.add_typer(_part.commands)
app.add_typer(results.commands)
app.add_typer(users.commands)
app.add_typer(worker.commands)


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
