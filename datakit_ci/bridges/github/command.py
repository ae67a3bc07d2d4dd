"""The command ``datakit-bridge-github``: the bridge as a process of its own."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from datakit_ci.bridges.github.capabilities import Capabilities
from datakit_ci.bridges.github.options import DEFAULT_TOKEN, PUBLIC, AppIdentity, Options
from datakit_ci.metadata import BRANCH
from datakit_core import logs
from datakit_core.errors import ConfigError, DatakitError
from datakit_core.metrics.address import Address

__all__ = ["app", "main"]

app = typer.Typer(
    name="datakit-bridge-github",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def run(
    *,
    datakit: Annotated[
        str,
        typer.Option(
            metavar="URL",
            envvar="DATAKIT_URL",
            help="The database: tcp://HOST:PORT, unix:///PATH, or git:PATH for a repository "
            "that no server has. A server fetches commits itself: start it with "
            "--allow-fetch https.",
        ),
    ] = "tcp://127.0.0.1:5640",
    branch: Annotated[
        str, typer.Option(metavar="NAME", help="The branch of the metadata.")
    ] = BRANCH,
    repositories: Annotated[
        str,
        typer.Option(
            metavar="USER/REPO[,...]", help="Repositories to watch, beside those with .monitor."
        ),
    ] = "",
    token: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=f"The file with the token, readable by its owner alone; {DEFAULT_TOKEN} if it "
            "is there.",
        ),
    ] = None,
    app_id: Annotated[
        str, typer.Option(metavar="ID", help="Be the GitHub App with this id, instead of a user.")
    ] = "",
    app_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The App's private key, in PEM.")
    ] = None,
    installation: Annotated[
        str, typer.Option(metavar="ID", help="The App's installation to work for.")
    ] = "",
    capabilities: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="What may be read and written, as in *:r,status[ci/datakit]:x,webhook:rw",
        ),
    ] = "*:rw",
    webhook: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Have GitHub send events to this address, and serve it; without it, "
            "repositories are only looked at now and then.",
        ),
    ] = "",
    webhook_listen: Annotated[
        str,
        typer.Option(metavar="HOST:PORT", help="Where this machine receives what is sent there."),
    ] = "0.0.0.0:8081",
    webhook_secret: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The secret that events are signed with; made up if not given."
        ),
    ] = None,
    resync_interval: Annotated[
        float, typer.Option(metavar="SECONDS", min=1.0, help="Time between two looks.")
    ] = 300.0,
    api: Annotated[
        str,
        typer.Option(metavar="URL", help="GitHub's API; of an Enterprise https://HOST/api/v3."),
    ] = PUBLIC,
    clone: Annotated[
        str,
        typer.Option(metavar="URL", help="What comes before /USER/REPO.git when fetching."),
    ] = "https://github.com",
    fetch: Annotated[
        bool, typer.Option(help="Bring commits into the database before a head names them.")
    ] = True,
    listen_prometheus: Annotated[
        str, typer.Option(metavar="PORT", help="Serve metrics here: PORT or HOST:PORT.")
    ] = "",
    once: Annotated[bool, typer.Option("--once", help="Bring all in step once, and stop.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Keep repositories on GitHub and a database in step: what is there, and what is said of it."""
    logs.configure(verbose=verbose)
    options = Options(
        datakit=datakit,
        branch=branch,
        repositories=_projects(repositories),
        capabilities=Capabilities.parse(capabilities),
        api=api,
        clone=clone,
        token=token,
        app=_app(app_id, app_key, installation),
        webhook=webhook,
        webhook_listen=Address.parse(webhook_listen),
        webhook_secret=webhook_secret,
        resync=resync_interval,
        prometheus=Address.parse(listen_prometheus) if listen_prometheus else None,
        fetch=fetch,
    )
    try:
        from datakit_ci.bridges.github.service import serve
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error.name} is missing: pip install 'datakit[github]'") from error
    asyncio.run(serve(options, once=once))


def _projects(text: str) -> tuple[str, ...]:
    projects = tuple(filter(None, (part.strip() for part in text.split(","))))
    for project in projects:
        user, slash, name = project.partition("/")
        if not user or not slash or not name or "/" in name:
            raise ConfigError(f"{project!r} is not of the form USER/REPO", "--repositories")
    return projects


def _app(identity: str, key: Path | None, installation: str) -> AppIdentity | None:
    if not identity and key is None and not installation:
        return None
    if not identity or key is None or not installation:
        raise ConfigError("an App needs --app-id, --app-key and --installation")
    if not (identity.isascii() and identity.isdigit()):
        raise ConfigError("the App's id is a number; its settings show it", "--app-id")
    return AppIdentity(identity, key, installation)


def main() -> None:
    """Run the command; what is somebody's fault but not a bug is one line, and exit status 2."""
    try:
        app()
    except DatakitError as error:
        typer.echo(f"datakit-bridge-github: {error}", err=True)
        sys.exit(2)
