"""``datakit-ci why``: why a job ran, did not run, or waits, from the database alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from datakit_ci.cli.options import own_database
from datakit_ci.cli.server import Server, ServerUrl, TokenFile, named_server
from datakit_core.cli.work import Connect, Git, Json, work_on

if TYPE_CHECKING:  # slow to import
    from datakit_core.client.api import Database

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def why(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="USER/REPO/heads/NAME, USER/REPO/tags/NAME or USER/REPO/pr/N."
        ),
    ],
    job: Annotated[str, typer.Argument(metavar="JOB", help="The job's name.")],
    *,
    connect: Connect = None,
    git: Git = None,
    server: ServerUrl = "",
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Say why a job ran or did not run: what has changed, or which earlier result did."""
    service = named_server(server, token_file, connect, git)
    if service is not None:
        _show_served(service, target, job, as_json=as_json)
        return

    async def work(database: Database) -> None:
        from datakit_ci.inquiry import Inquiry
        from datakit_ci.target import Target

        found = await Inquiry(database).job(Target.named(target), job)
        if as_json:
            typer.echo(json.dumps(found.to_json()))
            return
        said = f": {found.description}" if found.description else ""
        typer.echo(f"{job} of {found.target}: {found.status.value}{said}")
        for step in found.steps:
            for line in step.lines:
                typer.echo(f"  {line}")

    if connect is None and git is None:
        git = own_database()
    work_on(connect, git, work)


def _show_served(server: Server, target: str, job: str, *, as_json: bool) -> None:
    """The same, as a service says it."""
    from datakit_ci.dashboard.api.addresses import target_url
    from datakit_ci.target import Target

    found = server.get(f"{target_url(Target.named(target))}/why", job=job)
    if as_json:
        typer.echo(json.dumps(found))
        return
    said = f": {found['description']}" if found["description"] else ""
    typer.echo(f"{job} of {found['target']}: {found['status']}{said}")
    for step in found["steps"]:
        typer.echo(f"  {step['label']} {step['verdict']}")
        for reason in step["reasons"]:
            typer.echo(f"    {reason['text']}")
