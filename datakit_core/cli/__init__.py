"""The command ``datakit``: a server, and a client for people and scripts.

Exit statuses: 0; 1 for a plain no (it is not there, the merge has conflicts, the branch has moved);
2 for what cannot be done as it was asked (a wrong option, no server); 130 after Ctrl-C and 141
when the reader of the output went away, as shells have it. What goes wrong is one line on
standard error.
"""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from datakit_core.cli import branching, maintaining, mounting, reading, writing
from datakit_core.cli.serve import app
from datakit_core.errors import (
    AlreadyExists,
    DatakitError,
    HeadMoved,
    IsDirectory,
    MergeConflict,
    NoEntry,
    NotDirectory,
    NotFastForward,
    UnknownObject,
)

__all__ = ["app", "main"]

for _part in (reading, writing, branching, mounting, maintaining):
    app.add_typer(_part.commands)

_NO = (
    AlreadyExists,
    HeadMoved,
    IsDirectory,
    MergeConflict,
    NoEntry,
    NotDirectory,
    NotFastForward,
    UnknownObject,
)
"""Answers rather than errors."""


def main() -> None:
    """Run the command."""
    # A name that is no text is printed as the bytes that it is, as ls does.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
    try:
        code = app(standalone_mode=False, prog_name="datakit")
    except typer.TyperException as error:
        _end(error.format_message().replace("\n", " "), error.exit_code)
    except DatakitError as error:
        _end(str(error), 1 if isinstance(error, _NO) else 2)
    sys.exit(code)


def _end(text: str, code: int) -> NoReturn:
    typer.echo(f"datakit: {text}", err=True)
    sys.exit(code)
