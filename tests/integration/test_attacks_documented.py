"""``docs/attacks.md`` names a test for every attack, and only tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
HOSTILE = TESTS / "integration" / "hostile"
TEXT = (TESTS.parent / "docs" / "attacks.md").read_text()
TABLES = TEXT.split("## The attacks, line by line")[1].split("\n## ")[0]
ROWS = [row for row in re.findall(r"^\| (.+) \|$", TABLES, re.MULTILINE) if "---" not in row]
ATTACKS = [row for row in ROWS if row.partition(" | ")[0] not in {"Attack", "Line"}]

CITED = re.compile(r"`((?:tests/)?[\w/]*test_\w+\.py)((?:::\w+)*)`")
LINES = range(1, 48)


def defined(file: Path) -> set[str]:
    """``test``, ``Class`` and ``Class::test`` of a file."""
    found, inside = set[str](), ""
    for indent, kind, name in re.findall(
        r"^( *)(?:async )?(class|def) (\w+)", file.read_text(), re.MULTILINE
    ):
        if not indent:
            inside = name if kind == "class" else ""
            found.add(name)
        elif inside:
            found.add(f"{inside}::{name}")
    return found


@pytest.mark.parametrize("row", ATTACKS, ids=lambda row: row.partition(" | ")[0])
def test_an_attack_has_a_test_or_a_reason(row: str) -> None:
    cited = CITED.findall(row)
    assert cited or 'see "Time" above' in row
    for path, name in cited:
        file = TESTS.parent / path if path.startswith("tests/") else HOSTILE / path
        assert file.is_file(), f"there is no {path}"
        assert not name or name.removeprefix("::") in defined(file), f"{path} has no {name}"


@pytest.mark.parametrize("row", ATTACKS, ids=lambda row: row.partition(" | ")[0])
def test_nothing_that_looks_like_a_test_is_cited_by_half(row: str) -> None:
    for quoted in re.findall(r"`([^`]*test[^`]*)`", row):
        assert CITED.fullmatch(f"`{quoted}`"), quoted
    assert "..." not in row


def test_every_line_of_the_list_has_a_row() -> None:
    numbers: set[int] = set()
    for row in ATTACKS:
        found = re.match(r"\d+(?:, \d+)*", row)
        numbers.update(map(int, found[0].split(", ")) if found else ())
    assert numbers == set(LINES)
