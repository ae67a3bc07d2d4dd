"""What lists of targets show and look for, worked out once for each state of a target.

With ten thousand targets, what is asked of each of them on each request has to be next to nothing:
the worst of its jobs, the text to search in and the order by age are found when its state is first
seen, and kept until there is another one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from aiohttp import web

from datakit_ci.state import BuildId, GraphNode, Status, TargetState
from datakit_ci.target import Target

__all__ = ["CATALOGUE", "Catalogue", "Entry", "entry_of", "newest_first"]

_EPOCH = datetime.fromtimestamp(0, UTC)

_SPARE = 1000
"""Entries of targets that are not shown (any more) that are kept."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A target's state, and what lists need of it.

    Attributes:
        state: What is shown.
        status: The worst of its jobs.
        age: Sorts by the last change, the newest first, and then by name.
        text: Project, name, subject, author and commit id, folded, to search in.
        underway: The nodes whose builds run, or wait to.
    """

    state: TargetState
    status: Status
    age: tuple[float, str]
    text: str
    underway: tuple[GraphNode, ...]

    @property
    def target(self) -> Target:
        """Which target."""
        return self.state.target

    def has(self, words: Iterable[str]) -> bool:
        """Whether all ``words``, which are folded, are in the text."""
        return all(word in self.text for word in words)

    def builds(self) -> frozenset[BuildId]:
        """The builds that run, or wait to."""
        return frozenset(node.build for node in self.underway if node.build is not None)


def entry_of(state: TargetState) -> Entry:
    """What lists need of ``state``."""
    target = state.target
    text = f"{target.project} {target.short} {state.subject} {state.author} {state.head or ''}"
    return Entry(
        state,
        state.status,
        (-(state.updated or _EPOCH).timestamp(), target.path),
        text.casefold(),
        tuple(node for node in state.graph if node.build and not node.status.is_final),
    )


def newest_first(entries: Iterable[Entry]) -> list[Entry]:
    """The entries by when they last changed."""
    return sorted(entries, key=lambda entry: entry.age)


class Catalogue:
    """Keeps entries; one for each target, and of few targets that are not there any more."""

    def __init__(self) -> None:
        """Keep none yet."""
        self._entries: dict[Target, Entry] = {}

    def entries(self, states: Iterable[TargetState]) -> list[Entry]:
        """The entries of ``states``, in the same order."""
        kept = self._entries
        found: list[Entry] = []
        for state in states:
            entry = kept.get(state.target)
            if entry is None or entry.state is not state:
                entry = kept[state.target] = entry_of(state)
            found.append(entry)
        if len(kept) > 2 * len(found) + _SPARE:
            self._entries = {entry.target: entry for entry in found}
        return found


CATALOGUE: Final = web.AppKey("catalogue", Catalogue)
