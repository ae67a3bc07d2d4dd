"""Canonical JSON: its bytes, which digests in the database depend on, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from datakit_ci.canonical import canonical_json, digest


def test_the_bytes_never_change() -> None:
    value: Any = {"b": [1, 2.5, True, None], "a": {"ä": "\udce9\n"}, "c": ()}
    assert canonical_json(value) == (
        b'{"a":{"\\u00e4":"\\udce9\\n"},"b":[1,2.5,true,null],"c":[]}\n'
    )
    # printf '{}\n' | sha256sum
    assert digest({}) == "ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356"


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"a": float("-inf")}])
def test_numbers_that_json_has_not_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json(value)


@pytest.mark.parametrize("value", [{1: "a"}, [{None: 1}], {"a": {2: 3}}, {1, 2}, b"x", object()])
def test_what_is_not_json_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        canonical_json(value)
