"""Check runs: what is said of a commit where the bridge is a GitHub App. Pure.

In the database it is a status, as it is without an App. On GitHub it is a check run of the same
name, which can say more: why the job ran, what its tests came to, and where they failed. What the
status was is in the check run's ``external_id``, so that a look at GitHub finds the same status
again. Source: https://docs.github.com/en/rest/checks/runs
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from datakit_ci.canonical import JsonValue, canonical_json
from datakit_ci.metadata import CommitStatus

__all__ = [
    "LONGEST_TITLE",
    "REBUILD_FAILED",
    "Annotation",
    "Check",
    "Progress",
    "Run",
    "requests",
    "status_of",
]

_MOST_ANNOTATIONS = 50
"""Of one request."""

_LONGEST_TEXT = 65_535
"""Characters of a summary; of what an annotation says 64 KB, which are bytes."""

LONGEST_TITLE: Final = 255
"""Characters of a title, which is the status's description."""

_UNTITLED = "No description"
"""The title where the status has no description: GitHub demands one."""

_PREFIX = "datakit"

REBUILD_FAILED: Final = "rebuild-failed"
"""The identifier of the button below a check run that did not pass."""

_BUTTON: Final[JsonValue] = {
    "label": "Rebuild what failed",
    "description": "Every job here that did not pass",
    "identifier": REBUILD_FAILED,
}


class Progress(enum.Enum):
    """How far a check run is."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"


@dataclass(frozen=True, slots=True)
class Annotation:
    """A remark on a line of a file.

    Attributes:
        path: Of a file in the commit.
        line: From 1.
        title: What it is about, such as the name of a test.
        message: In short.
        details: In full; may be empty.
    """

    path: str
    line: int
    title: str
    message: str
    details: str = ""

    def to_json(self) -> dict[str, JsonValue]:
        """As GitHub takes it."""
        said: dict[str, JsonValue] = {
            "path": self.path,
            "start_line": self.line,
            "end_line": self.line,
            "annotation_level": "failure",
            "title": self.title[:LONGEST_TITLE],
            "message": _cut(self.message or self.title or "It failed."),
        }
        return {**said, "raw_details": _cut(self.details)} if self.details else said


@dataclass(frozen=True, slots=True)
class Check:
    """All that a check run shall say.

    Attributes:
        status: What the database says.
        progress: How far the job is.
        conclusion: GitHub's word for what it came to; empty until it is completed.
        summary: Markdown; may be empty.
        annotations: Where it failed.
    """

    status: CommitStatus
    progress: Progress
    conclusion: str = ""
    summary: str = ""
    annotations: tuple[Annotation, ...] = ()

    @property
    def digest(self) -> str:
        """Differs where anything in it differs."""
        said: JsonValue = [
            [self.status.state, self.status.description, self.status.target_url],
            [self.progress.value, self.conclusion, self.summary],
            [each.to_json() for each in self.annotations],
        ]
        return hashlib.sha256(canonical_json(said)).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Run:
    """A check run that GitHub has.

    Attributes:
        id: GitHub's.
        is_completed: Whether it is; one more attempt is then another check run.
        reference: Its ``external_id``.
        annotations: How many it has.
        status: What it says, as a status; none if another program has made it.
    """

    id: int
    is_completed: bool
    reference: str = ""
    annotations: int = 0
    status: CommitStatus | None = None

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Run:
        """Read what the REST API says of one."""
        output = said.get("output") or {}
        reference = said.get("external_id") or ""
        status = _status(reference, output.get("title"), said.get("details_url"))
        count = int(output.get("annotations_count") or 0)
        return cls(int(said["id"]), said["status"] == "completed", reference, count, status)


def status_of(node: Mapping[str, Any]) -> CommitStatus | None:
    """The status that a check run of the GraphQL API stands for; none if it is not ours."""
    return _status(node.get("externalId") or "", node.get("title"), node.get("detailsUrl"))


def _status(reference: str, title: str | None, url: str | None) -> CommitStatus | None:
    match reference.split(":"):
        case [prefix, state, _, has_url] if prefix == _PREFIX:
            description = "" if title in (None, _UNTITLED) else title
            # Without an address of ours GitHub names the App's own page.
            return CommitStatus(state, description or "", (url or "") if has_url == "1" else "")
        case _:
            return None


def requests(check: Check, name: str, commit: str, run: Run | None) -> Iterator[dict[str, Any]]:
    """What to send to GitHub, one after the other; nothing if it has been told.

    The first makes a check run if there is none, or the last one is completed; the others, and the
    first otherwise, are about the one that there is. Annotations come in pieces; only the last
    request completes it, so that one that was killed in between can go on: its reference says what
    it was at.

    Args:
        check: What to say.
        name: The check run's name.
        commit: What it is about.
        run: The newest check run of this name that GitHub has.
    """
    if run is not None and run.status == check.status:
        return
    begun = _reference(check, "pending")
    goes_on = run is not None and not run.is_completed
    sent = run.annotations if run is not None and goes_on and run.reference == begun else 0
    starts = range(sent, max(len(check.annotations), sent + 1), _MOST_ANNOTATIONS)
    for start in starts:
        piece = check.annotations[start : start + _MOST_ANNOTATIONS]
        said = _body(check, piece, begun, is_last=start == starts[-1])
        yield said if goes_on or start else {"name": name, "head_sha": commit, **said}


def _body(
    check: Check, piece: tuple[Annotation, ...], begun: str, *, is_last: bool
) -> dict[str, Any]:
    title = check.status.description or _UNTITLED
    output: dict[str, Any] = {
        "title": title[:LONGEST_TITLE],
        "summary": check.summary[:_LONGEST_TEXT] or title,
        "annotations": [each.to_json() for each in piece],
    }
    url = {"details_url": check.status.target_url} if check.status.target_url else {}
    if not is_last:
        return {**url, "status": "in_progress", "external_id": begun, "output": output}
    said = {**url, "external_id": _reference(check, check.status.state), "output": output}
    if check.progress is not Progress.COMPLETED:
        return {**said, "status": check.progress.value}
    passed = check.conclusion == "success"
    button = {} if passed else {"actions": [_BUTTON]}
    return {**said, **button, "status": "completed", "conclusion": check.conclusion}


def _reference(check: Check, state: str) -> str:
    """``datakit:STATE:DIGEST:URL``, with ``1`` for URL if it is ours."""
    return f"{_PREFIX}:{state}:{check.digest}:{int(bool(check.status.target_url))}"


def _cut(text: str) -> str:
    """At most 64 KB, which GitHub counts in bytes."""
    return text.encode(errors="replace")[:_LONGEST_TEXT].decode(errors="ignore")
