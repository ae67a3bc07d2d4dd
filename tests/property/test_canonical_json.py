"""Canonical JSON: one text for a value, and the same value back."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from datakit_ci.canonical import JsonValue, canonical_json, digest

scalars: st.SearchStrategy[JsonValue] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec=None)),
)
values: st.SearchStrategy[JsonValue] = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(max_size=5), inner)),
    max_leaves=10,
)


@given(values)
def test_a_value_comes_back_from_one_line_of_ascii(value: JsonValue) -> None:
    text = canonical_json(value)
    assert json.loads(text) == value
    assert text.endswith(b"\n")
    assert text.count(b"\n") == 1
    assert text.isascii()


@given(st.dictionaries(st.text(max_size=5), values, max_size=5))
def test_the_order_of_keys_does_not_matter(value: dict[str, JsonValue]) -> None:
    turned = dict(reversed(list(value.items())))
    assert canonical_json(turned) == canonical_json(value)
    assert digest(turned) == digest(value)


@given(values)
def test_printing_again_changes_nothing(value: JsonValue) -> None:
    assert canonical_json(json.loads(canonical_json(value))) == canonical_json(value)
