"""What may be read and written."""

from __future__ import annotations

import pytest

from datakit_ci.bridges.github.capabilities import Capabilities, Resource
from datakit_core.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "resource", "context", "reads", "writes"),
    [
        ("", Resource.PULL, "", False, False),
        ("*:r", Resource.PULL, "", True, False),
        ("*:rw", Resource.STATUS, "any", True, True),
        ("*:r,pr:w", Resource.PULL, "", False, True),
        ("*:rw,status:r", Resource.STATUS, "ci/datakit/x", True, False),
        ("*:r,status[ci/datakit]:x", Resource.STATUS, "ci/datakit", True, True),
        ("*:r,status[ci/datakit]:x", Resource.STATUS, "ci/datakit/unit", True, True),
        ("*:rw,status[ci/datakit]:x", Resource.STATUS, "ci/datakitten", True, False),
        ("*:rw,status[ci/datakit]:x", Resource.STATUS, "lint", True, False),
        ("*:rw,status[a]:r,status[a/b]:w", Resource.STATUS, "a/b/c", False, True),
        ("*:rw,status[a]:r", Resource.STATUS, "b", True, True),
        ("*:r,webhook:rw", Resource.WEBHOOK, "", True, True),
    ],
)
def test_the_most_particular_item_counts(
    text: str, resource: Resource, context: str, reads: bool, writes: bool
) -> None:
    may = Capabilities.parse(text)
    assert (may.may_read(resource, context), may.may_write(resource, context)) == (reads, writes)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("nonsense:r", "no capability"),
        ("*", "no capability"),
        ("pr:q", "no capability"),
        ("pr[x]:r", "only statuses and checks"),
    ],
)
def test_what_makes_no_sense_is_named(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Capabilities.parse(text)


def test_only_an_app_says_by_check_runs_what_may_be_one() -> None:
    may = Capabilities.parse("*:rw,check[ci/datakit]:x")
    assert not may.holds_check("ci/datakit/test")
    assert may.of_app().holds_check("ci/datakit/test")
    assert not may.of_app().holds_check("other")
