"""From an event to where to look."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from datakit_ci.bridges.github.events import Approval, Wish, approval_of, scope_of, wish_of
from datakit_ci.bridges.github.resources import Head, Pull, PullKey, RefKey, Snapshot
from datakit_ci.bridges.github.scope import NOTHING, WHOLE, Scope, overlay

HERE = {"repository": {"full_name": "ann/app"}}


@pytest.mark.parametrize(
    ("event", "payload", "scope"),
    [
        ("pull_request", {"number": 7}, Scope(pulls=frozenset({7}))),
        (
            "issue_comment",
            {"issue": {"number": 7, "pull_request": {}}},
            Scope(pulls=frozenset({7})),
        ),
        ("push", {"ref": "refs/heads/a/b"}, Scope(refs=frozenset({RefKey("heads", "a/b")}))),
        ("push", {"ref": "refs/tags/v1"}, Scope(refs=frozenset({RefKey("tags", "v1")}))),
        (
            "delete",
            {"ref": "x", "ref_type": "branch"},
            Scope(refs=frozenset({RefKey("heads", "x")})),
        ),
        ("status", {"sha": "a" * 40}, Scope(commits=frozenset({"a" * 40}))),
        ("repository", {"action": "renamed"}, WHOLE),
        ("pull_request", {"number": "seven"}, WHOLE),
    ],
)
def test_an_event_says_where_to_look(event: str, payload: dict[str, object], scope: Scope) -> None:
    assert scope_of(event, HERE | payload) == ("ann/app", scope)


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ("star", HERE),
        ("issue_comment", HERE | {"issue": {"number": 7}}),
        ("push", HERE | {"ref": "refs/notes/x"}),
        ("create", HERE | {"ref": "x", "ref_type": "repository"}),
        ("push", {}),
        ("push", []),
        ("push", {"repository": {"full_name": 3}}),
    ],
)
def test_other_events_say_nothing(event: str, payload: object) -> None:
    assert scope_of(event, payload) is None


def test_many_single_looks_become_one_at_everything() -> None:
    few = Scope(pulls=frozenset(range(10))) | Scope(commits=frozenset("ab"))
    assert not few.whole
    assert (few | Scope(pulls=frozenset(range(10, 20)))) == WHOLE
    assert not NOTHING
    assert NOTHING | WHOLE == WHOLE


def test_a_look_at_a_part_leaves_the_rest_as_it_was() -> None:
    known: Snapshot = {
        PullKey(1): Pull("a" * 40),
        PullKey(2): Pull("b" * 40),
        RefKey("heads", "main"): Head("c" * 40),
    }
    seen: Snapshot = {PullKey(2): Pull("d" * 40), PullKey(3): Pull("e" * 40)}
    scope = Scope(pulls=frozenset({1, 2}))
    assert overlay(known, seen, scope) == {
        PullKey(2): Pull("d" * 40),
        RefKey("heads", "main"): Head("c" * 40),
    }


ABOUT = {"head_sha": "a" * 40, "app": {"id": 3}}
CLICK = HERE | {"sender": {"login": "ann"}}


@pytest.mark.parametrize(
    ("event", "payload", "context", "only_failed"),
    [
        ("check_run", {"action": "rerequested", "check_run": ABOUT | {"name": "x"}}, "x", False),
        ("check_suite", {"action": "rerequested", "check_suite": ABOUT}, "", False),
        (
            "check_run",
            {
                "action": "requested_action",
                "requested_action": {"identifier": "rebuild-failed"},
                "check_run": ABOUT | {"name": "x"},
            },
            "",
            True,
        ),
    ],
)
def test_a_click_beside_a_check_run_is_a_wish(
    event: str, payload: dict[str, object], context: str, only_failed: bool
) -> None:
    wish = Wish("ann/app", "a" * 40, context, only_failed, "ann", 3)
    assert wish_of(event, CLICK | payload) == wish
    assert wish_of("push", CLICK | payload) is None
    assert wish_of(event, HERE | payload) is None  # nobody


@pytest.mark.parametrize(
    "payload",
    [
        {"action": "created", "check_run": ABOUT | {"name": "x"}},
        {"action": "rerequested", "check_run": {"name": "x"}},
        {
            "action": "requested_action",
            "requested_action": {"identifier": "other"},
            "check_run": ABOUT,
        },
        {},
        [],
    ],
)
def test_other_events_of_check_runs_are_no_wishes(payload: object) -> None:
    said = CLICK | payload if isinstance(payload, dict) else payload
    assert wish_of("check_run", said) is None


SHA, MOMENT = "c" * 40, "2026-03-04T12:00:00Z"
ANN = {"login": "ann", "type": "User"}
THEN = datetime(2026, 3, 4, 12, tzinfo=UTC)


def comment(body: str, **other: object) -> dict[str, Any]:
    said = {"body": body, "created_at": MOMENT, "user": ANN, **other}
    return CLICK | {
        "action": "created", "issue": {"number": 7, "pull_request": {}}, "comment": said
    }  # fmt: skip


def review(body: str, **other: object) -> dict[str, Any]:
    said = {"body": body, "submitted_at": MOMENT, "user": ANN, "commit_id": "d" * 40, **other}
    return CLICK | {"action": "submitted", "pull_request": {"number": 7}, "review": said}


@pytest.mark.parametrize(
    ("body", "commit"),
    [
        ("/ok-to-test", ""),
        ("  /ok-to-test \r\n\r\nLooks harmless.", ""),
        (f"/ok-to-test {SHA}", SHA),
        (f"/ok-to-test\t{SHA}\nthanks", SHA),
    ],
)
def test_a_comment_can_approve_a_pull_request(body: str, commit: str) -> None:
    assert approval_of("issue_comment", comment(body)) == Approval(
        "ann/app", 7, "ann", THEN, commit
    )
    found = approval_of("pull_request_review", review(body))
    assert found == Approval("ann/app", 7, "ann", THEN, commit or "d" * 40)


@pytest.mark.parametrize(
    "body",
    ["ok-to-test", "/ok-to-testing", "please /ok-to-test", "> /ok-to-test", "```\n/ok-to-test\n```",
     "thanks\n/ok-to-test", "/ok-to-test ccccccc", f"/ok-to-test {SHA.upper()}",
     f"/ok-to-test {SHA} {SHA}", "", "/OK-TO-TEST"],
)  # fmt: skip
def test_other_words_approve_nothing(body: str) -> None:
    assert approval_of("issue_comment", comment(body)) is None
    assert approval_of("pull_request_review", review(body)) is None


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ("issue_comment", comment("/ok-to-test") | {"action": "edited"}),
        ("issue_comment", comment("/ok-to-test") | {"issue": {"number": 7}}),
        ("issue_comment", comment("/ok-to-test") | {"sender": {"login": "bob"}}),
        ("issue_comment", comment("/ok-to-test", user={"login": "ann", "type": "Bot"})),
        ("issue_comment", comment("/ok-to-test", user={"login": "ann"})),
        ("issue_comment", comment("/ok-to-test", user=None)),
        ("issue_comment", comment("/ok-to-test", created_at="lately")),
        ("pull_request_review", review("/ok-to-test") | {"action": "dismissed"}),
        ("pull_request_review", review("/ok-to-test", commit_id=None)),
        ("pull_request_review_comment", comment("/ok-to-test")),
        ("push", comment("/ok-to-test")),
        ("issue_comment", []),
    ],
)
def test_only_new_words_of_people_on_pull_requests_count(event: str, payload: object) -> None:
    assert approval_of(event, payload) is None
    assert wish_of(event, payload) is None
