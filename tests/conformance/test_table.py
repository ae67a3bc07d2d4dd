"""The table in ``README.md`` names a test for every scenario, and names only tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ITEMS = [*range(1, 42), *range(43, 56)]

ROW = re.compile(r"^\| (\d+) \| [^|]+ \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
TEST = re.compile(r"`([\w/.]+)::(\w+)`")


def rows() -> dict[int, tuple[str, str]]:
    text = (HERE / "README.md").read_text()
    return {int(number): (raw, client) for number, raw, client in ROW.findall(text)}


def test_every_scenario_has_a_row() -> None:
    assert list(rows()) == ITEMS


@pytest.mark.parametrize("item", ITEMS)
def test_every_test_that_the_table_names_exists(item: int) -> None:
    raw, client = rows()[item]
    assert TEST.search(raw), "no test"
    assert TEST.search(client) or client.startswith("none: "), "neither a test nor a reason"
    for file, name in TEST.findall(raw + client):
        assert f"def {name}(" in (HERE / file).read_text(), f"{file} has no {name}"


def test_every_numbered_test_is_in_its_row() -> None:
    table = rows()
    for file in sorted(HERE.glob("test_*.py")):
        for name, number in re.findall(r"def (test_(\d+)_\w+)\(", file.read_text()):
            assert f"`{file.name}::{name}`" in "".join(table[int(number)]), f"{file.name}::{name}"


def test_every_scenario_runs_in_9p2000l_unless_the_text_says_why_not() -> None:
    _, _, dialects = (HERE / "README.md").read_text().partition("## In which dialects")
    excused = {f"{file}::{name}" for file, name in TEST.findall(dialects)}
    without = {
        f"{file.name}::{name}"
        for file in HERE.glob("test_*.py")
        for name in re.findall(r"@classic.*\nasync def (test_\d+_\w+)\(", file.read_text())
    }
    assert without == excused
