"""``datakit serve``, and the same without the word."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from datakit_core import __version__, logs
from datakit_core.errors import ConfigError

__all__ = ["app"]

_DEFAULT_ADDRESS = "tcp://127.0.0.1:5640"
"""Loopback only: 9P over TCP asks nobody who they are."""

Git: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="Bare Git repository to serve; made if it is absent. Without it, a new one is "
        "served, and removed at the end."
    ),
]
Listen: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--listen-9p",
        "--url",
        metavar="URL[,URL...]",
        help="Where to serve 9P: tcp://HOST:PORT, unix:///PATH, fd://N or "
        "tls://HOST:PORT?cert=FILE&key=FILE&ca=FILE. Options: ro, branch=PATTERN (repeatable), "
        f"as in tcp://127.0.0.1:5641?ro&branch=results/*. [{_DEFAULT_ADDRESS}]",
    ),
]
AllowFetch: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="LIST",
        help="What clients from the network may have fetched: schemes, file:/PATTERN of local "
        "repositories, or none; for example https,ssh,file:/srv/git/*. Clients on a Unix socket "
        "may fetch whatever the server's user may.",
    ),
]
ListenPrometheus: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="PORT|HOST:PORT",
        help="Where to serve metrics for Prometheus, at /metrics; without a host, on loopback.",
    ),
]
AutoPush: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        envvar="DATAKIT_AUTO_PUSH",
        help="Mirror every branch to this repository, which must exist. A URL with a password "
        "belongs in the variable: others can read command lines.",
    ),
]
ListenHttp: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="URL[,URL...]",
        help="Where to serve the repository to Git itself: http://HOST:PORT[/PATH], or https:// "
        "with cert=FILE&key=FILE. Options: token=FILE lets those push who know the token, any-id "
        "lets objects be fetched by id, as in http://127.0.0.1:8090/data.git?token=/etc/token.",
    ),
]
HowDurable: TypeAlias = Annotated[
    str,
    typer.Option(
        "--durability",
        metavar="full|relaxed",
        help="What an acknowledged commit survives: full, a power cut too; relaxed, only the "
        "death of the server, which is faster on slow disks.",
    ),
]
Maintained: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--maintenance/--no-maintenance",
        help="Whether to pack objects and refs, and drop what nothing has needed for long.",
    ),
]
MaxConnections: TypeAlias = Annotated[
    int,
    typer.Option(
        metavar="N", min=1, help="Clients that may be connected; a further one is turned away."
    ),
]
Memory: TypeAlias = Annotated[
    int,
    typer.Option(
        metavar="MIB",
        min=16,
        help="Mebibytes that all clients may make the server hold: edits, open files, requests "
        "that wait. Beyond it they get an error.",
    ),
]
ConnectionMemory: TypeAlias = Annotated[
    int,
    typer.Option(metavar="MIB", min=1, help="The same for each of them."),
]
Verbose: TypeAlias = Annotated[bool, typer.Option("--verbose", "-v", help="Log every message.")]
LogDestination: TypeAlias = Annotated[
    str, typer.Option(metavar="stderr|FILE", help="Where the log goes.")
]

app = typer.Typer(
    name="datakit",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def _datakit(
    context: typer.Context,
    git: Git = None,
    listen_9p: Listen = None,
    allow_fetch: AllowFetch = "https",
    listen_prometheus: ListenPrometheus = None,
    auto_push: AutoPush = None,
    listen_http: ListenHttp = None,
    durability: HowDurable = "full",
    maintenance: Maintained = True,
    max_connections: MaxConnections = 1024,
    memory: Memory = 2048,
    connection_memory: ConnectionMemory = 512,
    verbose: Verbose = False,
    log_destination: LogDestination = "stderr",
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """A Git-like database that any program can mount.

    Without a command, the options are those of ``serve``.
    """
    if context.invoked_subcommand is not None:
        return
    if version:
        typer.echo(f"datakit {__version__}")
    elif git is None and all(each is None for each in (listen_9p, listen_prometheus, listen_http)):
        typer.echo(context.get_help())
    else:
        serve(
            git=git,
            listen_9p=listen_9p,
            allow_fetch=allow_fetch,
            listen_prometheus=listen_prometheus,
            auto_push=auto_push,
            listen_http=listen_http,
            durability=durability,
            maintenance=maintenance,
            max_connections=max_connections,
            memory=memory,
            connection_memory=connection_memory,
            verbose=verbose,
            log_destination=log_destination,
        )


@app.command()
def serve(
    git: Git = None,
    listen_9p: Listen = None,
    allow_fetch: AllowFetch = "https",
    listen_prometheus: ListenPrometheus = None,
    auto_push: AutoPush = None,
    listen_http: ListenHttp = None,
    durability: HowDurable = "full",
    maintenance: Maintained = True,
    max_connections: MaxConnections = 1024,
    memory: Memory = 2048,
    connection_memory: ConnectionMemory = 512,
    verbose: Verbose = False,
    log_destination: LogDestination = "stderr",
) -> None:
    """Serve a database over 9P until Ctrl-C or SIGTERM."""
    # Only here: a client command need not load the server.
    from datakit_core.metrics import Address
    from datakit_core.ninep.connection import ConnectionLimits
    from datakit_core.ninep.server import Server
    from datakit_core.server import run
    from datakit_core.store import Durability, FetchPolicy

    _configure_logs(verbose, log_destination)
    addresses = [part for part in (listen_9p or _DEFAULT_ADDRESS).split(",") if part]

    def announce(server: Server) -> None:
        where = " ".join(str(endpoint) for endpoint in server.endpoints)
        typer.echo(f"datakit: serving {git or 'a temporary database'} on {where}")

    asyncio.run(
        run(
            git,
            addresses,
            announce,
            allow_fetch=FetchPolicy.parse(allow_fetch),
            listen_prometheus=Address.parse(listen_prometheus) if listen_prometheus else None,
            auto_push=auto_push,
            listen_http=[url for url in (listen_http or "").split(",") if url],
            durability=Durability.parse(durability),
            maintenance=maintenance,
            limits=ConnectionLimits(
                max_connections=max_connections,
                memory=connection_memory << 20,
                server_memory=memory << 20,
            ),
        )
    )


def _configure_logs(verbose: bool, destination: str) -> None:
    try:
        logs.configure(
            verbose=verbose, destination=None if destination == "stderr" else Path(destination)
        )
    except OSError as error:
        raise ConfigError(f"{destination}: {error.strerror}", "--log-destination") from error
