"""A served database, and raw clients in each dialect."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from datakit_core.ninep.dialect import UNIX, Dialect
from tests.support.raw import DIALECTS, Raw, connect
from tests.support.served import Served, serve


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serve(tmp_path / "db.git") as served:
        yield served


@pytest.fixture(params=sorted(DIALECTS))
def dialect(request: pytest.FixtureRequest) -> Dialect:
    return DIALECTS[request.param]


@pytest.fixture
async def raw(served: Served, dialect: Dialect) -> AsyncIterator[Raw]:
    """A client in each of the dialects."""
    async with connect(served.port, dialect) as raw:
        yield raw


@pytest.fixture
async def unix(served: Served) -> AsyncIterator[Raw]:
    """A client that speaks 9P2000.u, for what the plain dialect cannot say."""
    async with connect(served.port, UNIX) as raw:
        yield raw


@pytest.fixture
async def other(served: Served, dialect: Dialect) -> AsyncIterator[Raw]:
    """A second client."""
    async with connect(served.port, dialect) as raw:
        yield raw
