"""A list of pull requests, branches or tags: which of them, in which order, which page of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest
from operator import itemgetter
from typing import TypeVar

from datakit_ci.dashboard.catalogue import having
from datakit_ci.dashboard.shelf import Section, Shelf
from datakit_ci.dashboard.views import Filter, counts
from datakit_ci.state import TargetState

__all__ = ["PAGE", "Choice", "Listing", "Part", "listing", "part"]

PAGE = 50
"""Rows on a page."""

_MOST_CHOICES = 200
"""Authors that are offered to choose from: those with the most targets."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Choice:
    """What is asked for; empty text: all.

    Attributes:
        wanted: Which states.
        search: Words that all have to be there.
        project: Of which project.
        author: By whom the head is.
        number: Which page, from 1.
    """

    wanted: Filter = Filter.ALL
    search: str = ""
    project: str = ""
    author: str = ""
    number: int = 1

    @property
    def is_narrow(self) -> bool:
        """Whether less than everything is asked for."""
        return bool(self.wanted.value or self.search or self.project or self.author)


@dataclass(frozen=True, slots=True)
class Part:
    """Where a page lies in a list: it shows ``first`` to ``last``, from 1, of ``total``."""

    number: int
    pages: int
    first: int
    last: int
    total: int


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of a list.

    Attributes:
        states: Its targets.
        part: Where it lies.
        counts: For each filter by state, how many it would show.
        projects: All projects that have such targets, sorted.
        authors: Who has made their heads, sorted.
        total: How many there are at all, whatever is asked for.
    """

    states: tuple[TargetState, ...]
    part: Part
    counts: Mapping[Filter, int]
    projects: tuple[str, ...]
    authors: tuple[str, ...]
    total: int


def listing(shelf: Shelf, kind: str, choice: Choice, project: str = "") -> Listing:
    """What is asked for of the targets of a ``kind``: ``heads``, ``tags`` or ``pr``.

    Pull requests and branches are sorted by when they last changed. Tags are too, since their names
    follow no common rule.

    Args:
        shelf: The targets.
        kind: What is listed.
        choice: Which of them.
        project: The only project whose targets count at all; empty: all do.
    """
    all_ = shelf.of_kind(kind, project)
    found = shelf.of_kind(kind, project or choice.project)
    if project and choice.project not in {"", project}:
        found = Section()
    words = choice.search.casefold().split()
    if words or choice.author:
        entries = having(found.those(), words)
        by = choice.author
        found = Section(each for each in entries if not by or each.state.author == by)
    rows, where = part(found.those(choice.wanted.statuses), choice.number)
    authors = shelf.authors_of(kind, project)
    named = ((name, number) for name, number in authors.items() if name)
    most = nlargest(_MOST_CHOICES, named, key=itemgetter(1))
    return Listing(
        tuple(entry.state for entry in rows),
        where,
        counts(found),
        ((project,) if all_ else ()) if project else tuple(shelf.projects_with(kind)),
        tuple(sorted((name for name, _ in most), key=str.casefold)),
        len(all_),
    )


def part(items: Sequence[_T], number: int, size: int = PAGE) -> tuple[Sequence[_T], Part]:
    """A page of ``items``; of numbers that are too high or too low, the nearest that there is."""
    pages = max(1, -(-len(items) // size))
    number = min(max(1, number), pages)
    start = (number - 1) * size
    shown = items[start : start + size]
    return shown, Part(number, pages, start + bool(shown), start + len(shown), len(items))
