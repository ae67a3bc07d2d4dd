"""What is asked of GitHub's GraphQL API, and snapshots made of the answers: pure.

One request brings up to 50 pull requests with their comments and statuses; REST would take two
requests for each. Source: https://docs.github.com/en/graphql/reference
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from datakit_ci.bridges.github.resources import (
    Comment,
    CommentKey,
    Head,
    Key,
    Pull,
    PullKey,
    RefKey,
    StatusKey,
    Value,
    is_storable,
)
from datakit_ci.metadata import CommitStatus

__all__ = ["COMMENTS", "COMMIT", "PULL", "PULLS", "REF", "REFS", "of_commit", "of_pull", "of_ref"]

_STATUS: Final = (
    "fragment said on Commit { oid status { contexts { context state description targetUrl } } }"
)

_REF: Final = """
fragment where on Ref {
  name
  target { __typename oid ...said ... on Tag { target { __typename oid ...said
    ... on Tag { target { __typename oid ...said } } } } }
}
"""

_PULL: Final = """
fragment pull on PullRequest {
  number title state headRefOid baseRefName isCrossRepository
  headRepositoryOwner { login }
  comments(first: 100) {
    pageInfo { hasNextPage endCursor } nodes { databaseId body author { login } }
  }
  commits(last: 1) { nodes { commit { ...said } } }
}
"""

PULLS: Final = (
    """
query($owner: String!, $name: String!, $cursor: String) {
  repository(owner: $owner, name: $name) {
    pullRequests(states: [OPEN], first: 50, after: $cursor) {
      pageInfo { hasNextPage endCursor }
      nodes { ...pull }
    }
  }
}
"""
    + _PULL
    + _STATUS
)

PULL: Final = (
    """
query($owner: String!, $name: String!, $number: Int!) {
  repository(owner: $owner, name: $name) { pullRequest(number: $number) { ...pull } }
}
"""
    + _PULL
    + _STATUS
)

COMMENTS: Final = """
query($owner: String!, $name: String!, $number: Int!, $cursor: String) {
  repository(owner: $owner, name: $name) {
    pullRequest(number: $number) {
      comments(first: 100, after: $cursor) {
        pageInfo { hasNextPage endCursor } nodes { databaseId body author { login } }
      }
    }
  }
}
"""

REFS: Final = (
    """
query($owner: String!, $name: String!, $prefix: String!, $cursor: String) {
  repository(owner: $owner, name: $name) {
    refs(refPrefix: $prefix, first: 100, after: $cursor) {
      pageInfo { hasNextPage endCursor }
      nodes { ...where }
    }
  }
}
"""
    + _REF
    + _STATUS
)

REF: Final = (
    """
query($owner: String!, $name: String!, $ref: String!) {
  repository(owner: $owner, name: $name) { ref(qualifiedName: $ref) { ...where } }
}
"""
    + _REF
    + _STATUS
)

COMMIT: Final = (
    """
query($owner: String!, $name: String!, $commit: GitObjectID!) {
  repository(owner: $owner, name: $name) { object(oid: $commit) { __typename ...said } }
}
"""
    + _STATUS
)

_Json = Mapping[str, Any]
_MOST_DEREFERENCED = 3


def of_pull(node: _Json, comments: list[_Json]) -> Iterator[tuple[Key, Value]]:
    """What an answer says of a pull request, with all its comments; nothing if it is closed."""
    if node["state"] != "OPEN":
        return
    number = int(node["number"])
    yield (
        PullKey(number),
        Pull(
            head=node["headRefOid"],
            title=" ".join(node["title"].split()),
            owner=(node["headRepositoryOwner"] or {}).get("login", ""),
            base=node["baseRefName"],
            fork=bool(node["isCrossRepository"]),
        ),
    )
    for comment in comments:
        author = (comment["author"] or {}).get("login", "")
        yield CommentKey(number, str(comment["databaseId"])), Comment(author, comment["body"])
    for commit in node["commits"]["nodes"]:
        if commit["commit"]["oid"] == node["headRefOid"]:
            yield from of_commit(commit["commit"])


def of_ref(kind: str, node: _Json) -> Iterator[tuple[Key, Value]]:
    """What an answer says of a branch or tag; nothing if it is at no commit."""
    target, steps = node["target"], 0
    while target is not None and target["__typename"] == "Tag" and steps < _MOST_DEREFERENCED:
        target, steps = target.get("target"), steps + 1
    key = RefKey(kind, node["name"])
    if target is not None and target["__typename"] == "Commit" and is_storable(key):
        yield key, Head(target["oid"])
        yield from of_commit(target)


def of_commit(node: _Json) -> Iterator[tuple[Key, Value]]:
    """The statuses of a commit, the newest of each context."""
    for said in (node.get("status") or {}).get("contexts", ()):
        key = StatusKey(node["oid"], said["context"])
        if is_storable(key):
            state = said["state"].lower()
            yield (
                key,
                CommitStatus(
                    state="pending" if state == "expected" else state,
                    description=said["description"] or "",
                    target_url=said["targetUrl"] or "",
                ),
            )
