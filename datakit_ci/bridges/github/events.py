"""What a webhook says has changed, as a part of a repository to look at: pure.

The event only says where to look; what is there is then asked for. So a forged, late, repeated or
lost event does no harm. Only wishes of people are something to do by themselves: to have check runs
made again, and to have a fork's pull request tested.
Source: https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from datakit_ci.bridges.github.checks import REBUILD_FAILED
from datakit_ci.bridges.github.resources import RefKey
from datakit_ci.bridges.github.scope import WHOLE, Scope

__all__ = ["EVENTS", "Approval", "Wish", "approval_of", "scope_of", "wish_of"]

EVENTS: Final = (
    "create",
    "delete",
    "issue_comment",
    "pull_request",
    "pull_request_review",
    "push",
    "repository",
    "status",
)
"""The events to subscribe to."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Somebody wants check runs made again.

    Attributes:
        project: ``USER/REPO``.
        commit: What they are about.
        context: Which one; empty for all.
        only_failed: Of all only what did not pass.
        user: Who, on GitHub.
        app: The id of the App that has made the check runs.
    """

    project: str
    commit: str
    context: str
    only_failed: bool
    user: str
    app: int


@dataclass(frozen=True, slots=True)
class Approval:
    """Somebody writes that a pull request shall be tested.

    Attributes:
        project: ``USER/REPO``.
        number: Which pull request.
        user: Who, on GitHub.
        time: When, by GitHub's clock.
        commit: 40 hex digits: the commit that is meant; empty: the one that it was at then.
    """

    project: str
    number: int
    user: str
    time: datetime
    commit: str = ""


_COMMAND = re.compile(r"/ok-to-test(?:[ \t]+([0-9a-f]{40}))?[ \t]*(?:\r?\n.*)?", re.DOTALL)
"""The first line of a comment, by itself. An id is whole: others can be made to begin alike."""

_KINDS = {"branch": "heads", "tag": "tags"}


def scope_of(event: str, payload: object) -> tuple[str, Scope] | None:
    """The repository and what to look at in it; none for an event that is none of ours."""
    match payload:
        case {"repository": {"full_name": str(project)}} if event in EVENTS:
            assert isinstance(payload, Mapping)
            scope = _scope(event, payload)
            return None if scope is None else (project, scope)
        case _:
            return None


def wish_of(event: str, payload: object) -> Wish | None:
    """What somebody asks for by a click beside a check run; none for any other event.

    These events are only sent to the App itself, not to a repository's hooks.
    """
    match payload:
        case {
            "action": "rerequested",
            "check_run": {"name": str(name)} as run,
            "repository": {"full_name": str(project)},
            "sender": {"login": str(user)},
        } if event == "check_run":
            return _wish(project, user, run, name)
        case {
            "action": "requested_action",
            "requested_action": {"identifier": identifier},
            "check_run": dict(run),
            "repository": {"full_name": str(project)},
            "sender": {"login": str(user)},
        } if event == "check_run" and identifier == REBUILD_FAILED:
            return _wish(project, user, run, "", only_failed=True)
        case {
            "action": "rerequested",
            "check_suite": dict(suite),
            "repository": {"full_name": str(project)},
            "sender": {"login": str(user)},
        } if event == "check_suite":
            return _wish(project, user, suite, "")
        case _:
            return None


def approval_of(event: str, payload: object) -> Approval | None:
    """What a new comment or review with ``/ok-to-test`` says; none for any other event.

    What is edited later counts for nothing, as others than its author may edit it; nor does what a
    program writes, which may repeat the words of anybody.
    """
    match payload:
        case {
            "action": "created",
            "issue": {"number": int(number), "pull_request": _},
            "comment": {"body": str(body), "created_at": str(time), "user": dict(author)},
            "repository": {"full_name": str(project)},
            "sender": {"login": str(sender)},
        } if event == "issue_comment" and (found := _COMMAND.fullmatch(body.strip())):
            return _approval(project, number, author, sender, time, found[1] or "")
        case {
            "action": "submitted",
            "pull_request": {"number": int(number)},
            "review": {
                "body": str(body),
                "commit_id": str(commit),
                "submitted_at": str(time),
                "user": dict(author),
            },
            "repository": {"full_name": str(project)},
            "sender": {"login": str(sender)},
        } if event == "pull_request_review" and (found := _COMMAND.fullmatch(body.strip())):
            return _approval(project, number, author, sender, time, found[1] or commit)
        case _:
            return None


def _approval(
    project: str, number: int, author: Mapping[str, Any], sender: str, time: str, commit: str
) -> Approval | None:
    if author.get("type") != "User" or author.get("login") != sender:
        return None
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return None
    return Approval(project, number, sender, moment, commit)


def _wish(
    project: str, user: str, about: object, context: str, *, only_failed: bool = False
) -> Wish | None:
    match about:
        case {"head_sha": str(commit), "app": {"id": int(app)}}:
            return Wish(project, commit, context, only_failed, user, app)
        case _:
            return None


def _scope(event: str, payload: Mapping[str, Any]) -> Scope | None:
    match event, payload:
        case "pull_request", {"number": int(number)}:
            return Scope(pulls=frozenset({number}))
        case "issue_comment", {"issue": {"number": int(number), "pull_request": _}}:
            return Scope(pulls=frozenset({number}))
        case "issue_comment", _:
            return None  # of an issue
        case "push", {"ref": str(ref)}:
            return _ref(ref.removeprefix("refs/"))
        case "create" | "delete", {"ref": str(name), "ref_type": str(kind)}:
            return _ref(f"{_KINDS.get(kind, '')}/{name}")
        case "pull_request_review", _:
            return None  # reviews are not kept
        case "status", {"sha": str(commit)}:
            return Scope(commits=frozenset({commit}))
        case _:
            return WHOLE


def _ref(ref: str) -> Scope | None:
    kind, _, name = ref.partition("/")
    return Scope(refs=frozenset({RefKey(kind, name)})) if kind in ("heads", "tags") else None
