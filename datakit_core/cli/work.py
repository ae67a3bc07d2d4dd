"""What the commands on a database share: which database, how they print, and how they end."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from datakit_core.client.api import CommitId, Database, TreeId
from datakit_core.errors import ConfigError, InvalidHash, NoEntry
from datakit_core.store.objects import parse_id

__all__ = [
    "Branch",
    "Connect",
    "Git",
    "InTree",
    "Json",
    "Message",
    "Source",
    "commit_of",
    "show",
    "tree_of",
    "work_on",
]

_INTERRUPTED = 130
_BROKEN_PIPE = 141
"""What a shell sees of a program that a signal ended: 128 and its number."""

Connect: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        envvar="DATAKIT_URL",
        help="The server: tcp://HOST:PORT, unix:///PATH or "
        "tls://HOST:PORT?cert=FILE&key=FILE&ca=FILE.",
    ),
]
Git: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="A repository that no server has, instead of a server."),
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, one object to a line.")]
Message: TypeAlias = Annotated[
    str, typer.Option("--message", "-m", metavar="TEXT", help="The commit's message.")
]
Source: TypeAlias = Annotated[
    str, typer.Argument(metavar="SOURCE", help="A branch, or a commit's 40 digits.")
]
Branch: TypeAlias = Annotated[str, typer.Argument(help="A branch.")]
InTree: TypeAlias = Annotated[str, typer.Argument(help="A path without a leading slash.")]


def work_on(
    url: str | None,
    git: Path | None,
    work: Callable[[Database], Awaitable[None]],
    *,
    reconnect: bool = False,
) -> None:
    """Open the database that the options name, and do ``work`` with it.

    Args:
        url: A server.
        git: A repository; one of the two.
        work: What to do.
        reconnect: Connect again whenever a server goes, instead of ending.

    Raises:
        ConfigError: No database is named, or two.
        typer.Exit: With Ctrl-C, or when nobody reads the output any more.
    """

    async def main() -> None:
        async with _open(url, git, reconnect) as database:
            await work(database)

    try:
        asyncio.run(main())
        sys.stdout.flush()
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None
    except BrokenPipeError:
        # Python flushes standard output once more at its end, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(_BROKEN_PIPE) from None


def show(record: Mapping[str, object], text: str, *, as_json: bool) -> None:
    """Print one result, at once: who reads it may be waiting for it."""
    print(json.dumps(record) if as_json else text, flush=True)  # noqa: T201 - this is a command


async def commit_of(database: Database, source: str) -> CommitId:
    """The commit that ``source`` is, or the head of the branch of that name.

    Raises:
        NoEntry: There is no such branch.
    """
    try:
        return CommitId(parse_id(source))
    except InvalidHash:
        head = await database.head(source)
    if head is None:
        raise NoEntry(f"no branch {source}")
    return head


async def tree_of(database: Database, source: str) -> TreeId:
    """The tree of a commit or branch; raises as :func:`commit_of`, or ``UnknownObject``."""
    return (await database.commit(await commit_of(database, source))).tree


@asynccontextmanager
async def _open(url: str | None, git: Path | None, reconnect: bool) -> AsyncIterator[Database]:
    # Only here: what a command does not need is not loaded.
    if git is not None:
        from datakit_core.client.local import open_local

        async with open_local(git) as database:
            yield database
    elif url and reconnect:
        from datakit_core.client.reconnect import reconnecting

        _tell_of_losses()
        async with reconnecting(url) as database:
            yield database
    elif url:
        from datakit_core.client.remote import connect

        async with connect(url) as database:
            yield database
    else:
        raise ConfigError("give --connect URL (or set DATAKIT_URL), or --git PATH")


def _tell_of_losses() -> None:
    """Print what a connection that comes and goes logs, as the command prints its errors."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("datakit: %(message)s"))
    connections = logging.getLogger("datakit_core.client.reconnect")
    connections.addHandler(handler)
    connections.setLevel(logging.INFO)
