"""Lists in parts: nothing is told twice or left out, whatever comes and goes meanwhile."""

from __future__ import annotations

import base64

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from datakit_ci.dashboard.api.paging import Part, cut, decode_cursor, encode_cursor

_TEXT = st.text(st.characters(codec="utf-8"))


@given(st.sets(_TEXT), st.integers(1, 7))
def test_the_parts_together_are_the_list(names: set[str], limit: int) -> None:
    items, seen, cursor = sorted(names), [], ""
    for _ in range(len(items) + 1):
        part, following = cut(
            items, Part.model_validate({"limit": limit, "cursor": cursor}), lambda name: (name,)
        )
        seen += part
        if following is None:
            break
        cursor = following
    assert seen == items


def test_an_item_that_has_gone_meanwhile_does_no_harm() -> None:
    _, cursor = cut(["a", "b", "c"], Part(limit=2, cursor=""), lambda name: (name,))
    assert cursor is not None
    assert cut(["a", "c", "d"], Part(limit=9, cursor=cursor), lambda name: (name,)) == (
        ["c", "d"],
        None,
    )


@given(st.lists(_TEXT))
def test_a_cursor_can_be_read_again(key: list[str]) -> None:
    assert decode_cursor(encode_cursor(key)) == tuple(key)


@pytest.mark.parametrize("text", ["x", "€", "bnVsbA", "WzFd", "====", "A" * 4000])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(web.HTTPBadRequest):
        decode_cursor(text)


def test_a_deeply_nested_cursor_is_refused() -> None:
    deep = base64.urlsafe_b64encode(b"[" * 3000).decode().rstrip("=")
    with pytest.raises(web.HTTPBadRequest):
        decode_cursor(deep)
