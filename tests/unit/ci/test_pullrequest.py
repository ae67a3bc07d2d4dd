"""Which pull requests are a fork's."""

from __future__ import annotations

import pytest

from datakit_ci.pullrequest import PullRequest


@pytest.mark.parametrize(
    ("files", "is_fork"),
    [
        ({}, True),
        ({"owner": "me"}, False),
        ({"owner": "Me"}, False),
        ({"owner": "me2"}, True),
        ({"owner": "me", "fork": "true"}, True),
        ({"owner": "me", "fork": "perhaps"}, True),
        ({"owner": "you", "fork": "false"}, False),
    ],
)
def test_it_is_one_unless_it_says_otherwise(files: dict[str, str], is_fork: bool) -> None:
    assert PullRequest.parse(files).is_fork("me/app") is is_fork


def test_files_of_no_interest_do_not_matter() -> None:
    found = PullRequest.parse({"owner": "me", "base": "main", "title": "A title", "state": "open"})
    assert found == PullRequest("me", "main", None, "A title")
