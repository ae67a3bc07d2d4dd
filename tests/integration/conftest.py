"""One cluster for all tests that run on both executors.

One process of pytest-xdist runs those on the cluster: ``tests/conftest.py`` keeps them together.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.farm import Farm, running_farm
from tests.support.places import Place, beside, on_farm


@pytest.fixture(scope="session")
def shared_farm() -> Iterator[Farm]:
    """A cluster that no test harms."""
    with (
        tempfile.TemporaryDirectory(prefix="farm-") as directory,  # short, for its socket
        running_farm(Path(directory), {"one": "cpu=4", "two": "cpu=4,gpu=1"}) as farm,
    ):
        yield farm


@pytest.fixture
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """Where builds run: beside the engine; of a test that is marked ``BOTH``, on a cluster too."""
    if getattr(request, "param", "local") == "local":
        opened = beside(tmp_path)
    else:
        opened = on_farm(request.getfixturevalue("shared_farm"), tmp_path)
    async with opened as place:
        yield place
