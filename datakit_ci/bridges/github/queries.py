"""What is asked of GitHub's GraphQL API, and snapshots made of the answers: pure.

One request brings up to 50 pull requests with their comments and statuses; REST would take two
requests for each. Source: https://docs.github.com/en/graphql/reference
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from datakit_ci.bridges.github.checks import status_of
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

__all__ = [
    "COMMENTS",
    "COMMIT",
    "PULL",
    "PULLS",
    "REF",
    "REFS",
    "more_checks",
    "of_commit",
    "of_pull",
    "of_ref",
    "unfinished_checks",
    "with_checks",
]

_Json = Mapping[str, Any]

_MOST_DEREFERENCED = 3

_STATUS: Final = (
    "fragment said on Commit { oid status { contexts { context state description targetUrl } } }"
)

_RUNS: Final = "pageInfo { hasNextPage endCursor } nodes { name externalId title detailsUrl }"

_WITH_CHECKS: Final = """
fragment said on Commit {
  oid status { contexts { context state description targetUrl } }
  checkSuites(first: 1, filterBy: {appId: APP}) {
    nodes { checkRuns(first: 100, filterBy: {checkType: LATEST}) { RUNS } }
  }
}
"""

_CHECKS: Final = """
query($owner: String!, $name: String!, $commit: GitObjectID!, $cursor: String) {
  repository(owner: $owner, name: $name) {
    nameWithOwner
    object(oid: $commit) {
      __typename oid
      ... on Commit {
        checkSuites(first: 1, filterBy: {appId: APP}) {
          nodes { checkRuns(first: 100, after: $cursor, filterBy: {checkType: LATEST}) { RUNS } }
        }
      }
    }
  }
}
"""

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
    nameWithOwner
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
  repository(owner: $owner, name: $name) { nameWithOwner pullRequest(number: $number) { ...pull } }
}
"""
    + _PULL
    + _STATUS
)

COMMENTS: Final = """
query($owner: String!, $name: String!, $number: Int!, $cursor: String) {
  repository(owner: $owner, name: $name) {
    nameWithOwner
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
    nameWithOwner
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
  repository(owner: $owner, name: $name) { nameWithOwner ref(qualifiedName: $ref) { ...where } }
}
"""
    + _REF
    + _STATUS
)

COMMIT: Final = (
    """
query($owner: String!, $name: String!, $commit: GitObjectID!) {
  repository(owner: $owner, name: $name) {
    nameWithOwner object(oid: $commit) { __typename ...said }
  }
}
"""
    + _STATUS
)


def with_checks(query: str, app: int) -> str:
    """A query that also asks for the check runs that an App has made of commits.

    There is one check suite for an App and a commit; of its check runs the newest of each name.
    """
    return query.replace(_STATUS, _completed(_WITH_CHECKS, app))


def more_checks(app: int) -> str:
    """The query for further check runs of a commit: few have more than a hundred."""
    return _completed(_CHECKS, app)


def _completed(query: str, app: int) -> str:
    return query.replace("APP", str(app)).replace("RUNS", _RUNS)


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
    """The statuses of a commit, the newest of each context; a check run of ours comes after it."""
    for said in (node.get("status") or {}).get("contexts", ()):
        key = StatusKey(node["oid"], said["context"])
        if is_storable(key):
            yield key, _said(said)
    for run in (run for page in _pages(node) for run in page["nodes"]):
        key = StatusKey(node["oid"], run["name"])
        status = status_of(run)
        if status is not None and is_storable(key):
            yield key, status


def _said(status: _Json) -> CommitStatus:
    state = status["state"].lower()
    return CommitStatus(
        state="pending" if state == "expected" else state,
        description=status["description"] or "",
        target_url=status["targetUrl"] or "",
    )


def take_statuses(
    node: _Json, is_wanted: Callable[[str], bool]
) -> Mapping[StatusKey, CommitStatus]:
    """The statuses of some contexts in an answer, about a pull request, ref or commit.

    They are taken out of it: what is read of it afterwards has only check runs of these names.
    """
    found: dict[StatusKey, CommitStatus] = {}
    for commit in _commits(node):
        contexts = (commit.get("status") or {}).get("contexts", [])
        for said in [each for each in contexts if is_wanted(each["context"])]:
            contexts.remove(said)
            found[StatusKey(commit["oid"], said["context"])] = _said(said)
    return found


def unfinished_checks(node: _Json) -> Iterator[tuple[str, str]]:
    """Commits in an answer, about a pull request, ref or commit, that have more check runs.

    Yields:
        The commit, and the cursor to go on from.
    """
    for commit in _commits(node):
        for page in _pages(commit):
            if page["pageInfo"]["hasNextPage"]:
                yield commit["oid"], page["pageInfo"]["endCursor"]


def _commits(node: _Json) -> Iterator[_Json]:
    if "commits" in node:
        yield from (each["commit"] for each in node["commits"]["nodes"])
    while (target := node.get("target")) is not None:
        node = target
    if "checkSuites" in node:
        yield node


def _pages(commit: _Json) -> Iterator[_Json]:
    for suite in (commit.get("checkSuites") or {}).get("nodes", ()):
        if suite["checkRuns"] is not None:
            yield suite["checkRuns"]
