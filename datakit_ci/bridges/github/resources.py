"""What GitHub and the database know of one repository: values, and the files that hold them.

The files are those of :mod:`datakit_ci.metadata`, with paths relative to ``USER/REPO``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from datakit_ci.metadata import CommitStatus, field, parse_field

__all__ = [
    "Comment",
    "CommentKey",
    "Head",
    "Key",
    "Pull",
    "PullKey",
    "RefKey",
    "Snapshot",
    "StatusKey",
    "Value",
    "directory",
    "files",
    "heads",
    "is_storable",
    "key_of",
    "parse",
]


@dataclass(frozen=True, slots=True)
class PullKey:
    """A pull request."""

    number: int


@dataclass(frozen=True, slots=True)
class CommentKey:
    """A comment on a pull request; ``id`` is GitHub's, or any word until GitHub has given one."""

    number: int
    id: str


@dataclass(frozen=True, slots=True)
class RefKey:
    """A branch (``heads``) or tag (``tags``)."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class StatusKey:
    """What is said of a commit under one context."""

    commit: str
    context: str


@dataclass(frozen=True, slots=True)
class Pull:
    """A pull request.

    Attributes:
        head: The commit to be merged, 40 hexadecimal digits.
        title: One line.
        owner: Who owns the repository that it comes from; empty if that is gone.
        base: The branch that it is to be merged into.
        fork: Whether it comes from another repository than the one that it is for.
        state: ``open`` or ``closed``.
    """

    head: str
    title: str = ""
    owner: str = ""
    base: str = ""
    fork: bool = True
    state: str = "open"


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment: who wrote it, and what, byte for byte."""

    user: str
    body: str


@dataclass(frozen=True, slots=True)
class Head:
    """Where a branch or tag is: a commit, also for a tag object."""

    commit: str


Key: TypeAlias = PullKey | CommentKey | RefKey | StatusKey
Value: TypeAlias = Pull | Comment | Head | CommitStatus
Snapshot: TypeAlias = Mapping[Key, Value]

_FILES = frozenset({"state", "description", "target_url"})

_HEX = re.compile(r"[0-9a-f]{40}\Z")
_PATTERNS = (
    re.compile(
        r"pr/(?P<number>[1-9]\d{0,17})/comments/(?P<comment>[^/]+)/(?P<file>id|user|body)\Z"
    ),
    re.compile(r"pr/(?P<number>[1-9]\d{0,17})/(?P<file>head|state|title|owner|base|fork)\Z"),
    re.compile(r"ref/(?P<kind>heads|tags)/(?P<name>.+)/(?P<file>head)\Z", re.DOTALL),
    re.compile(
        r"commit/(?P<commit>[0-9a-f]{40})/status/(?P<context>.+)"
        r"/(?P<file>state|description|target_url)\Z",
        re.DOTALL,
    ),
)


def directory(key: Key) -> str:
    """The directory of what ``key`` names."""
    match key:
        case PullKey(number):
            return f"pr/{number}"
        case CommentKey(number, id):
            return f"pr/{number}/comments/{id}"
        case RefKey(kind, name):
            return f"ref/{kind}/{name}"
        case StatusKey(commit, context):
            return f"commit/{commit}/status/{context}"


def files(key: Key, value: Value) -> Mapping[str, bytes | None]:
    """The files in :func:`directory`, by name; none where a file has to be absent."""
    match value:
        case Pull():
            return {
                "head": field(value.head),
                "state": field(value.state),
                "title": field(value.title),
                "owner": field(value.owner) if value.owner else None,
                "base": field(value.base) if value.base else None,
                "fork": field("true" if value.fork else "false"),
            }
        case Comment():
            assert isinstance(key, CommentKey)
            body = value.body.encode(errors="surrogateescape")
            return {"id": field(key.id), "user": field(value.user), "body": body}
        case Head():
            return {"head": field(value.commit)}
        case CommitStatus():
            return value.files()


def key_of(path: str) -> Key | None:
    """What the file at ``path`` belongs to; none if it is nothing of ours."""
    for pattern in _PATTERNS:
        if match := pattern.match(path):
            return _key(match)
    return None


def _key(match: re.Match[str]) -> Key:
    found = match.groupdict()
    if "comment" in found:
        return CommentKey(int(found["number"]), found["comment"])
    if "number" in found:
        return PullKey(int(found["number"]))
    if "kind" in found:
        return RefKey(found["kind"], found["name"])
    return StatusKey(found["commit"], found["context"])


def is_storable(key: Key) -> bool:
    """Whether there can be a directory for it; names on GitHub may have any characters."""
    steps = directory(key).encode(errors="surrogateescape").split(b"/")
    if any(step in (b"", b".", b"..") or b"\0" in step or len(step) > 255 for step in steps):
        return False
    inner = key.context.split("/")[1:] if isinstance(key, StatusKey) else ()
    return not _FILES.intersection(inner)  # a directory cannot be where another status has a file


def parse(contents: Mapping[str, bytes]) -> Snapshot:
    """What a repository's files say; what is incomplete or of another form is left out."""
    grouped: dict[Key, dict[str, bytes]] = {}
    for path, content in contents.items():
        if (key := key_of(path)) is not None:
            grouped.setdefault(key, {})[path.rpartition("/")[2]] = content
    return {
        key: value for key, found in grouped.items() if (value := _value(key, found)) is not None
    }


def _value(key: Key, found: Mapping[str, bytes]) -> Value | None:
    words = {name: parse_field(content) for name, content in found.items()}
    match key:
        case PullKey():
            return _pull(words)
        case CommentKey():
            if "body" not in found:  # half written
                return None
            body = found["body"].decode(errors="surrogateescape")
            return Comment(words.get("user", ""), body)
        case RefKey():
            return Head(words["head"]) if _HEX.match(words["head"]) else None
        case StatusKey():
            return CommitStatus.parse(found) if "state" in found else None


def _pull(words: Mapping[str, str]) -> Pull | None:
    head = words.get("head", "")
    if not _HEX.match(head):
        return None
    return Pull(
        head=head,
        title=words.get("title", ""),
        owner=words.get("owner", ""),
        base=words.get("base", ""),
        fork=words.get("fork", "true") != "false",
        state=words.get("state", "") or "open",
    )


def heads(snapshot: Snapshot | Iterable[Value]) -> Iterator[str]:
    """The commits that pull requests, branches and tags are at."""
    values = snapshot.values() if isinstance(snapshot, Mapping) else snapshot
    for value in values:
        if isinstance(value, Pull):
            yield value.head
        elif isinstance(value, Head):
            yield value.commit
