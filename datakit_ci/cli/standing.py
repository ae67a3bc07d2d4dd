"""``datakit-ci status``: where targets and their jobs stand, in a database or at a service."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from datakit_ci.cli.options import own_database
from datakit_ci.cli.server import Server, ServerUrl, TokenFile, named_server
from datakit_core.cli.work import Connect, Git, Json, work_on
from datakit_core.errors import NoEntry

if TYPE_CHECKING:  # slow to import
    from datakit_ci.rulings import Rulings
    from datakit_ci.state import TargetState
    from datakit_core.client.api import Database

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def status(
    target: Annotated[
        str,
        typer.Argument(
            metavar="[TARGET]", help="USER/REPO/heads/NAME, USER/REPO/tags/NAME or USER/REPO/pr/N."
        ),
    ] = "",
    *,
    connect: Connect = None,
    git: Git = None,
    server: ServerUrl = "",
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Show where targets stand, and what is paused; of one target, its jobs."""
    service = named_server(server, token_file, connect, git)
    if service is not None:
        _show_served(service, target, as_json=as_json)
        return

    async def work(database: Database) -> None:
        from datakit_ci.docket import read_rulings
        from datakit_ci.ledger import read_target, recorded_targets
        from datakit_ci.target import Target

        rulings = await read_rulings(database)
        wanted = [Target.named(target)] if target else await recorded_targets(database)
        if not target and not as_json:
            _show_pauses(rulings)
        for each in wanted:
            state = await read_target(database, each)
            if state is None:
                raise NoEntry(f"nothing is recorded of {each.path}")
            if as_json:
                typer.echo(json.dumps(_record(state, rulings)))
            elif target:
                _show_pauses(rulings, state.target.project)
                _show(state)
            else:
                typer.echo(f"{_head(state)}  {_summary(state)}")

    if connect is None and git is None:
        git = own_database()
    work_on(connect, git, work)


def _show_served(server: Server, named: str, *, as_json: bool) -> None:
    """The same, as a service says it."""
    from datakit_ci.dashboard.api.addresses import PREFIX, target_url
    from datakit_ci.target import Target

    pauses = {
        each["id"]: each["paused"] for each in server.items(f"{PREFIX}/projects") if each["paused"]
    }
    if named:
        target = Target.named(named)
        found = [server.get(target_url(target))]
        pauses = {target.project: pauses[target.project]} if target.project in pauses else {}
    else:
        found = list(server.items(f"{PREFIX}/targets"))
    if not as_json:
        for project, ruling in sorted(pauses.items()):
            since = ruling["time"][:16].replace("T", " ")
            typer.echo(f"{project} is paused by {ruling['user']} since {since} UTC")
    for each in found:
        name = f"{each['project']}/{each['kind']}/{each['name']}"
        if as_json:
            jobs = each.get("jobs") or server.get(each["url"])["jobs"]
            paused = pauses.get(each["project"])
            typer.echo(json.dumps(_served_record(name, each, jobs, paused and paused["user"])))
            continue
        head = f"{name}  {(each['head'] or '')[:7] or '-'}  {each['status']}"
        counts = ", ".join(f"{number} {word}" for word, number in each["counts"].items())
        typer.echo(head if named else f"{head}  {counts or 'no jobs'}")
        for line in _job_lines(each["jobs"]) if named else ():
            typer.echo(line)


def _served_record(
    name: str, target: Mapping[str, Any], jobs: Sequence[Mapping[str, Any]], paused: str | None
) -> dict[str, object]:
    return {
        "target": name,
        "commit": target["head"],
        "status": target["status"],
        "recorded": target["updated"],
        "paused_by": paused,
        "jobs": [
            {
                "name": job["name"],
                "status": job["status"],
                "description": job["description"],
                "builds": [build["page"].removeprefix("/build/") for build in job["builds"]],
            }
            for job in jobs
        ],
    }


def _job_lines(jobs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    width = max((len(job["name"]) for job in jobs), default=0)
    for job in jobs:
        line = f"  {job['name'].ljust(width)}  {job['status'].ljust(9)}  {job['description']}"
        yield line.rstrip()


def _record(state: TargetState, rulings: Rulings) -> dict[str, object]:
    paused = rulings.paused.get(state.target.project)
    return {
        "target": f"{state.target.project}/{state.target.short}",
        "commit": state.head,
        "status": state.status.value,
        "recorded": state.updated and f"{state.updated:%Y-%m-%dT%H:%M:%SZ}",
        "paused_by": paused and paused.user,
        "jobs": [
            {
                "name": job.name,
                "status": job.status.value,
                "description": job.description,
                "builds": [build.path for build in job.builds],
            }
            for job in state.jobs
        ],
    }


def _show_pauses(rulings: Rulings, only: str = "") -> None:
    for project, ruling in sorted(rulings.paused.items()):
        if only in ("", project):
            typer.echo(
                f"{project} is paused by {ruling.user} since {ruling.time:%Y-%m-%d %H:%M} UTC"
            )


def _show(state: TargetState) -> None:
    typer.echo(_head(state))
    width = max((len(job.name) for job in state.jobs), default=0)
    for job in state.jobs:
        line = f"  {job.name.ljust(width)}  {job.status.value.ljust(9)}  {job.description}"
        typer.echo(line.rstrip())


def _head(state: TargetState) -> str:
    head = (state.head or "")[:7] or "-"
    return f"{state.target.project}/{state.target.short}  {head}  {state.status.value}"


def _summary(state: TargetState) -> str:
    """``2 success, 1 failure``."""
    counts = Counter(job.status.value for job in state.jobs)
    return ", ".join(f"{number} {word}" for word, number in counts.items()) or "no jobs"
