"""The command ``datakit-ci``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from datakit_core import __version__
from datakit_core.errors import ConfigError, DatakitError

if TYPE_CHECKING:  # slow to import
    from datakit_ci.service import Service

__all__ = ["app", "main"]

app = typer.Typer(
    name="datakit-ci",
    help="Test what is in Git with stages whose results are commits.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

PipelineFile = Annotated[
    Path, typer.Argument(metavar="PIPELINE", help="The Python file with the pipeline.")
]


def _show_version(value: bool) -> None:  # typer calls it so
    if value:
        typer.echo(f"datakit-ci {__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    """Test what is in Git with stages whose results are commits."""


@app.command()
def check(
    pipeline: PipelineFile,
    *,
    target: Annotated[
        str,
        typer.Option(help="Whose jobs to show: heads/NAME, tags/NAME or pr/N.", show_default=False),
    ] = "",
) -> None:
    """Check a pipeline and draw its graph; nothing is run.

    Without --target the jobs are also made for a tag and a pull request, so that mistakes in
    those come to light too.
    """
    from rich.console import Console  # slow to import

    from datakit_ci.outline import outline
    from datakit_ci.project import load_pipeline
    from datakit_ci.spec import DEFAULT_POOL
    from datakit_ci.target import Target

    console = Console(highlight=False)
    config = load_pipeline(pipeline)
    for project in config.projects:
        branch = project.dashboards[0] if project.dashboards else "main"
        first, *others = [target] if target else [f"heads/{branch}", "tags/v1.0", "pr/1"]
        graph = config.graph(Target.parse(project.id, first))
        console.print(outline(graph, f"{project.id}, jobs of {first}"))
        for other in others:
            jobs = config.graph(Target.parse(project.id, other)).jobs
            same = "the same" if list(jobs) == list(graph.jobs) else ", ".join(jobs) or "none"
            console.print(f"jobs of {other}: {same}", style="dim")
    pools = {DEFAULT_POOL: "(one unit for each processor)", **config.pools}
    shown = ", ".join(f"{name} {units}" for name, units in pools.items())
    console.print(f"{pipeline} is fine; pools: {shown}", soft_wrap=True)


@app.command()
def serve(
    pipeline: PipelineFile,
    *,
    git: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="The database's bare repository; made if missing. "
            "Default: .datakit/database.git in the checkout of the current directory.",
            show_default=False,
        ),
    ] = None,
    listen_9p: Annotated[
        str, typer.Option("--listen-9p", metavar="URL[,URL]", help="Where to serve the database.")
    ] = "tcp://127.0.0.1:5640",
    allow_fetch: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="What database clients from the network may have fetched: schemes, "
            "file:/PATTERN of local repositories, or none.",
        ),
    ] = "https",
    listen_prometheus: Annotated[
        str,
        typer.Option(
            metavar="PORT|HOST:PORT",
            help="Where to serve metrics for Prometheus, at /metrics; without a host, on loopback.",
            show_default=False,
        ),
    ] = "",
    auto_push: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="DATAKIT_AUTO_PUSH",
            help="Mirror every branch of the database to this repository, which must exist. "
            "A URL with a password belongs in the variable: others can read command lines.",
            show_default=False,
        ),
    ] = None,
    listen_http: Annotated[
        str,
        typer.Option(
            metavar="URL[,URL]",
            help="Where to serve the database's repository to Git itself: "
            "http://HOST:PORT[/PATH][?token=FILE&any-id].",
            show_default=False,
        ),
    ] = "",
    durability: Annotated[
        str,
        typer.Option(
            metavar="full|relaxed",
            help="What an acknowledged commit survives: full, a power cut too; relaxed, only the "
            "death of the service.",
        ),
    ] = "full",
    web_ui: Annotated[
        str, typer.Option("--web-ui", metavar="URL", help="Where to serve the dashboard.")
    ] = "http://127.0.0.1:8080",
    repository: Annotated[
        list[str] | None,
        typer.Option(
            metavar="USER/REPO:PATH",
            help="A local repository to watch; may be repeated. "
            "Default: the checkout that the pipeline is in, as its only project.",
            show_default=False,
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Serve everything in one process: database, local bridge, engine and dashboard.

    Runs until Ctrl-C or SIGTERM. All state is in the database: started again, it goes on.
    """
    import asyncio

    from datakit_ci.checkout import Checkout
    from datakit_ci.service import serve
    from datakit_ci.settings import ServiceSettings
    from datakit_core import logs

    logs.configure(verbose=verbose)
    if git is None:
        git = Checkout.around(Path.cwd()).make_state() / "database.git"
    database = git.absolute()
    settings = ServiceSettings.checked(
        pipeline=pipeline.absolute(),
        database=database,
        listen_9p=tuple(url for url in listen_9p.split(",") if url),
        allow_fetch=allow_fetch,
        listen_prometheus=listen_prometheus,
        auto_push=auto_push,
        listen_http=tuple(url for url in listen_http.split(",") if url),
        durability=durability,
        web_ui=web_ui,
        repositories=tuple(repository or ()),
        work=database.with_name(f"{database.name.removesuffix('.git')}.work"),
    )
    asyncio.run(serve(settings, _announce))


def _announce(service: Service) -> None:
    """Say what is served, and where: a word and an address a line."""
    settings = service.settings
    lines = [("dashboard", service.dashboard)]
    lines += [("database", url) for url in service.listeners]
    lines += [("repository", str(settings.database)), ("pipeline", str(settings.pipeline))]
    lines += [("watching", f"{each.project} at {each.path}") for each in service.repositories]
    typer.echo(f"DataKit {__version__}")
    for word, where in lines:
        typer.echo(f"  {word:<11} {where}")
    typer.echo("Ctrl-C stops.")


@app.command()
def run(
    pipeline: PipelineFile,
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Stop when all jobs are done.", show_default=False)
    ] = False,
    target: Annotated[
        str,
        typer.Option(
            help="What to test: heads/NAME or tags/NAME; by default what is checked out.",
            show_default=False,
        ),
    ] = "",
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show what stages print while they run.")
    ] = False,
) -> None:
    """Run a pipeline on the repository around the current directory.

    The exit status is 0 if all jobs passed, 1 if not, and 2 if there was nothing to run. What is
    tested is the commit, not the working tree. Results are kept in .datakit.
    """
    from datakit_ci.terminal import run_once  # slow to import

    if not once:
        raise ConfigError("run needs --once; datakit-ci serve watches a repository")
    raise typer.Exit(run_once(pipeline, target, verbose=verbose))


def main() -> None:
    """Run the command; what is somebody's fault but not a bug is one line, and exit status 2."""
    try:
        app()
    except DatakitError as error:
        typer.echo(f"datakit-ci: {error}", err=True)
        sys.exit(2)
