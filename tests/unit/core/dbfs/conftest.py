"""A real store in a temporary directory, and its tree as one connection sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from datakit_core.dbfs import DatabaseFiles
from datakit_core.store import InlineWriter, Store
from tests.support.files import Files


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store.open(tmp_path / "db.git", create=True, writer=InlineWriter) as opened:
        yield opened


@pytest.fixture
def database(store: Store) -> DatabaseFiles:
    return DatabaseFiles(store)


@pytest.fixture
def files(database: DatabaseFiles) -> Iterator[Files]:
    root = database.connect()
    yield Files(root)
    root.close()
