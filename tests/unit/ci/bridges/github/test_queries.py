"""What the bridge asks of GitHub is what GitHub's published schema has."""

from __future__ import annotations

from pathlib import Path

import pytest
from graphql import build_schema, parse, validate

from datakit_ci.bridges.github import queries

# Published by GitHub; the file says of which version it is a part.
_SCHEMA = build_schema(
    (Path(__file__).parents[4] / "support/github_schema.graphql").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", ["COMMENTS", "COMMIT", "PULL", "PULLS", "REF", "REFS"])
def test_a_query_is_one_that_github_understands(name: str) -> None:
    assert validate(_SCHEMA, parse(getattr(queries, name))) == []


@pytest.mark.parametrize("name", ["COMMIT", "PULL", "PULLS", "REF", "REFS"])
def test_a_query_with_check_runs_is_one_that_github_understands(name: str) -> None:
    query = queries.with_checks(getattr(queries, name), 3)
    assert "appId: 3" in query
    assert validate(_SCHEMA, parse(query)) == []
    assert validate(_SCHEMA, parse(queries.more_checks(3))) == []


def test_a_field_that_github_does_not_have_would_be_found() -> None:
    [error] = validate(_SCHEMA, parse(queries.REFS.replace("hasNextPage", "hasMorePages")))
    assert "hasMorePages" in error.message
