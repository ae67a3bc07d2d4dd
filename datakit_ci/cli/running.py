"""``datakit-ci run``: a pipeline in the terminal, without a service."""

from __future__ import annotations

from typing import Annotated

import typer

from datakit_ci.cli.options import Executor, ExecutorTls, PipelineFile, ShowOutput, split
from datakit_ci.cli.server import TokenFile, read_token, with_token
from datakit_core.errors import ConfigError

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def run(
    pipeline: PipelineFile,
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Stop when all jobs are done.", show_default=False)
    ] = False,
    target: Annotated[
        str,
        typer.Option(
            help="Test a commit: heads/NAME or tags/NAME. Default: the working tree.",
            show_default=False,
        ),
    ] = "",
    committed: Annotated[
        bool,
        typer.Option(
            "--committed",
            help="Test the commit that is checked out, without what has changed since.",
            show_default=False,
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only say what would run, and why.", show_default=False),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="With --dry-run: print JSON, a line for each project.",
            show_default=False,
        ),
    ] = False,
    warm: Annotated[
        str,
        typer.Option(
            metavar="URL|PATH",
            help="Copy results from here instead of running: a service (https://HOST/db.git), a "
            "server (tcp://HOST:PORT, unix:///PATH or tls://...) or a bare repository. It is only "
            "read.",
            show_default=False,
        ),
    ] = "",
    token_file: TokenFile = None,
    executor: Executor = "local",
    executor_tls: ExecutorTls = "",
    listen_9p: Annotated[
        str,
        typer.Option(
            "--listen-9p",
            metavar="URL[,URL]",
            help="With --executor dask:...: where workers find the run's database, as their "
            "--metadata-store.",
            show_default=False,
        ),
    ] = "",
    verbose: ShowOutput = False,
) -> None:
    """Run a pipeline on the repository around the current directory.

    What is tested are the files as they are now: changed ones and new ones that are not ignored
    too. With --target or --committed it is a commit. The exit status is 0 if all jobs passed, 1 if
    not, and 2 if there was nothing to run. Results are kept in .datakit.
    """
    from datakit_ci.localrun import Wanted  # slow to import
    from datakit_ci.once import run_once
    from datakit_ci.warming import is_web_address

    if not once and not dry_run:
        raise ConfigError("run needs --once; datakit-ci serve watches a repository")
    if warm and dry_run:
        raise ConfigError("--dry-run looks at results of this checkout only; leave out --warm")
    if as_json and not dry_run:
        raise ConfigError("--json is for --dry-run; results list --json has what was run")
    if token_file is not None and is_web_address(warm):
        warm = with_token(warm, read_token(token_file), "--warm")
    _check_place(executor, executor_tls, listen_9p)
    wanted = Wanted(
        pipeline,
        target,
        is_committed=committed,
        verbose=verbose,
        is_dry=dry_run,
        as_json=as_json,
        warm=warm,
        executor=executor,
        executor_tls=executor_tls,
        listen_9p=split(listen_9p),
    )
    raise typer.Exit(run_once(wanted))


def _check_place(executor: str, executor_tls: str, listen_9p: str) -> None:
    """Refuse what does not go together.

    Raises:
        ConfigError: Says what is missing, or too much.
    """
    from datakit_ci.settings import checked_executor  # slow to import

    try:
        checked_executor(executor)
    except ValueError as error:
        raise ConfigError(str(error), "--executor") from error
    if executor_tls and not executor.startswith("dask:tls:"):
        raise ConfigError("--executor-tls is for --executor dask:tls://HOST:PORT")
    if executor == "local" and listen_9p:
        raise ConfigError("--listen-9p is for --executor dask:tls://HOST:PORT")
    if executor != "local" and not listen_9p:
        raise ConfigError(
            "workers read the run's database: say where with --listen-9p URL, and start them with "
            "--metadata-store URL",
            "--executor",
        )
