"""What is new in each change of a target."""

from __future__ import annotations

from datakit_ci.annals import Change
from datakit_ci.dashboard.recorded import steps
from datakit_ci.state import JobState, Status, TargetState
from datakit_core.client.api import CommitId, ObjectId
from tests.support.story import MAIN

_NUMBERS = iter(range(1, 1000))


def change(head: str, **jobs: Status) -> Change:
    """A state at a source commit, with jobs by name."""
    named = tuple(JobState(name, status) for name, status in jobs.items())
    commit = CommitId(ObjectId(f"{next(_NUMBERS):040x}"))
    return Change(commit, TargetState(MAIN, CommitId(ObjectId(head * 40)), jobs=named))


def names(jobs: tuple[JobState, ...]) -> list[str]:
    return [job.name for job in jobs]


def test_only_jobs_that_stand_elsewhere_are_new() -> None:
    old = change("a", lint=Status.SUCCESS, unit=Status.RUNNING)
    new = change("a", lint=Status.SUCCESS, unit=Status.FAILURE, docs=Status.WAITING)
    first, last = steps([new, old], is_end=True)
    assert (names(first.jobs), first.moved) == (["unit", "docs"], False)
    assert (names(last.jobs), last.moved) == (["lint", "unit"], True)


def test_at_another_commit_all_jobs_are_new() -> None:
    old, new = change("a", lint=Status.SUCCESS), change("b", lint=Status.SUCCESS)
    (step,) = steps([new, old], is_end=False)
    assert (names(step.jobs), step.moved) == (["lint"], True)


def test_without_changes_there_is_nothing() -> None:
    assert steps([], is_end=True) == []
