"""Terms: what is refused while they are put together."""

from __future__ import annotations

import pytest

from datakit_ci import TargetTerms, fail, gate, join, pending, return_
from datakit_ci.operation import Map, Operation
from datakit_core.errors import ConfigError
from tests.support.story import MAIN

SOURCE = TargetTerms(MAIN).source


def test_people_are_told_a_reason() -> None:
    with pytest.raises(ConfigError, match=r"fail\(\) needs a reason"):
        fail(" ")
    with pytest.raises(ConfigError, match=r"pending\(\) needs a reason"):
        pending("")


def test_join_needs_parts_at_paths() -> None:
    with pytest.raises(ConfigError, match="at least one part"):
        join({})
    with pytest.raises(ConfigError, match=r"join\(\): '\.\./x' cannot be a path"):
        join({"../x": SOURCE})


def test_what_changes_nothing_adds_nothing() -> None:
    assert join({"": SOURCE}) is SOURCE
    assert gate(SOURCE) is SOURCE


def test_join_is_the_same_in_any_order() -> None:
    one = join({"": SOURCE, "a": SOURCE, "b": SOURCE})
    other = join({"b": SOURCE, "": SOURCE, "a": SOURCE})
    assert one.operation == other.operation


def test_values_and_functions_are_compared_by_identity() -> None:
    assert return_(1).operation != return_(1).operation
    assert Map(str) != Map(str)
    assert Operation().label == "operation"


@pytest.mark.parametrize(("title", "name"), [("a/b#2:c", "a_b_2_c"), ("", "str")])
def test_titles_do_not_break_ids(title: str, name: str) -> None:
    assert Map(str, title).name == name
    assert Map(lambda value: value).name == ""
