"""What lists of targets show and look for, worked out once for each state of a target.

With ten thousand targets, what is asked of each of them on each request has to be next to nothing:
the worst of its jobs, the text to search in and the order by age are found when its state is first
seen, and kept until there is another one (:mod:`datakit_ci.dashboard.shelf`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from datakit_ci.dashboard.offers import offers_of_target
from datakit_ci.state import BuildId, GraphNode, Status, TargetState
from datakit_ci.target import Target

__all__ = ["Entry", "entry_of", "having", "newest_first"]

_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Entry:
    """A target's state, and what lists need of it.

    Attributes:
        state: What is shown.
        status: The worst of its jobs.
        age: Sorts by the last change, the newest first, and then by name.
        text: Project, name, title, subject, author and commit id, folded, to search in.
        underway: The nodes whose builds run, or wait to.
        asks: Whether it waits for a person.
        keys: Of all builds that it shows, to find out fast that it does not show one.
    """

    state: TargetState
    status: Status
    age: tuple[float, str]
    text: str
    underway: tuple[GraphNode, ...]
    asks: bool
    keys: frozenset[str]

    @property
    def target(self) -> Target:
        """Which target."""
        return self.state.target

    def shows(self, build: BuildId) -> bool:
        """Whether a build counts for the target at present."""
        if build.key not in self.keys:
            return False
        state = self.state
        return any(node.build == build for node in state.graph) or any(
            build in job.builds for job in state.jobs
        )

    def builds(self) -> frozenset[BuildId]:
        """The builds that run, or wait to."""
        return frozenset(node.build for node in self.underway if node.build is not None)


def entry_of(state: TargetState) -> Entry:
    """What lists need of ``state``."""
    target = state.target
    about = f"{state.title} {state.subject} {state.author} {state.head or ''}"
    text = f"{target.project} {target.short} {about}"
    status = state.status
    underway = tuple(node for node in state.graph if node.build and not node.status.is_final)
    drawn = (node.build.key for node in state.graph if node.build is not None)
    named = (build.key for job in state.jobs for build in job.builds)
    return Entry(
        state,
        status,
        (-(state.updated or _EPOCH).timestamp(), target.path),
        text.casefold(),
        underway,
        _asks(state, status, underway),
        frozenset((*drawn, *named)),
    )


def _asks(state: TargetState, status: Status, underway: Iterable[GraphNode]) -> bool:
    """Only what waits can wait for a person; it is worth a closer look."""
    waits = status is Status.WAITING or any(node.status is Status.WAITING for node in underway)
    if not waits:
        return False
    offers = offers_of_target(state)
    return bool(offers.confirm) or offers.approve


def having(entries: Iterable[Entry], words: Iterable[str]) -> list[Entry]:
    """Those with all ``words``, which are folded, in their text."""
    found = list(entries)
    for word in words:  # in C, but for the loop: with thousands, a call for each is most of it
        found = [entry for entry in found if word in entry.text]
    return found


def newest_first(entries: Iterable[Entry]) -> list[Entry]:
    """The entries by when they last changed."""
    return sorted(entries, key=lambda entry: entry.age)
