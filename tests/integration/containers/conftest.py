"""One engine and one build of each image, for all tests that run containers.

They are one group (``--dist loadgroup``), so that one process of pytest-xdist runs them all.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.containers import (
    IMAGES,
    ContainerEngine,
    container_engine,
    what_is_missing,
)


@pytest.fixture(scope="session")
def bare_engine(pytestconfig: pytest.Config) -> Iterator[ContainerEngine]:
    """An engine that has the base only."""
    if missing := what_is_missing():
        pytest.skip(missing)
    given = os.environ.get("DATAKIT_BASE_CACHE")
    cache = Path(given) if given else pytestconfig.rootpath / ".pytest_cache" / "d" / "containers"
    # Not pytest's own directory: with it, the paths of sockets would be too long.
    directory = Path(tempfile.mkdtemp(prefix="dk-"))
    with container_engine(directory, cache) as engine:
        yield engine


@pytest.fixture(scope="session")
def engine(bare_engine: ContainerEngine) -> ContainerEngine:
    """An engine that has every image, built as the documentation says."""
    done = bare_engine.run(
        "scripts/build-images.sh",
        variables={
            "BASE": "datakit-test/base",
            "FLAGS": "--network=host",
            "IMAGES": " ".join(IMAGES),
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return bare_engine
