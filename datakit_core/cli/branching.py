"""Commands that make, rename and remove branches."""

from __future__ import annotations

from typing import Annotated

import typer

from datakit_core.cli.work import Branch, Connect, Git, Json, Source, commit_of, show, work_on
from datakit_core.client.api import Database
from datakit_core.errors import AlreadyExists, NoEntry

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def create_branch(
    branch: Branch,
    source: Source,
    connect: Connect = None,
    git: Git = None,
    as_json: Json = False,
) -> None:
    """Make a branch that begins at a commit, and print its head.

    A branch that exists stays as it is, and the exit status is 1; fast-forward moves it.
    """

    async def work(database: Database) -> None:
        head = await commit_of(database, source)
        await database.commit(head)  # says so if it is none
        try:
            await database.create_branch(branch, head)
        except AlreadyExists:
            raise AlreadyExists(f"there is a branch {branch}") from None
        show({"head": head}, head, as_json=as_json)

    work_on(connect, git, work)


@commands.command()
def rename_branch(
    branch: Branch,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its new name.")],
    connect: Connect = None,
    git: Git = None,
    as_json: Json = False,
) -> None:
    """Give a branch another name, in one step, and print its head."""

    async def work(database: Database) -> None:
        if await database.head(branch) is None:
            raise NoEntry(f"no branch {branch}")
        try:
            await database.rename_branch(branch, name)
        except AlreadyExists:
            raise AlreadyExists(f"there is a branch {name}") from None
        head = await database.head(name)
        show({"head": head}, head or "", as_json=as_json)

    work_on(connect, git, work)


@commands.command()
def remove_branch(
    branches: Annotated[list[str], typer.Argument(metavar="BRANCH...", help="Branches.")],
    connect: Connect = None,
    git: Git = None,
    as_json: Json = False,
) -> None:
    """Remove branches, and print the heads that they had.

    Commits stay where other branches have them; others can be read, and made a branch again, by
    the heads that are printed, until Git's gc takes them.
    """

    async def work(database: Database) -> None:
        for branch in branches:
            head = await database.head(branch)
            if head is None:
                raise NoEntry(f"no branch {branch}")
            await database.remove_branch(branch)
            show({"name": branch, "head": head}, f"{head} {branch}", as_json=as_json)

    work_on(connect, git, work)
