"""GitHub's published description of its REST API, as a judge of who speaks to the fake one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

__all__ = ["DESCRIBED", "complaint_about_answer", "complaint_about_request"]

# Published by GitHub; the file says of which version it is a part.
_FILE = Path(__file__).parent / "github_rest.json"
DESCRIBED: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))["operations"]

_PAGING = {"per_page", "page"}


def complaint_about_request(operation: str, query: Iterable[str], body: bytes) -> str:
    """What is wrong with a request; empty if nothing is.

    Args:
        operation: Method and path, such as ``POST /repos/{owner}/{repo}/hooks``.
        query: Names of its parameters.
        body: The content.
    """
    described = DESCRIBED.get(operation)
    if described is None:
        return f"GitHub has no {operation}, or the excerpt lacks it"
    if unknown := set(query) - set(described.get("parameters", ())) - _PAGING:
        return f"{operation} has no {', '.join(sorted(unknown))}"
    return _complaint(described.get("request"), json.loads(body)) if body else ""


def complaint_about_answer(operation: str, status: int, body: bytes) -> str:
    """What is wrong with an answer that is no refusal; empty if nothing is."""
    described = DESCRIBED[operation]
    if status != described["status"]:
        return f"{operation} answers {described['status']}, not {status}"
    return _complaint(described["answer"], json.loads(body))


def _complaint(schema: Any, value: object) -> str:
    if schema is None:
        return ""
    errors = sorted(Draft202012Validator(schema).iter_errors(value), key=lambda e: str(e.path))
    return "; ".join(f"{'/'.join(map(str, each.path))}: {each.message}" for each in errors)
