"""A served database, a hostile client, and a bystander who must not notice anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from datakit_core.ninep.dialect import UNIX
from datakit_core.ninep.endpoint import TcpEndpoint
from tests.support.raw import Raw, connect
from tests.support.scenarios import commit_files
from tests.support.served import Served, serve
from tests.support.wire import RawClient


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serve(tmp_path / "db.git") as served:
        yield served


@pytest.fixture(autouse=True)
async def bystander(served: Served) -> AsyncIterator[Raw]:
    """Another client, which can still commit and read when the attack is over."""
    async with connect(served.port, UNIX) as raw:
        yield raw
        await commit_files(raw, "bystander", {"file": b"content"})
        assert await raw.read("branch/bystander/ro/file") == b"content"


@pytest.fixture
async def raw(served: Served, bystander: Raw) -> AsyncIterator[Raw]:
    """A client that attacks with well-formed messages."""
    async with connect(served.port, UNIX) as raw:
        yield raw


@pytest.fixture
async def wire(served: Served, bystander: Raw) -> AsyncIterator[RawClient]:
    """A client that attacks with bytes; it has not said anything."""
    client = await RawClient.connect(TcpEndpoint("127.0.0.1", served.port))
    yield client
    await client.close()
