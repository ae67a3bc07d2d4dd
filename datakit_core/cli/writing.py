"""Commands that change a database; each prints the branch's new head."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from datakit_core.cli.work import (
    Branch,
    Connect,
    Git,
    InTree,
    Json,
    Message,
    Source,
    commit_of,
    show,
    work_on,
)
from datakit_core.client.api import CommitId, Database, Entry, FileMode
from datakit_core.client.pieces import read_descriptor
from datakit_core.errors import ConfigError, NoEntry

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def write(
    branch: Branch,
    path: InTree,
    message: Message = "",
    executable: Annotated[bool, typer.Option("--executable", help="Make it executable.")] = False,
    connect: Connect = None,
    git: Git = None,
    as_json: Json = False,
) -> None:
    """Commit standard input, however long, as a file."""
    if sys.stdin is None:
        raise ConfigError("standard input is closed; give the content there")
    mode = FileMode.EXECUTABLE if executable else FileMode.NORMAL

    async def work(database: Database) -> None:
        async with database.transaction(branch) as transaction:
            await transaction.write_stream(path, read_descriptor(sys.stdin.fileno()), mode)
            _show_head(await transaction.commit(message or f"write {path}"), as_json)

    work_on(connect, git, work)


@commands.command()
def rm(
    branch: Branch,
    paths: Annotated[list[str], typer.Argument(help="Files, or directories with their content.")],
    message: Message = "",
    connect: Connect = None,
    git: Git = None,
    as_json: Json = False,
) -> None:
    """Commit that files or directories are gone."""

    async def work(database: Database) -> None:
        async with database.transaction(branch) as transaction:
            for path in paths:
                if not path.strip("/"):
                    raise ConfigError("give the path of something in the tree")
                try:
                    await transaction.remove(path)
                except NoEntry:
                    raise NoEntry(f"{branch} has no {path}") from None
            _show_head(await transaction.commit(message or f"rm {' '.join(paths)}"), as_json)

    work_on(connect, git, work)


@commands.command()
def commit(
    branch: Branch,
    directory: Annotated[
        Path,
        typer.Argument(help="A directory of this machine.", exists=True, file_okay=False),
    ],
    at: Annotated[
        str, typer.Option(metavar="PATH", help="Put it there, instead of in place of all.")
    ] = "",
    message: Message = "",
    connect: Connect = None,
    git: Git = None,
    as_json: Json = False,
) -> None:
    """Commit a directory as a branch's content.

    Files, links and executable bits are taken; empty directories and .git are not.
    """

    async def work(database: Database) -> None:
        tree = await database.import_directory(directory)
        async with database.transaction(branch) as transaction:
            await transaction.graft(at, Entry(FileMode.DIRECTORY, tree))
            _show_head(await transaction.commit(message or f"commit {directory.name}"), as_json)

    work_on(connect, git, work)


@commands.command()
def merge(
    branch: Branch,
    source: Source,
    message: Message = "",
    connect: Connect = None,
    git: Git = None,
    as_json: Json = False,
) -> None:
    """Merge a branch or commit into a branch.

    Changes are merged by path. One that both sides changed is a conflict: it is named, nothing
    changes, and the exit status is 1.
    """

    async def work(database: Database) -> None:
        theirs = await commit_of(database, source)
        head = await database.merge(branch, theirs, message or f"Merge {source} into {branch}")
        _show_head(head, as_json)

    work_on(connect, git, work)


@commands.command()
def fast_forward(
    branch: Branch,
    source: Source,
    connect: Connect = None,
    git: Git = None,
    as_json: Json = False,
) -> None:
    """Move a branch forward to a commit."""

    async def work(database: Database) -> None:
        head = await commit_of(database, source)
        await database.commit(head)  # says so if it is none
        await database.fast_forward(branch, head)
        _show_head(head, as_json)

    work_on(connect, git, work)


@commands.command()
def fetch(
    branch: Branch,
    url: Annotated[
        str, typer.Argument(metavar="REMOTE", help="A repository: a URL, or an absolute path.")
    ],
    ref: Annotated[
        str, typer.Option(metavar="REF", help="What to fetch. [refs/heads/BRANCH]")
    ] = "",
    connect: Connect = None,
    git: Git = None,
    as_json: Json = False,
) -> None:
    """Fetch from another repository into a branch.

    A server fetches itself, and only from where it was allowed to.
    """

    async def work(database: Database) -> None:
        head = await database.fetch(url, ref or f"refs/heads/{branch}")
        await database.fast_forward(branch, head)
        _show_head(head, as_json)

    work_on(connect, git, work)


def _show_head(head: CommitId, as_json: bool) -> None:
    show({"head": head}, head, as_json=as_json)
