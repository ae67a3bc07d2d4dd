"""The programs in ``docs/client.md`` print what the page says."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest

from datakit_core import client
from tests.support.served import serve

TEXT = (Path(__file__).parents[2] / "docs" / "client.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", TEXT, re.DOTALL)
ADDRESS = "tcp://127.0.0.1:5640"


@pytest.mark.parametrize(("program", "shown"), PROGRAMS)
async def test_a_program_prints_what_the_page_says(
    program: str, shown: str, tmp_path: Path
) -> None:
    assert ADDRESS in program
    async with serve(tmp_path / "db.git") as served:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "error", "-c", program.replace(ADDRESS, served.address),
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, _ = await process.communicate()
    assert (process.returncode, output.decode()) == (0, shown)


def test_every_program_is_tried_and_every_entry_named() -> None:
    assert len(PROGRAMS) == TEXT.count("```python") == 4
    for name in set(client.__all__) - {"Change", "ChangeKind", "Transaction"}:
        assert f"`{name}" in TEXT, name
