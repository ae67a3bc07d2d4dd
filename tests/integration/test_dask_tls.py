"""A cluster whose parts know one another by certificates, and strangers who want in."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from datakit_ci.executors.dask.cluster import Cluster, Timing
from datakit_core.client.reconnect import Backoff
from datakit_core.store.objects import EMPTY_TREE
from tests.support.certificates import Authority
from tests.support.farm import (
    Certificates,
    Farm,
    Program,
    command_request,
    open_executor,
    running_farm,
)
from tests.support.processes import Collector


@pytest.fixture(scope="module")
def farm() -> Iterator[Farm]:
    with tempfile.TemporaryDirectory(prefix="farm-") as name:  # short, for its socket
        directory = Path(name)
        authority = Authority(directory, "ours")
        certificates = Certificates(authority.cert, authority.identity("cluster"))
        with running_farm(directory, {"one": "cpu=1"}, certificates) as farm:
            yield farm


async def test_builds_run_where_all_have_shown_certificates(farm: Farm) -> None:
    async with open_executor(farm, Path("nowhere.py")) as opened:
        outcome = await opened.executor.run(command_request("true", EMPTY_TREE), Collector())
        assert outcome.failure is None
        assert opened.cluster.is_private


def stranger(farm: Farm) -> Certificates:
    """Somebody else's certificate, who trusts the cluster's authority all the same."""
    foreign = Authority(farm.directory, "theirs")
    assert farm.certificates is not None
    return Certificates(farm.certificates.ca_file, foreign.identity("stranger"))


async def test_an_engine_with_a_foreign_certificate_is_refused(farm: Farm) -> None:
    security = stranger(farm).credentials.security("client", farm.scheduler)
    cluster = Cluster(farm.scheduler, security, Timing(connect=1.0, backoff=Backoff(0.01, 0.01)))
    async with cluster.running():
        tried = asyncio.Event()
        cluster.listen(lambda _: tried.set())
        tried.clear()
        await tried.wait()
        assert re.search("(?i)certificate|tls|ssl", cluster.trouble), cluster.trouble


def test_a_worker_with_a_foreign_certificate_is_refused(farm: Farm) -> None:
    worker = Program(
        "datakit_ci", "worker", "--scheduler", farm.scheduler, "--metadata-store", farm.database,
        "--work", farm.directory / "stranger", *stranger(farm).options,
    )  # fmt: skip
    worker.until("no scheduler at tls://")
    worker.kill()
    assert "worker" not in worker.said.splitlines()[0].split()


def test_nobody_is_let_in_without_a_certificate(farm: Farm) -> None:
    worker = Program(
        "datakit_ci", "worker", "--scheduler", farm.scheduler.replace("tls:", "tcp:"),
        "--metadata-store", farm.database, "--work", farm.directory / "plain",
    )  # fmt: skip
    worker.until("no scheduler at tcp://")
    worker.kill()
