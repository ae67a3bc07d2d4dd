"""From what a service was told to an executor on a cluster; imported only where one is wanted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from datakit_ci.executors.dask.cluster import Cluster, Timing
from datakit_ci.executors.dask.code import PipelineCode
from datakit_ci.executors.dask.executor import DaskExecutor
from datakit_ci.executors.dask.security import Credentials, check_scheduler
from datakit_core.client.api import Database
from datakit_core.client.reconnect import Backoff

__all__ = ["Farm", "open_farm"]


@dataclass(frozen=True, slots=True)
class Farm:
    """A cluster, and the executor that has builds run there."""

    cluster: Cluster
    executor: DaskExecutor


@asynccontextmanager
async def open_farm(
    address: str,
    tls: str,
    database: Database,
    pipeline: Path,
    patience: float,
) -> AsyncIterator[Farm]:
    """Connect to a scheduler; if it is away it is waited for, but not here.

    Args:
        address: Of the scheduler.
        tls: The files for ``tls://``, as :meth:`Credentials.parse` reads them.
        database: The engine's.
        pipeline: The file of the service's own pipeline.
        patience: Seconds without an answer after which the scheduler counts as away.

    Raises:
        ConfigError: The address or a file makes no sense.
    """
    check_scheduler(address, "--executor")
    security = Credentials.parse(tls).security("client", address)
    cluster = Cluster(
        address, security, Timing(answer=patience, backoff=Backoff(0.2, min(10.0, patience)))
    )
    code = PipelineCode(database, pipeline)
    async with cluster.running():
        yield Farm(cluster, DaskExecutor(cluster, database, code.origin))
