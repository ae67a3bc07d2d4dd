"""Where tests have failed, in the words of several languages."""

from __future__ import annotations

import pytest

from datakit_ci.bridges.github.places import beginnings, places
from datakit_ci.junit import Case

PYTEST = """
    def test_sum():
>       assert add(1, 2) == 4
E       assert 3 == 4

tests/test_sum.py:7: AssertionError
"""
PYTHON = """Traceback (most recent call last):
  File "/tmp/b/app/main.py", line 3, in run
    read()
  File "/usr/lib/python3/json.py", line 9, in read
ValueError"""
GO = """    sum_test.go:14: got 3
        want 4"""
JAVASCRIPT = """Error: no
    at add (/tmp/b/src/sum.js:5:11)
    at Object.<anonymous> (/tmp/b/test/sum.test.js:9:3)"""
RUST = "thread 'main' panicked at src/lib.rs:12:9:"


@pytest.mark.parametrize(
    ("text", "first"),
    [
        (PYTEST, ("tests/test_sum.py", 7)),
        (PYTHON, ("/usr/lib/python3/json.py", 9)),
        (GO, ("sum_test.go", 14)),
        (JAVASCRIPT, ("/tmp/b/src/sum.js", 5)),
        (RUST, ("src/lib.rs", 12)),
    ],
    ids=["pytest", "python", "go", "javascript", "rust"],
)
def test_the_likeliest_place_comes_first(text: str, first: tuple[str, int]) -> None:
    assert next(places(Case("g", "n", detail=text))) == first


def test_all_places_are_named_until_one_is_in_the_repository() -> None:
    assert list(places(Case("g", "n", detail=PYTHON)))[1] == ("/tmp/b/app/main.py", 3)


def test_the_test_itself_is_a_place_where_nothing_else_is_said() -> None:
    assert list(places(Case("g", "n", message="no", file="tests/a.py", line=0))) == [
        ("tests/a.py", 1)
    ]
    assert list(places(Case("g", "n", message="no"))) == []


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/tmp/b/src/a.py", ["tmp/b/src/a.py", "b/src/a.py", "src/a.py"]),
        ("./src/a.py", ["src/a.py", "a.py"]),
        ("C:\\b\\src\\a.py", ["C:/b/src/a.py", "b/src/a.py", "src/a.py"]),
        ("../../etc/passwd", []),
        ("/home/me/.venv/lib/site-packages/json/a.py", []),
        ("/usr/lib/python3/json.py", []),
    ],
)
def test_a_path_in_a_builds_own_directory_is_one_of_the_repository(
    path: str, names: list[str]
) -> None:
    assert list(beginnings(path)) == names


def test_a_text_of_many_places_costs_little() -> None:
    text = "\n".join(f"src/a{n}.py:{n + 1}: bad" for n in range(5_000)) + "x" * 30_000
    assert len(list(places(Case("g", "n", detail=text)))) == 20
