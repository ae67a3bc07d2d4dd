"""One engine and one build of each image, for all tests that run containers.

One process of pytest-xdist runs them all: ``tests/conftest.py`` keeps them together.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.bench import Bench, open_bench
from tests.support.containers import (
    BASE,
    IMAGES,
    ContainerEngine,
    add_base,
    add_tiny,
    container_engine,
    no_base,
    no_engine,
)


@pytest.fixture(scope="session")
def bare_engine() -> Iterator[ContainerEngine]:
    """An engine that has a tiny image only."""
    if missing := no_engine():
        pytest.skip(missing)
    # Not pytest's own directory: with it, the paths of sockets would be too long.
    directory = Path(tempfile.mkdtemp(prefix="dk-"))
    with container_engine(directory) as engine:
        add_tiny(engine)
        yield engine


@pytest.fixture
def host(bare_engine: ContainerEngine) -> str:
    """Its address."""
    return bare_engine.host


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """Where a pipeline's stages run."""
    async with open_bench(tmp_path, grace=5) as opened:  # a container takes a moment to end
        yield opened


@pytest.fixture(scope="session")
def engine(bare_engine: ContainerEngine, pytestconfig: pytest.Config) -> ContainerEngine:
    """An engine that has every image, built as the documentation says."""
    if missing := no_base():
        pytest.skip(missing)
    given = os.environ.get("DATAKIT_BASE_CACHE")
    cache = Path(given) if given else pytestconfig.rootpath / ".pytest_cache" / "d" / "containers"
    add_base(bare_engine, cache)
    done = bare_engine.run(
        "scripts/build-images.sh",
        variables={"BASE": BASE, "FLAGS": "--network=host", "IMAGES": " ".join(IMAGES)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return bare_engine
