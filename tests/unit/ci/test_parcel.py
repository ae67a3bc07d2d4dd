"""Values that go to a pipeline's process and come back."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from datakit_ci.canonical import canonical_json
from datakit_ci.metadata import CommitStatus
from datakit_ci.parcel import pack, trees_in, unpack, waits_for
from datakit_ci.result import Failed, Ok, Pending
from datakit_ci.state import Status
from datakit_ci.tree import Tree
from datakit_core.client.api import ObjectId, TreeId
from datakit_core.errors import ConfigError

TREE = Tree(TreeId(ObjectId("a" * 40)))


@pytest.mark.parametrize(
    "value",
    [
        None,
        [1, 0.5, True, "x", ["y"]],
        (),
        ("a", (TREE, None)),
        {"tree": "not one", "tuple": [1]},
        {},
        datetime(2026, 3, 4, 12, tzinfo=UTC),
        CommitStatus("success", "fine", "http://x/"),
        [
            Ok((1,)),
            Failed("no", "n", Status.ERROR, blocked=True),
        ],
    ],
)
def test_a_value_comes_back_as_it_was(value: object) -> None:
    packed = json.loads(canonical_json(pack(value)))
    assert unpack(packed) == value


def test_trees_are_found_however_deep_they_are() -> None:
    assert trees_in(pack({"x": [Ok((TREE, {"tree": "b"}))]})) == {"a" * 40}
    assert trees_in(pack({"tree": "a"})) == frozenset()


def test_what_is_pending_is_waited_for_and_not_packed() -> None:
    assert waits_for([1, {"x": Ok((Pending("later", "n"),))}]) == "later"
    assert waits_for([1, {"x": Ok((Failed("no", "n"),))}]) is None
    with pytest.raises(ConfigError):
        pack(Pending("later", "n"))


@pytest.mark.parametrize(
    "parcel",
    [
        {},
        {"what": 1},
        {"tree": 3},
        {"tuple": [], "more": 1},
        {"time": "noon"},
        {"failed": ["no", "n", "sort of", True]},
        {"ok": {"what": 1}},
    ],
)
def test_what_is_no_parcel_is_refused(parcel: Any) -> None:
    with pytest.raises(ConfigError):
        unpack(parcel)
