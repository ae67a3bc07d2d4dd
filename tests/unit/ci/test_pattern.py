"""Glob patterns: what each special character matches, and which directories need a look."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datakit_ci.pattern import Pattern, is_pattern


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("dist/*.whl", "dist/a.whl", True),
        ("dist/*.whl", "dist/sub/a.whl", False),
        ("dist/*.whl", "dist/a.tar", False),
        ("**/*.py", "a.py", True),
        ("**/*.py", "x/y/a.py", True),
        ("**/*.py", "x/y/a.pyc", False),
        ("src/**", "src/a/b", True),
        ("src/**", "src", False),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("**/**", "a", True),
        ("?", "a", True),
        ("?", "ab", False),
        ("[ab]", "b", True),
        ("*", ".hidden", True),
        ("plain", "plain", True),
        ("*", "line\nbreak", True),
    ],
)
def test_what_a_pattern_matches(pattern: str, path: str, expected: bool) -> None:
    assert Pattern.parse(pattern).matches(path) is expected


def test_a_directory_that_cannot_hold_a_match_is_closed() -> None:
    pattern = Pattern.parse("src/*.py")
    assert pattern.is_open(pattern.step(pattern.start, "src"))
    assert not pattern.is_open(pattern.step(pattern.start, "docs"))
    below = pattern.step(pattern.step(pattern.start, "src"), "a.py")
    assert pattern.is_match(below)
    assert not pattern.is_open(below)


def test_which_texts_are_patterns() -> None:
    assert [is_pattern(text) for text in ("a*", "a?", "[a]", "a/b.c")] == [True, True, True, False]


NAMES = st.text(alphabet="ab.", min_size=1, max_size=3).filter(lambda name: name.strip("."))


@given(
    st.lists(NAMES | st.just("*") | st.just("a*"), min_size=1, max_size=3),
    st.lists(NAMES, min_size=1, max_size=4),
)
def test_without_stars_for_directories_it_agrees_with_pathlib(
    parts: list[str], names: list[str]
) -> None:
    path = PurePosixPath(*names)
    expected = len(parts) == len(names) and path.match("/".join(parts))
    assert Pattern.parse("/".join(parts)).matches("/".join(names)) is expected
