"""The command ``datakit-bridge-local-git``: the local bridge as a process of its own."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from datakit_ci.bridges.local_git import LocalGitBridge, LocalRepository, git_directory
from datakit_ci.bridges.running import open_database, until_signal
from datakit_core import logs
from datakit_core.errors import DatakitError

__all__ = ["app", "main"]

app = typer.Typer(
    name="datakit-bridge-local-git",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def run(
    repositories: Annotated[
        list[str], typer.Argument(metavar="USER/REPO:PATH...", help="What to watch, and its name.")
    ],
    *,
    datakit: Annotated[
        str,
        typer.Option(
            metavar="URL",
            envvar="DATAKIT_URL",
            help="The database: tcp://HOST:PORT, unix:///PATH, or git:PATH for a repository "
            "that no server has. A server fetches from the paths itself: give its Unix socket, "
            "or start it with --allow-fetch file:PATH.",
        ),
    ] = "tcp://127.0.0.1:5640",
    once: Annotated[bool, typer.Option("--once", help="Copy the refs and stop.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Keep the branches and tags of local repositories in a database, as targets for the CI."""
    logs.configure(verbose=verbose)
    asyncio.run(_run([LocalRepository.parse(text) for text in repositories], datakit, once=once))


async def _run(repositories: list[LocalRepository], address: str, *, once: bool) -> None:
    if once:
        for repository in repositories:
            await git_directory(repository.path)
    async with open_database(address) as database:
        bridge = LocalGitBridge(database, repositories)
        if once:
            for repository in repositories:
                await bridge.sync(repository)
            return
        await until_signal(bridge.run())


def main() -> None:
    """Run the command; what is somebody's fault but not a bug is one line, and exit status 2."""
    try:
        app()
    except DatakitError as error:
        typer.echo(f"datakit-bridge-local-git: {error}", err=True)
        sys.exit(2)
