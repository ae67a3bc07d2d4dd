"""A store on a scratch repository, and short words for using it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from datakit_core.store import Store
from tests.support.databases import open_store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(tmp_path / "store.git") as store:
        yield store
