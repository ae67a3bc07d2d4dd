"""What to do next to keep a repository quick and small: facts in, one step out.

Pure: no clock, no files. :mod:`datakit_core.store.maintenance` finds the facts and takes the steps.

What nobody needs is dropped in the end, but late. A collection notes where all branches are, and
what transactions have begun with, in a commit of its own (:func:`encode_mark`); while it is kept,
Git sees all of that as used. A mark is kept for the time of grace, and there are two in that time.
So an object is dropped only if no branch has had it for half of that time, it was not written for
the whole of it, and no open transaction began with it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from datakit_core.store.objects import (
    EMPTY_TREE,
    CommitId,
    ObjectId,
    Signature,
    encode_commit,
)

__all__ = [
    "MARKS",
    "Facts",
    "Limits",
    "Ref",
    "Step",
    "encode_mark",
    "expired_fetches",
    "mark_time",
    "next_step",
    "parse_refs",
    "time_of_grace",
]

MARKS = "refs/datakit/kept/"
"""Where marks are: by the seconds since 1970 at which they were made."""

_DAY = 86_400.0
_HOUR = 3600.0

_FETCHED = "fetched "


class Step(enum.Enum):
    """Something to do; the value is what it is called in logs and metrics."""

    PACK = "pack"
    REFS = "refs"
    COLLECT = "collect"


@dataclass(frozen=True, slots=True)
class Limits:
    """When something is to be done.

    Attributes:
        loose: Loose objects that are packed; Git advises against more than 50,000.
        packs: Packs that are joined.
        refs: Refs in files of their own that are packed: listing 10,000 takes 76 ms, packed 2.
        grace: Seconds for which nothing that was written is dropped; Git's own default.
    """

    loose: int = 10_000
    packs: int = 40
    refs: int = 1000
    grace: float = 14 * _DAY


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a repository.

    Attributes:
        loose: Loose objects, about.
        packs: Packs.
        refs: Refs in files of their own, up to the limit.
        unpackable: Loose objects that the last packing has left.
        last_mark: Seconds since the newest mark was made; none without one.
        oldest_transaction: Seconds for which the oldest transaction has been open.
    """

    loose: int = 0
    packs: int = 0
    refs: int = 0
    unpackable: int = 0
    last_mark: float | None = None
    oldest_transaction: float = 0.0


@dataclass(frozen=True, slots=True)
class Ref:
    """A ref, as Git lists it.

    Attributes:
        id: Where it leads.
        is_commit: Whether that is a commit.
        name: Its full name.
    """

    id: ObjectId
    is_commit: bool
    name: str


def next_step(facts: Facts, limits: Limits) -> Step | None:
    """The most urgent step; none if all is well."""
    if facts.loose - facts.unpackable >= limits.loose or facts.packs >= limits.packs:
        return Step.PACK
    if facts.refs >= limits.refs:
        return Step.REFS
    if facts.last_mark is None or facts.last_mark >= time_of_grace(facts, limits) / 2:
        return Step.COLLECT
    return None


def time_of_grace(facts: Facts, limits: Limits) -> float:
    """Seconds for which nothing that was written is dropped: longer than any transaction."""
    return max(limits.grace, facts.oldest_transaction + _HOUR if facts.oldest_transaction else 0.0)


def parse_refs(listed: str) -> list[Ref]:
    """Read what ``git for-each-ref --format='%(objectname) %(objecttype) %(refname)'`` prints."""
    rows = (line.split(" ", 2) for line in listed.split("\n") if line)
    return [Ref(ObjectId(name), kind == "commit", ref) for name, kind, ref in rows]


def mark_time(ref: Ref) -> int | None:
    """When a mark was made; none if the ref is no mark."""
    moment = ref.name.removeprefix(MARKS)
    return int(moment) if ref.name.startswith(MARKS) and moment.isdecimal() else None


def encode_mark(refs: Sequence[Ref], bases: Iterable[CommitId], fetched: str, now: int) -> bytes:
    """The commit that keeps all that is in use now.

    Args:
        refs: All refs.
        bases: Commits with which open transactions began.
        fetched: What the names of fetched refs begin with; the message lists these.
        now: Seconds since 1970.
    """
    tips = [CommitId(ref.id) for ref in refs if ref.is_commit and mark_time(ref) is None]
    who = Signature("datakit", "datakit@mobyproject.org", now)
    lines = [f"{_FETCHED}{ref.id} {ref.name}" for ref in refs if ref.name.startswith(fetched)]
    message = "\n".join(["In use at this moment; kept for a while.", "", *lines, ""])
    return encode_commit(EMPTY_TREE, [*dict.fromkeys([*tips, *bases])], who, who, message)


def expired_fetches(refs: Sequence[Ref], message: str) -> list[Ref]:
    """The fetched refs that are as they were when the mark with ``message`` was made."""
    then = {line.removeprefix(_FETCHED) for line in message.split("\n")}
    return [ref for ref in refs if f"{ref.id} {ref.name}" in then]
