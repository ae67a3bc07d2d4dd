"""The branch ``github-metadata``: what bridges say of repositories, and what is said back.

Its layout is that of existing DataKit tools::

    USER/REPO/.monitor                                   please watch this repository
    USER/REPO/.dirty                                     please look at it again; also beside
                                                         a pull request or a ref
    USER/REPO/pr/N/{head,state,title,owner,base}         also ``fork``: ``true`` or ``false``
    USER/REPO/pr/N/comments/ID/{id,user,body}
    USER/REPO/ref/{heads,tags}/NAME/head                 a NAME may hold slashes
    USER/REPO/commit/SHA/status/CONTEXT/{state,description,target_url}

Every file ends in one newline. This module knows paths and contents, and reads nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from datakit_ci.canonical import canonical_json
from datakit_ci.state import JobState, Status
from datakit_ci.target import Target, TargetKind
from datakit_core.client.api import CommitId, ObjectId

__all__ = [
    "BRANCH",
    "CONTEXT",
    "DESCRIPTION_LIMIT",
    "CommitStatus",
    "canonical_json",
    "commit_path",
    "field",
    "head_path",
    "job_context",
    "job_status",
    "monitor_path",
    "parse_commit_path",
    "parse_field",
    "parse_head_path",
    "parse_target_file",
    "status_path",
    "status_state",
    "target_path",
    "title_path",
]

BRANCH = "github-metadata"

CONTEXT = "ci/datakit"
"""The first part of the contexts of our own statuses; the job's name follows."""

DESCRIPTION_LIMIT = 140
"""Characters that GitHub accepts in a status's description."""

_HEAD = re.compile(
    r"(?P<project>[^/]+/[^/]+)/(?:ref/(?P<kind>heads|tags)/(?P<name>.+)|pr/(?P<number>\d+))/head\Z"
)

_PULL = re.compile(r"(?P<project>[^/]+/[^/]+)/pr/(?P<number>\d+)/(?:state|owner|base|fork|title)\Z")
_COMMIT = re.compile(r"(?P<project>[^/]+/[^/]+)/commit/(?P<commit>[0-9a-f]{40})(?:/.+)?\Z")


def field(text: str) -> bytes:
    """The content of a file whose value is ``text``."""
    return text.encode(errors="surrogateescape") + b"\n"


def parse_field(content: bytes) -> str:
    """The value in a file; white space around it does not count."""
    return content.decode(errors="surrogateescape").strip()


def monitor_path(project: str) -> str:
    """The file that asks for ``project`` to be watched."""
    return f"{project}/.monitor"


def target_path(target: Target) -> str:
    """The directory of a branch, tag or pull request."""
    return target.path


def head_path(target: Target) -> str:
    """The file that holds the commit that ``target`` is at."""
    return f"{target.path}/head"


def title_path(target: Target) -> str | None:
    """The file that says what ``target`` is about; none if it is no pull request."""
    return f"{target.path}/title" if target.kind is TargetKind.PULL_REQUEST else None


def parse_head_path(path: str) -> Target | None:
    """The target whose :func:`head_path` is ``path``; none if it is another file's."""
    match = _HEAD.match(path)
    if match is None:
        return None
    kind = match["kind"] or TargetKind.PULL_REQUEST.value
    return Target(match["project"], kind, match["name"] or match["number"])


def commit_path(project: str, commit: CommitId) -> str:
    """The directory of what is said of a commit."""
    return f"{project}/commit/{commit}"


def status_path(project: str, commit: CommitId, context: str) -> str:
    """The directory of one status of a commit."""
    return f"{commit_path(project, commit)}/status/{context}"


def parse_commit_path(path: str) -> tuple[str, CommitId] | None:
    """Project and commit that a :func:`commit_path`, or what is below one, is about; or none."""
    match = _COMMIT.match(path)
    return match and (match["project"], CommitId(ObjectId(match["commit"])))


def parse_target_file(path: str) -> Target | None:
    """The target that a file says something about, of what counts; none if it does not."""
    if (match := _PULL.match(path)) is not None:
        return Target(match["project"], TargetKind.PULL_REQUEST.value, match["number"])
    return parse_head_path(path)


def job_context(job: str) -> str:
    """The context of a job's status: ``ci/datakit/JOB``."""
    return f"{CONTEXT}/{job}"


def status_state(status: Status) -> str:
    """GitHub's word for where a job stands: ``pending success failure error``.

    A blocked job is a failure: it will not pass, and a required check has to say so.
    """
    match status:
        case Status.WAITING | Status.RUNNING:
            return "pending"
        case Status.SUCCESS:
            return "success"
        case Status.FAILURE | Status.BLOCKED:
            return "failure"
        case Status.CANCELLED | Status.ERROR:
            return "error"


@dataclass(frozen=True, slots=True)
class CommitStatus:
    """What is said of a commit under one context.

    Attributes:
        state: ``pending``, ``success``, ``failure`` or ``error``.
        description: One line for people; may be empty.
        target_url: Where they can read more; empty when there is no such page.
    """

    state: str
    description: str
    target_url: str = ""

    def files(self) -> Mapping[str, bytes | None]:
        """The contents of the status's files by name; none where a file has to be absent."""
        return {
            "state": field(self.state),
            "description": field(self.description) if self.description else None,
            "target_url": field(self.target_url) if self.target_url else None,
        }

    @classmethod
    def parse(cls, files: Mapping[str, bytes]) -> CommitStatus:
        """Read a status's files; missing ones are empty, and an empty state is ``pending``."""
        return cls(
            state=parse_field(files.get("state", b"")) or "pending",
            description=parse_field(files.get("description", b"")),
            target_url=parse_field(files.get("target_url", b"")),
        )


def job_status(job: JobState, target_url: str = "") -> CommitStatus:
    """What to publish of ``job``: its description on one line, cut where GitHub would refuse it."""
    line = " ".join(job.description.split())
    if len(line) > DESCRIPTION_LIMIT:
        line = line[: DESCRIPTION_LIMIT - 1] + "…"
    return CommitStatus(status_state(job.status), line, target_url)
