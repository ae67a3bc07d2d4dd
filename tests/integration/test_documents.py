"""What the documents show is what happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from datakit_core.dbfs import DatabaseFiles
from datakit_core.store import Store
from tests.support.files import Files
from tests.support.shell import Shell, sessions, without_commits

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", ["filesystem.md"])
async def test_the_sessions_of_a_document_print_what_it_shows(name: str, tmp_path: Path) -> None:
    steps = sessions((DOCS / name).read_text())
    assert len(steps) > 10
    async with Store.open(tmp_path / "db.git", create=True) as store:
        shell = Shell(Files(DatabaseFiles(store).connect()))
        for step in steps:
            printed = await shell.run(step.command)
            assert without_commits(printed) == without_commits(step.output), step.command
