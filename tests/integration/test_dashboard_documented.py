"""``docs/dashboard.md`` has every address of the dashboard, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from datakit_ci.dashboard.app import ROUTES

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "dashboard.md").read_text()
TABLE = TEXT.partition("## Addresses\n")[2].partition("\n## ")[0]
PLACEHOLDERS = {
    "user": "USER", "repo": "REPO", "name": "NAME", "stage": "STAGE", "static": "STATIC",
    "key": "KEY", "branch": "BRANCH", "commit": "COMMIT", "path": "PATH", "provider": "PROVIDER",
}  # fmt: skip
SAME = {"N": "NAME", "SHA": "COMMIT"}
"""Other words that the table has for them, where they say more."""


def expanded(path: str) -> Iterator[str]:
    """The addresses that a route answers, as the table writes them: each choice is one."""
    pieces = re.split(r"(\{\w+(?::(?:[^{}]|\{[^{}]*\})*)?\})", path)
    choices = []
    for piece in pieces:
        name, _, pattern = piece[1:-1].partition(":") if piece.startswith("{") else ("", "", "")
        is_choice = bool(name) and re.fullmatch(r"\w+(?:\|\w+)*", pattern) is not None
        choices.append(pattern.split("|") if is_choice else [PLACEHOLDERS.get(name, piece)])
    yield from map("".join, product(*choices))


def documented() -> list[str]:
    """The addresses in the first column, without queries."""
    found: list[str] = []
    for row in TABLE.splitlines():
        cell = row.removeprefix("|").partition(" | ")[0]
        found += (each.partition("?")[0] for each in re.findall(r"`((?:…|/)[^`\s]*)`", cell))
    return [
        re.sub(r"\b(N|SHA)\b", lambda word: SAME[word[0]], each).replace("//", "/")
        for each in found
    ]


def matches(written: str, address: str) -> bool:
    """Whether an address is meant; ``…`` stands for whatever is before or after."""
    return re.fullmatch(re.escape(written).replace("…", ".*"), address) is not None


ADDRESSES = sorted({each for route in ROUTES for each in expanded(route.path)})


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_address_is_in_the_table(address: str) -> None:
    assert any(matches(written, address) for written in documented())


@pytest.mark.parametrize("written", sorted(set(documented())))
def test_every_address_in_the_table_is_there(written: str) -> None:
    assert any(matches(written, address) for address in ADDRESSES)


def test_every_picture_is_there_and_small() -> None:
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+\.png)\)", TEXT)
    assert pictures
    for name in pictures:
        assert (DOCS / name).stat().st_size < 150_000, name


def test_every_key_of_the_help_is_on_the_page() -> None:
    base = (DOCS.parent / "web" / "templates" / "base.html").read_text()
    keys = set(re.findall(r"<kbd>(.)</kbd>", base.partition('<dialog id="help"')[2]))
    section = TEXT.partition("## Keys\n")[2].partition("\n## ")[0]
    assert len(keys) > 15
    assert {key for key in keys if f"`{key}`" not in section} == set()
