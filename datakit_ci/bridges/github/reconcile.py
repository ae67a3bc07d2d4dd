"""From three snapshots to what has to be done: pure.

``base`` is what GitHub said when the two sides last agreed, ``remote`` what it says now, and
``local`` what the database says. GitHub owns branches, tags, pull requests and what others write;
the database owns what it wrote: its statuses, new comments, and edits of titles and comments that
nobody changed on GitHub meanwhile.

Everything is a function of the snapshots alone, so that a bridge that was killed at any moment
goes on from what it finds: what has been pushed is then in ``remote``, and is not pushed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from datakit_ci.bridges.github.capabilities import Capabilities, Resource
from datakit_ci.bridges.github.resources import (
    Comment,
    CommentKey,
    Key,
    Pull,
    PullKey,
    RefKey,
    Snapshot,
    StatusKey,
    Value,
    heads,
)
from datakit_ci.metadata import CONTEXT, CommitStatus

__all__ = [
    "AddComment",
    "EditComment",
    "Push",
    "SetStatus",
    "SetTitle",
    "edits",
    "merged",
    "pruned",
    "pushes",
]


@dataclass(frozen=True, slots=True)
class SetStatus:
    """Say something of a commit."""

    key: StatusKey
    status: CommitStatus


@dataclass(frozen=True, slots=True)
class SetTitle:
    """Give a pull request another title."""

    key: PullKey
    title: str


@dataclass(frozen=True, slots=True)
class AddComment:
    """Comment on a pull request; ``key`` is the database's, until GitHub has given an id."""

    key: CommentKey
    body: str


@dataclass(frozen=True, slots=True)
class EditComment:
    """Change a comment."""

    key: CommentKey
    body: str


Push: TypeAlias = SetStatus | SetTitle | AddComment | EditComment


def pushes(
    base: Snapshot, remote: Snapshot, local: Snapshot, may: Capabilities
) -> tuple[Push, ...]:
    """What GitHub has to be told, in a fixed order."""
    found = _pushes(base, remote, local, may)
    return tuple(sorted(found, key=lambda push: (type(push).__name__, repr(push.key))))


def _pushes(base: Snapshot, remote: Snapshot, local: Snapshot, may: Capabilities) -> Iterator[Push]:
    present = frozenset(heads(remote))
    known = present.union(heads(base))
    placed = _placed(base, remote, local)
    for key, value in local.items():
        theirs = remote.get(key)
        if value == theirs or not _may_write(key, may):
            continue
        match key, value, theirs:
            case StatusKey(), CommitStatus(), _:
                is_new = value != base.get(key) and key.commit in known
                if is_new or (key.commit in present and _is_ours(key, theirs, may)):
                    yield SetStatus(key, value)
            case PullKey(), Pull(), Pull():
                if _retitled(base.get(key), theirs, value):
                    yield SetTitle(key, value.title)
            case CommentKey(), Comment(), Comment():
                if theirs == base.get(key) and value.body != theirs.body:
                    yield EditComment(key, value.body)
            case CommentKey(), Comment(), None:
                is_new = key not in base and key not in placed
                if is_new and value.body.strip() and PullKey(key.number) in remote:
                    yield AddComment(key, value.body)
            case _:
                pass  # what the database says of other things does not count


def _retitled(base: Value | None, remote: Pull, local: Pull) -> bool:
    """Whether the title was changed here, and not on GitHub; GitHub accepts no empty one."""
    agreed = base.title if isinstance(base, Pull) else None
    return bool(local.title) and remote.title == agreed and local.title != agreed


def _placed(base: Snapshot, remote: Snapshot, local: Snapshot) -> Mapping[CommentKey, CommentKey]:
    """New comments that have got an id on GitHub, of which the database does not know yet.

    It is one that appeared on GitHub since, on the same pull request and with the same words.
    """
    fresh: dict[tuple[int, str], list[CommentKey]] = {}
    for key, value in remote.items():
        if isinstance(key, CommentKey) and key not in base and key not in local:
            assert isinstance(value, Comment)
            fresh.setdefault((key.number, value.body), []).append(key)
    placed = {}
    for key, value in sorted(local.items(), key=lambda item: repr(item[0])):
        if isinstance(key, CommentKey) and key not in base and key not in remote:
            assert isinstance(value, Comment)
            candidates = fresh.get((key.number, value.body))
            if candidates:
                placed[key] = candidates.pop(0)
    return placed


def merged(
    base: Snapshot, remote: Snapshot, local: Snapshot, may: Capabilities
) -> dict[Key, Value]:
    """What the database has to say, once what could be pushed is in ``remote``."""
    placed = _placed(base, remote, local)
    found: dict[Key, Value] = {}
    for key in dict.fromkeys((*local, *remote)):
        value = _merged(key, base.get(key), remote.get(key), local.get(key), may)
        if value is not None and key not in placed:
            found[key] = value
    return pruned(found)


def _merged(
    key: Key, base: Value | None, remote: Value | None, local: Value | None, may: Capabilities
) -> Value | None:
    """One thing: the database's version where that counts, else GitHub's."""
    if not _may_read(key, may):
        return local
    match key, remote, local:
        case StatusKey(), _, CommitStatus():
            return local if local != base or _is_ours(key, remote, may) else remote
        case PullKey(), Pull(), Pull():
            return replace(remote, title=local.title) if _retitled(base, remote, local) else remote
        case CommentKey(), Comment(), Comment():
            return replace(remote, body=local.body) if remote == base else remote
        case CommentKey(), None, Comment():
            return local if base is None else None
        case _:
            return remote


def _is_ours(key: StatusKey, remote: Value | None, may: Capabilities) -> bool:
    """Whether GitHub cannot know better, though both sides agreed once.

    Nobody but the bridge can say anything of a job by a check run. A status cannot be taken back
    either: if GitHub does not have it any more, the repository was removed and made again.
    """
    is_job = key.context.startswith(f"{CONTEXT}/")
    return is_job and (remote is None or may.holds_check(key.context))


def pruned(found: Snapshot) -> dict[Key, Value]:
    """Without closed pull requests, and what is said of them and of commits that nothing is at."""
    pulls = {k.number for k, v in found.items() if isinstance(v, Pull) and v.state == "open"
             and isinstance(k, PullKey)}  # fmt: skip
    reached = set(
        heads(
            value
            for key, value in found.items()
            if isinstance(key, RefKey) or (isinstance(key, PullKey) and key.number in pulls)
        )
    )
    return {key: value for key, value in found.items() if _stays(key, pulls, reached)}


def _stays(key: Key, pulls: set[int], reached: set[str]) -> bool:
    match key:
        case PullKey(number) | CommentKey(number):
            return number in pulls
        case StatusKey(commit):
            return commit in reached
        case RefKey():
            return True


def edits(old: Snapshot, new: Snapshot) -> dict[Key, Value | None]:
    """What turns one snapshot into another; none where something has to go."""
    changed: dict[Key, Value | None] = {key: None for key in old if key not in new}
    changed |= {key: value for key, value in new.items() if old.get(key) != value}
    return changed


def _may_write(key: Key, may: Capabilities) -> bool:
    return may.may_write(*_resource(key, may))


def _may_read(key: Key, may: Capabilities) -> bool:
    return may.may_read(*_resource(key, may))


def _resource(key: Key, may: Capabilities) -> tuple[Resource, str]:
    match key:
        case PullKey():
            return Resource.PULL, ""
        case CommentKey():
            return Resource.COMMENT, ""
        case RefKey():
            return Resource.REF, ""
        case StatusKey(_, context):
            return Resource.CHECK if may.holds_check(context) else Resource.STATUS, context
