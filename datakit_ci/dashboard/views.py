"""What pages show, picked from the state and put in order: pure, so that templates only lay out."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from datakit_ci.dashboard.catalogue import Entry, newest_first
from datakit_ci.state import BuildId, GraphNode, JobState, Status, TargetState

__all__ = [
    "Filter",
    "Group",
    "Overview",
    "Running",
    "Trouble",
    "broken_build",
    "first_problem",
    "main_branch",
    "overview",
    "red_first",
    "running",
    "summary",
    "targets_of",
    "trouble",
]

_MOST_TARGETS, _FEWEST_EACH, _MOST_PROJECTS = 60, 2, 40
"""Targets on a page; how many of them each project gets at least; projects on a page."""

_MOST_TROUBLE = 20

_MAIN = ("main", "master", "trunk", "develop")

_BAD = frozenset({Status.FAILURE, Status.ERROR})
_RED_FIRST = {
    Status.ERROR: 0,
    Status.FAILURE: 0,
    Status.BLOCKED: 1,
    Status.RUNNING: 2,
    Status.WAITING: 3,
    Status.CANCELLED: 4,
    Status.SUCCESS: 5,
}


class Filter(enum.Enum):
    """A choice of targets by state; the value is what addresses say."""

    ALL = ""
    FAILING = "failing"
    RUNNING = "running"
    PASSING = "passing"

    def holds(self, status: Status) -> bool:
        """Whether a target of this ``status`` is wanted."""
        match self:
            case Filter.ALL:
                return True
            case Filter.FAILING:
                return status in _BAD
            case Filter.RUNNING:
                return not status.is_final
            case Filter.PASSING:
                return status is Status.SUCCESS


@dataclass(frozen=True, slots=True)
class Group:
    """One project's targets: those shown, and how many more match."""

    project: str
    targets: tuple[TargetState, ...]
    more: int


@dataclass(frozen=True, slots=True)
class Running:
    """A build that runs now, and the targets that wait for it."""

    build: BuildId
    label: str
    targets: tuple[TargetState, ...]


@dataclass(frozen=True, slots=True)
class Trouble:
    """A target that is red, with what broke: failed jobs, and the build to look at first."""

    target: TargetState
    jobs: tuple[JobState, ...]
    blocked: int


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything on the front page.

    Attributes:
        groups: Projects with at least one match, in the order of their names.
        more: How many further projects have one.
        counts: For each filter, how many targets it would show (the search applied).
        statuses: How many targets are in each state, worst first.
        trouble: Red targets, the most recently changed first.
        running: Builds that run now.
        total: All targets, whatever is searched for.
    """

    groups: tuple[Group, ...]
    more: int
    counts: Mapping[Filter, int]
    statuses: tuple[tuple[Status, int], ...]
    trouble: tuple[Trouble, ...]
    running: tuple[Running, ...]
    total: int


def overview(entries: Sequence[Entry], wanted: Filter, search: str) -> Overview:
    """Pick and order what the front page (or a project's page) shows.

    Args:
        entries: Every target that may be shown.
        wanted: Which states.
        search: Words that all have to be in the project, name, subject, author or commit id.
    """
    words = search.casefold().split()
    found = newest_first(entry for entry in entries if entry.has(words))
    by_status = Counter(entry.status for entry in found)
    red = (entry.state for entry in found if entry.status in _BAD)
    groups = _groups([entry for entry in found if wanted.holds(entry.status)])
    return Overview(
        groups=tuple(groups[:_MOST_PROJECTS]),
        more=max(0, len(groups) - _MOST_PROJECTS),
        counts={f: sum(n for status, n in by_status.items() if f.holds(status)) for f in Filter},
        statuses=tuple((status, by_status[status]) for status in _RED_FIRST if by_status[status]),
        trouble=tuple(trouble(state) for state in islice(red, _MOST_TROUBLE)),
        running=tuple(running(found)),
        total=len(entries),
    )


def _groups(found: Iterable[Entry]) -> list[Group]:
    by_project: dict[str, list[Entry]] = {}
    for entry in found:
        by_project.setdefault(entry.target.project, []).append(entry)
    most = max(_FEWEST_EACH, _MOST_TARGETS // max(1, len(by_project)))
    groups = []
    for project, members in sorted(by_project.items()):
        members.sort(key=lambda member: _RED_FIRST[member.status])
        shown = tuple(entry.state for entry in members[:most])
        groups.append(Group(project, shown, len(members) - len(shown)))
    return groups


def trouble(state: TargetState) -> Trouble:
    """What is red in a target, and how many jobs it holds up."""
    return Trouble(
        target=state,
        jobs=tuple(job for job in state.jobs if job.status in _BAD),
        blocked=sum(1 for job in state.jobs if job.status is Status.BLOCKED),
    )


def running(entries: Iterable[Entry]) -> list[Running]:
    """The builds that run now; one that several targets wait for is listed once."""
    found: dict[BuildId, tuple[str, list[TargetState]]] = {}
    busy = [entry for entry in entries if entry.underway]
    for entry in sorted(busy, key=lambda entry: entry.age[1]):
        for node in entry.underway:
            if node.status is Status.RUNNING and node.build is not None:
                found.setdefault(node.build, (node.label, []))[1].append(entry.state)
    return [Running(build, label, tuple(targets)) for build, (label, targets) in found.items()]


def targets_of(entries: Iterable[Entry], build: BuildId) -> list[TargetState]:
    """The targets that a build counts for at present, by name."""
    return sorted(
        (entry.state for entry in entries if entry.shows(build)), key=lambda state: state.target
    )


def first_problem(nodes: Sequence[GraphNode]) -> GraphNode | None:
    """The node that a person should look at first: the first in the order of the graph to fail."""
    return next((node for node in nodes if node.status in _BAD), None)


def main_branch(states: Iterable[TargetState]) -> TargetState | None:
    """The branch that a project is judged by, going by its name."""
    branches = {state.target.name: state for state in states if state.target.kind_value == "heads"}
    return next((branches[name] for name in _MAIN if name in branches), None)


def red_first(jobs: Iterable[JobState]) -> list[JobState]:
    """The jobs with the failed ones first, otherwise in the pipeline's order."""
    return sorted(jobs, key=lambda job: _RED_FIRST[job.status] > 0)


def broken_build(state: TargetState, job: JobState) -> BuildId | None:
    """The build to look at for a job: the first of its builds that failed, else its own."""
    bad = [node.build for node in state.graph if node.status in _BAD]
    for build in job.builds if bad else ():
        if build in bad:
            return build
    return job.builds[-1] if job.builds else None


def summary(state: TargetState) -> str:
    """One sentence on a target: ``3 of 5 jobs passed, 1 failed, 1 blocked``."""
    if state.problem:
        return "The pipeline could not be read for this commit"
    if not state.jobs:
        return "No jobs yet"
    counts = Counter(job.status for job in state.jobs)
    total, passed = len(state.jobs), counts.pop(Status.SUCCESS, 0)
    if passed == total:
        return "The only job passed" if total == 1 else f"All {total} jobs passed"
    words = {
        Status.FAILURE: "failed",
        Status.ERROR: "in error",
        Status.RUNNING: "running",
        Status.WAITING: "waiting",
        Status.BLOCKED: "blocked",
        Status.CANCELLED: "cancelled",
    }
    rest = [f"{counts[status]} {word}" for status, word in words.items() if counts[status]]
    return f"{passed} of {total} jobs passed, " + ", ".join(rest)
