"""Searching a whole log: what is shown is what is found, at a cost that nobody can drive up."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datakit_ci.dashboard.ansi import plain
from datakit_ci.dashboard.logsearch import LONGEST_QUERY, Query, find, text_query


async def pieces(log: bytes, step: int) -> AsyncIterator[bytes]:
    for start in range(0, len(log), step):
        yield log[start : start + step]


async def search(log: bytes, query: Query, step: int = 7) -> list[int]:
    return [line async for part in find(pieces(log, step), query) for line in part.lines]


async def test_text_is_found_whatever_its_colours_and_capitals() -> None:
    log = b"one\n2 \x1b[31mFAI\x1b[1mLED\x1b[0m\nfail\rdone\nlast failed"
    assert await search(log, text_query("failed")) == [2, 4]
    assert await search(log, text_query("FAILED", case=True)) == [2]
    assert await search(log, text_query("done")) == [3]
    assert await search(log, text_query("fail\rdone")) == []


async def test_text_means_itself_and_an_expression_what_it_says() -> None:
    log = b"a.c\nabc\n\na+b\n"
    assert await search(log, text_query("a.c")) == [1]
    assert await search(log, text_query("^a.c$", expression=True)) == [1, 2]
    assert await search(log, text_query("^$", expression=True)) == [3]
    assert await search(log, text_query("a+b")) == [4]


async def test_an_expression_never_reaches_into_the_next_line() -> None:
    assert await search(b"a\nb\n", text_query(r"a\nb", expression=True), 100) == []
    assert await search(b"a\nb\n", text_query("a[^x]*b", expression=True), 100) == []
    assert await search(b"a\nb\n", text_query("(?s)a.b", expression=True), 100) == []


async def test_letters_of_all_scripts_have_capitals() -> None:
    assert await search("Straße ÉTÉ\n".encode(), text_query("été")) == [1]


async def test_a_long_line_is_searched_up_to_a_limit_and_what_follows_is_numbered() -> None:
    log = b"needle" + b"x" * 3_000_000 + b" far needle\nneedle\n"
    assert await search(log, text_query("needle"), 65536) == [1, 2]
    assert await search(log, text_query("far"), 65536) == []


@pytest.mark.parametrize("expression", ["(a*)*b", "(a|aa)+$", "(.*)(.*)(.*)(.*)(.*)x"])
async def test_no_expression_takes_for_ever(expression: str) -> None:
    assert await search(b"a" * 50_000 + b"\n", text_query(expression, expression=True), 65536) in (
        [],
        [1],
    )


@pytest.mark.parametrize("expression", ["(", "a{9999}", "(?<=a)b", r"\1", "", "x" * 1001])
def test_what_is_no_expression_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=f"expression|1 to {LONGEST_QUERY}") as refused:
        text_query(expression, expression=True)
    assert "(?m" not in str(refused.value)


LINES = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=8).map(str.encode)
    | st.lists(st.sampled_from([b"a", b"b", b"\x1b[31m", b"\r", b"\b"]), max_size=6).map(b"".join),
    max_size=12,
)


@given(LINES, st.integers(1, 50))
async def test_a_line_is_found_if_and_only_if_its_text_has_it(
    lines: list[bytes], step: int
) -> None:
    log = b"".join(line + b"\n" for line in lines)
    found = await search(log, text_query("ab", case=True), step)
    assert found == [n for n, line in enumerate(lines, 1) if "ab" in plain(line)]
