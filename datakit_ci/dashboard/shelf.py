"""Targets in the order in which lists show them, kept from one request to the next.

Sorting and counting ten thousand targets takes longer than all else that a page does. So they are
kept sorted and counted, and a request only pays for the targets that have changed since the last:
those whose state is another object. What one visitor may read, or what there was at a moment of the
past, differs by more than that; it has a shelf of its own.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Final

from aiohttp import web

from datakit_ci.dashboard.catalogue import Entry, entry_of, newest_first
from datakit_ci.state import Status, TargetState

__all__ = ["SHELVES", "Section", "Shelf", "Shelves", "by_project"]

_KEPT = 4
"""Shelves: for groups of visitors with different rights, and for moments of the past."""

_FEW = 16
"""What part of the targets may have changed for a shelf to be worth changing: one in so many."""

_age = attrgetter("age")


class Section:
    """Some targets, by state and the newest first."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        """Hold ``entries``, which come with the newest first."""
        self._by_status = defaultdict[Status, list[Entry]](list)
        for entry in entries:
            self._by_status[entry.status].append(entry)

    def __len__(self) -> int:
        return sum(map(len, self._by_status.values()))

    def count(self, status: Status) -> int:
        """How many are in a state."""
        return len(self._by_status.get(status, ()))

    def those(self, statuses: Iterable[Status] = Status) -> list[Entry]:
        """Those in one of the states, the newest first."""
        found = [self._by_status[status] for status in statuses if status in self._by_status]
        if len(found) == 1:
            return found[0].copy()
        return sorted(chain.from_iterable(found), key=_age)  # runs, which are merged

    def append(self, entry: Entry) -> None:
        """Put a target behind all others."""
        self._by_status[entry.status].append(entry)

    def add(self, entry: Entry) -> None:
        """Put a target to where it belongs."""
        insort(self._by_status[entry.status], entry, key=_age)

    def remove(self, entry: Entry) -> None:
        """Take a target out, which is there."""
        row = self._by_status[entry.status]
        del row[bisect_left(row, entry.age, key=_age)]


def by_project(entries: Iterable[Entry]) -> Mapping[str, Section]:
    """A section for each project; ``entries`` come with the newest first."""
    found = defaultdict[str, Section](Section)
    for entry in entries:
        found[entry.state.target.project].append(entry)
    return found


class Shelf:
    """Targets in sections.

    Attributes:
        whole: All of them.
        projects: Those of each project; one without targets may be there, and empty.
        busy: Those with builds under way.
        asking: Those that wait for a person.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        """Put up ``entries``, in any order."""
        self._entries = {id(entry.state): entry for entry in entries}
        self._by_target = {entry.target: entry for entry in self._entries.values()}
        ordered = newest_first(self._entries.values())
        self.whole = Section(ordered)
        self.projects = defaultdict[str, Section](Section, by_project(ordered))
        self._kinds = defaultdict[tuple[str, str], Section](Section)
        self._authors = defaultdict[tuple[str, str], Counter[str]](Counter)
        self.busy: dict[int, Entry] = {}
        self.asking: dict[int, Entry] = {}
        for entry in ordered:
            kind, project = entry.target.kind_value, entry.target.project
            self._kinds[kind, ""].append(entry)
            self._kinds[kind, project].append(entry)
            self._mark(entry)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        """All entries, in no order."""
        return iter(self._entries.values())

    def of_kind(self, kind: str, project: str = "") -> Section:
        """The ``heads``, ``tags`` or ``pr`` of a project, or of all."""
        return self._kinds.get((kind, project)) or Section()

    def projects_with(self, kind: str) -> list[str]:
        """The projects that have such targets, sorted."""
        found = self._kinds.items()
        return sorted(project for (each, project), row in found if each == kind and project and row)

    def authors_of(self, kind: str, project: str = "") -> Mapping[str, int]:
        """Who has made the heads of such targets, and of how many."""
        return self._authors.get((kind, project), {})

    def lacks(self, states: Sequence[TargetState]) -> list[TargetState]:
        """The ``states`` that are not there."""
        known = self._entries
        return [state for state in states if id(state) not in known]

    def update(self, states: Sequence[TargetState], new: Sequence[TargetState]) -> None:
        """Hold ``states`` from now on, of which ``new`` are those that are not there yet."""
        for state in new:
            old = self._by_target.get(state.target)
            if old is not None:
                self._remove(old)
            self._add(entry_of(state))
        if len(self._entries) > len(states):
            for gone in self._entries.keys() - set(map(id, states)):
                self._remove(self._entries[gone])

    def _sections(self, entry: Entry) -> tuple[Section, ...]:
        kind, project = entry.target.kind_value, entry.target.project
        of_kind = self._kinds[kind, ""], self._kinds[kind, project]
        return self.whole, self.projects[project], *of_kind

    def _counts(self, entry: Entry) -> tuple[Counter[str], Counter[str]]:
        kind, project = entry.target.kind_value, entry.target.project
        return self._authors[kind, ""], self._authors[kind, project]

    def _add(self, entry: Entry) -> None:
        self._entries[id(entry.state)] = self._by_target[entry.target] = entry
        for section in self._sections(entry):
            section.add(entry)
        self._mark(entry)

    def _remove(self, entry: Entry) -> None:
        state = entry.state
        del self._entries[id(state)], self._by_target[entry.target]
        for section in self._sections(entry):
            section.remove(entry)
        for authors in self._counts(entry):
            authors[state.author] -= 1
            if not authors[state.author]:
                del authors[state.author]
        self.busy.pop(id(state), None)
        self.asking.pop(id(state), None)

    def _mark(self, entry: Entry) -> None:
        """Count its author, and remember what is special about it."""
        state = entry.state
        for authors in self._counts(entry):
            authors[state.author] += 1
        if entry.underway:
            self.busy[id(state)] = entry
        if entry.asks:
            self.asking[id(state)] = entry


class Shelves:
    """Keeps shelves for those who look at the same targets, but for a few."""

    def __init__(self) -> None:
        """Keep none yet."""
        self._kept: list[Shelf] = []  # the one that was used last comes first

    def of(self, states: Sequence[TargetState]) -> Shelf:
        """The shelf of these targets, which are each there once; a later call may change it."""
        few = len(states) // _FEW + 1
        for place, shelf in enumerate(self._kept):
            if abs(len(shelf) - len(states)) > few:
                continue
            new = shelf.lacks(states)
            if len(new) <= few:
                shelf.update(states, new)
                self._kept.insert(0, self._kept.pop(place))
                return shelf
        shelf = Shelf(self._entries(states))
        self._kept = [shelf, *self._kept[: _KEPT - 1]]
        return shelf

    def _entries(self, states: Iterable[TargetState]) -> Iterator[Entry]:
        """The entries of ``states``; what a shelf knows is not worked out again."""
        known = {id(entry.state): entry for shelf in self._kept for entry in shelf}
        for state in states:
            yield known.get(id(state)) or entry_of(state)


SHELVES: Final = web.AppKey("shelves", Shelves)
