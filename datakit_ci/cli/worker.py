"""``datakit-ci worker``: run builds for an engine on another machine."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Annotated

import typer

from datakit_ci.cli import options
from datakit_core.errors import ConfigError

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def worker(
    *,
    scheduler: Annotated[
        str,
        typer.Option(metavar="URL", help="The Dask scheduler: tls://HOST:PORT or tcp://HOST:PORT."),
    ],
    metadata_store: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Where the database is served: tls://HOST:PORT?cert=FILE&key=FILE&ca=FILE, "
            "tcp://HOST:PORT or unix:///PATH. Inputs are read from there and outputs go there.",
        ),
    ],
    pools: Annotated[
        str,
        typer.Option(
            metavar="NAME=UNITS,...",
            help="How many builds of each pool may run here at a time. "
            "Default: as many of pool cpu as there are processors.",
            show_default=False,
        ),
    ] = "",
    name: Annotated[
        str,
        typer.Option(
            help="By which people know this worker. Default: the host and the process.",
            show_default=False,
        ),
    ] = "",
    work: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="A directory of this worker's own: checkouts, logs, and the inputs of builds.",
        ),
    ] = Path(".datakit/worker"),
    cache: Annotated[
        str, typer.Option(metavar="SIZE", help="How large the inputs that are kept may be.")
    ] = "4g",
    host: Annotated[
        str,
        typer.Option(
            help="The address of this machine at which it listens, and the scheduler reaches it. "
            "Default: the one from which the scheduler is reached.",
            show_default=False,
        ),
    ] = "",
    tls_ca_file: options.ClusterCaFile = None,
    tls_cert: options.ClusterCert = None,
    tls_key: options.ClusterKey = None,
    patience: options.Patience = 60.0,
    verbose: options.Verbose = False,
) -> None:
    """Run builds that an engine sends by way of a Dask scheduler.

    Runs until Ctrl-C or SIGTERM; what runs then is run elsewhere. Needs datakit[dask].
    """
    import asyncio
    import logging

    from datakit_ci.executors.dask.extra import needed
    from datakit_ci.executors.dask.pools import parse_pools
    from datakit_ci.executors.dask.security import Credentials, check_scheduler
    from datakit_ci.options import parse_size
    from datakit_core import logs

    needed()
    from datakit_ci.executors.dask.worker import WorkerOptions, run_worker

    logs.configure(verbose=verbose)
    if not verbose:  # what matters to people of what Dask does we say ourselves
        logging.getLogger("distributed").setLevel(logging.WARNING)
    try:
        limit = parse_size(cache)
    except ConfigError as error:
        raise ConfigError(str(error), "--cache") from error
    wanted = WorkerOptions(
        scheduler=check_scheduler(scheduler, "--scheduler"),
        database=metadata_store,
        pools=parse_pools(pools),
        name=name or f"{socket.gethostname()}-{os.getpid()}",
        work=work.absolute(),
        cache=limit,
        credentials=Credentials(tls_ca_file, tls_cert, tls_key),
        host=host or None,
        patience=patience,
    )
    asyncio.run(run_worker(wanted, _announce))


def _announce(name: str, address: str, pools: str) -> None:
    typer.echo(f"worker {name} at {address} has {pools}")
