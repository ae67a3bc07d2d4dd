"""The command ``datakit``: a server, and a client for people and scripts."""

from __future__ import annotations

import sys

import typer

from datakit_core.cli.database import commands
from datakit_core.cli.serve import app
from datakit_core.errors import DatakitError

__all__ = ["app", "main"]

app.add_typer(commands)


def main() -> None:
    """Run the command; what goes wrong is one line on standard error, and exit code 2."""
    try:
        app()
    except DatakitError as error:
        typer.echo(f"datakit: {error}", err=True)
        sys.exit(2)
