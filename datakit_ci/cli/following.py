"""``datakit-ci logs``: the log of a job or a build at a service, also while it is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from datakit_ci.cli.server import Server, ServerUrl, TokenFile, named_server
from datakit_core.errors import ConfigError, NoEntry

__all__ = ["commands"]

commands = typer.Typer()

_INTERRUPTED = 130

_BAD = ("failure", "error")


@commands.command()
def logs(
    what: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="USER/REPO/heads/NAME, USER/REPO/tags/NAME or USER/REPO/pr/N; or one build, by "
            "the address of its page.",
        ),
    ],
    job: Annotated[
        str, typer.Argument(metavar="[JOB]", help="The job; of a target with one it is that.")
    ] = "",
    *,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            "-f",
            help="Also print what comes, until the build ends; the status is 1 if it failed.",
            show_default=False,
        ),
    ] = False,
    server: ServerUrl = "",
    token_file: TokenFile = None,
) -> None:
    """Print the log of a job at a running service: of the build of it that failed, or its own."""
    service = named_server(server, token_file, None, None)
    if service is None:
        raise ConfigError(
            "name a service with --server or DATAKIT_SERVER; what a database has recorded is "
            "shown by: datakit-ci results show RESULT --log"
        )
    build = _build(service, what, job)
    out = typer.get_binary_stream("stdout")
    try:
        for piece in service.stream(f"{build}/log", follow=str(follow).lower()):
            out.write(piece)
            out.flush()
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None
    if follow and service.get(build)["status"] != "success":
        raise typer.Exit(1)


def _build(server: Server, what: str, job: str) -> str:
    """The address of the build to look at.

    Raises:
        NoEntry: There is no such job, or it has no build yet.
        ConfigError: There are several jobs, and none is named.
    """
    from datakit_ci.dashboard.api.addresses import build_url, target_url
    from datakit_ci.state import BuildId
    from datakit_ci.target import Target

    build = BuildId.parse(what.rpartition("/build/")[2].removeprefix("build/"))
    if build is not None:
        return build_url(build)
    target = server.get(target_url(Target.named(what)))
    jobs = {each["name"]: each for each in target["jobs"]}
    if not job and len(jobs) != 1:
        raise ConfigError(f"{what} has the jobs {', '.join(jobs) or '(none)'}; name one")
    found = jobs.get(job) if job else next(iter(jobs.values()))
    if found is None:
        raise NoEntry(f"{what} has no job {job}, only {', '.join(jobs) or 'none'}")
    return _telling(target, found)


def _telling(target: Mapping[str, Any], job: Mapping[str, Any]) -> str:
    """Of the builds behind a job the first that failed, else its own."""
    bad = {
        node["build"]["url"]
        for node in target["graph"]
        if node["build"] is not None and node["status"] in _BAD
    }
    builds = [str(build["url"]) for build in job["builds"]]
    if not builds:
        raise NoEntry(f"{job['name']} has no build yet: {job['description'] or job['status']}")
    return next((each for each in builds if each in bad), builds[-1])
