"""Commands that work on a database: at a server, or directly on a repository."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from datakit_core.client.api import Commit, CommitId, Database, FileMode, TreeId
from datakit_core.errors import ConfigError, InvalidHash, NoEntry
from datakit_core.store.objects import parse_id

__all__ = ["commands"]


commands = typer.Typer()

Connect: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="URL", envvar="DATAKIT_URL", help="The server: tcp://HOST:PORT."),
]
Git: TypeAlias = Annotated[
    Path | None, typer.Option(help="A repository that no server has, instead of a server.")
]
Source: TypeAlias = Annotated[str, typer.Argument(help="A branch, or a commit's 40 digits.")]
Branch: TypeAlias = Annotated[str, typer.Argument(help="A branch.")]
InTree: TypeAlias = Annotated[str, typer.Argument(help="A path without a leading slash.")]


@commands.command()
def branches(connect: Connect = None, git: Git = None) -> None:
    """List the branches and their heads."""

    async def work(database: Database) -> None:
        for name, head in sorted((await database.branches()).items()):
            typer.echo(f"{head} {name}")

    _run(work, connect, git)


@commands.command()
def ls(source: Source, path: InTree = "", connect: Connect = None, git: Git = None) -> None:
    """List a directory: kind, id and name of everything in it."""

    async def work(database: Database) -> None:
        entry = await database.entry(await _tree(database, source), path)
        if entry is None or not entry.is_directory:
            raise NoEntry(f"{source} has no directory {path}")
        for name, found in (await database.tree(TreeId(entry.id))).items():
            typer.echo(f"{found} {name}")

    _run(work, connect, git)


@commands.command()
def cat(source: Source, path: InTree, connect: Connect = None, git: Git = None) -> None:
    """Print a file's content."""

    async def work(database: Database) -> None:
        try:
            content = await database.read(await _tree(database, source), path)
        except NoEntry:
            raise NoEntry(f"{source} has no file {path}") from None
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()

    _run(work, connect, git)


@commands.command()
def log(
    source: Source,
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="At most so many.")] = 20,
    connect: Connect = None,
    git: Git = None,
) -> None:
    """Show the newest commits: the first line of each message."""

    async def work(database: Database) -> None:
        history = database.history(await _commit(database, source))
        left = number
        async for commit in history:
            typer.echo(_line(commit))
            left -= 1
            if not left:
                return

    _run(work, connect, git)


@commands.command()
def write(
    branch: Branch,
    path: InTree,
    message: Annotated[str, typer.Option("--message", "-m", help="The commit's message.")] = "",
    executable: Annotated[bool, typer.Option("--executable", help="Make it executable.")] = False,
    connect: Connect = None,
    git: Git = None,
) -> None:
    """Commit a file whose content is read from standard input; prints the new head."""

    async def work(database: Database) -> None:
        content = await asyncio.to_thread(sys.stdin.buffer.read)
        mode = FileMode.EXECUTABLE if executable else FileMode.NORMAL
        async with database.transaction(branch) as transaction:
            await transaction.write(path, content, mode)
            typer.echo(await transaction.commit(message or f"write {path}"))

    _run(work, connect, git)


@commands.command()
def watch(branch: Branch, connect: Connect = None, git: Git = None) -> None:
    """Print the head now, then each newest head, until interrupted."""

    async def work(database: Database) -> None:
        async for head in database.watch_head(branch):
            typer.echo(head or "")

    _run(work, connect, git)


def _run(work: Callable[[Database], Awaitable[None]], url: str | None, git: Path | None) -> None:
    async def main() -> None:
        async with _open(url, git) as database:
            await work(database)

    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@asynccontextmanager
async def _open(url: str | None, git: Path | None) -> AsyncIterator[Database]:
    # Only here: what a command does not need is not loaded.
    if git is not None:
        from datakit_core.client.local import open_local

        async with open_local(git) as database:
            yield database
    elif url is not None:
        from datakit_core.client.remote import connect

        async with connect(url) as database:
            yield database
    else:
        raise ConfigError("give --connect URL (or set DATAKIT_URL), or --git PATH")


async def _commit(database: Database, source: str) -> CommitId:
    try:
        return CommitId(parse_id(source))
    except InvalidHash:
        head = await database.head(source)
    if head is None:
        raise NoEntry(f"no branch {source}")
    return head


async def _tree(database: Database, source: str) -> TreeId:
    return (await database.commit(await _commit(database, source))).tree


def _line(commit: Commit) -> str:
    when = datetime.fromtimestamp(commit.committer.time, UTC)
    first = commit.message.partition("\n")[0]
    return f"{commit.id} {when:%Y-%m-%d %H:%M:%S} {first}"
