"""Patterns on trees match what Python's own ``pathlib`` matches on a disk."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from datakit_ci import Tree

names = st.sampled_from(["a", "b", "ab", ".c", "a.py", "b.py"])
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
parts = st.sampled_from(["*", "a*", "*.py", "?", "[ab]", "**", "a", "ab"])
patterns = st.lists(parts, min_size=1, max_size=4).filter(lambda given: given[-1] != "**")


def without_conflicts(found: set[str]) -> set[str]:
    return {path for path in found if not any(other.startswith(f"{path}/") for other in found)}


@settings(max_examples=60)
@given(st.sets(paths, max_size=8).map(without_conflicts), patterns.map("/".join))
def test_patterns_match_as_pathlib_does(files: set[str], pattern: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for path in files:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text("")
        expected = {str(each.relative_to(root)) for each in root.glob(pattern) if each.is_file()}

    async def matched() -> list[str]:
        tree = Tree.from_files(dict.fromkeys(files, ""))
        return [path async for path in tree.glob(pattern)]

    found = asyncio.run(matched())
    assert set(found) == expected
    assert len(found) == len(expected)


@given(
    st.dictionaries(paths, st.binary()).filter(
        lambda files: without_conflicts(set(files)) == set(files)
    )
)
def test_files_come_back(files: dict[str, bytes]) -> None:
    async def read() -> dict[str, bytes]:
        tree = Tree.from_files(files)
        return {path: await tree.read(path) async for path in tree.walk()}

    assert asyncio.run(read()) == files
