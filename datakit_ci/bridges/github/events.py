"""What a webhook says has changed, as a part of a repository to look at: pure.

The event only says where to look; what is there is then asked for. So a forged, late, repeated or
lost event does no harm. Source: https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from datakit_ci.bridges.github.resources import RefKey
from datakit_ci.bridges.github.scope import WHOLE, Scope

__all__ = ["EVENTS", "scope_of"]

EVENTS: Final = (
    "create",
    "delete",
    "issue_comment",
    "pull_request",
    "push",
    "repository",
    "status",
)
"""The events to subscribe to."""

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
        case "status", {"sha": str(commit)}:
            return Scope(commits=frozenset({commit}))
        case _:
            return WHOLE


def _ref(ref: str) -> Scope | None:
    kind, _, name = ref.partition("/")
    return Scope(refs=frozenset({RefKey(kind, name)})) if kind in ("heads", "tags") else None
