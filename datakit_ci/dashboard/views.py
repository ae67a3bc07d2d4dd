"""What pages show, picked from the state and put in order: pure, so that templates only lay out."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from datakit_ci.dashboard.catalogue import Entry, having
from datakit_ci.dashboard.shelf import Section, Shelf, by_project
from datakit_ci.state import BuildId, GraphNode, JobState, Status, TargetState
from datakit_ci.target import Target, TargetKind

__all__ = [
    "Filter",
    "Group",
    "Overview",
    "Running",
    "Trouble",
    "broken_build",
    "counts",
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
_RANKS = [
    tuple(status for status, each in _RED_FIRST.items() if each == rank)
    for rank in sorted(set(_RED_FIRST.values()))
]


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

    @property
    def statuses(self) -> tuple[Status, ...]:
        """Those that :meth:`holds` says yes to."""
        return tuple(status for status in Status if self.holds(status))


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


def overview(shelf: Shelf, wanted: Filter, search: str, project: str | None = None) -> Overview:
    """Pick and order what the front page (or a project's page) shows.

    Args:
        shelf: Every target that may be shown.
        wanted: Which states.
        search: Words that all have to be in the project, name, subject, author or commit id.
        project: The only one whose targets are shown; none: all.
    """
    whole = shelf.whole if project is None else shelf.projects.get(project, Section())
    projects: Mapping[str, Section] = shelf.projects if project is None else {project: whole}
    busy: Iterable[Entry] = shelf.busy.values()
    if project is not None:
        busy = (entry for entry in busy if entry.target.project == project)
    total, words = len(whole), search.casefold().split()
    if words:
        found = having(whole.those(), words)
        whole, projects = Section(found), by_project(found)
        busy = having(busy, words)
    groups = _groups(projects, wanted)
    red = whole.those(Filter.FAILING.statuses)[:_MOST_TROUBLE]
    return Overview(
        groups=tuple(groups[:_MOST_PROJECTS]),
        more=max(0, len(groups) - _MOST_PROJECTS),
        counts=counts(whole),
        statuses=tuple((status, n) for status in _RED_FIRST if (n := whole.count(status))),
        trouble=tuple(trouble(entry.state) for entry in red),
        running=tuple(running(busy)),
        total=total,
    )


def counts(section: Section) -> Mapping[Filter, int]:
    """For each filter, how many targets it would show."""
    return {each: sum(map(section.count, each.statuses)) for each in Filter}


def _groups(projects: Mapping[str, Section], wanted: Filter) -> list[Group]:
    ranks = [tuple(filter(wanted.holds, rank)) for rank in _RANKS]
    sizes = {
        project: size
        for project, section in projects.items()
        if (size := sum(map(section.count, chain.from_iterable(ranks))))
    }
    most = max(_FEWEST_EACH, _MOST_TARGETS // max(1, len(sizes)))
    groups = []
    for project, size in sorted(sizes.items()):
        shown: list[Entry] = []
        for rank in ranks:
            if len(shown) < most:
                shown += projects[project].those(rank)[: most - len(shown)]
        groups.append(Group(project, tuple(entry.state for entry in shown), size - len(shown)))
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
    found = [entry.state for entry in entries if build.key in entry.keys and entry.shows(build)]
    return sorted(found, key=lambda state: _name(state.target))


def _name(target: Target) -> tuple[str, str, str]:
    """Sorts targets as they sort themselves, and faster."""
    return target.project, target.kind_value, target.name


def first_problem(nodes: Sequence[GraphNode]) -> GraphNode | None:
    """The node that a person should look at first: the first in the order of the graph to fail."""
    return next((node for node in nodes if node.status in _BAD), None)


def main_branch(project: str, find: Callable[[Target], TargetState | None]) -> TargetState | None:
    """The branch that a project is judged by, going by its name."""
    names = (Target(project, TargetKind.BRANCH.value, name) for name in _MAIN)
    return next((state for name in names if (state := find(name)) is not None), None)


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
