"""The last outcomes of a target, and since when it is red."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from datakit_ci.annals import Change
from datakit_ci.dashboard.courses import Courses, course_of
from datakit_ci.state import JobState, Status, TargetState
from datakit_ci.target import Target
from datakit_core.client.api import CommitId, ObjectId
from datakit_core.errors import DatakitError
from tests.support.ci_scene import NOW
from tests.support.fake_engine import FakeEngine

MAIN = Target("me/app", "heads", "main")
GREEN, RED, BUSY = Status.SUCCESS, Status.FAILURE, Status.RUNNING


def changes(*told: tuple[str, Status]) -> list[Change]:
    """Heads and states, the newest first, a minute apart."""
    return [
        Change(
            CommitId(ObjectId(f"{number:040x}")),
            TargetState(
                MAIN,
                CommitId(ObjectId(head * 40)),
                jobs=(JobState("unit", status, ""),),
                updated=NOW - timedelta(minutes=number),
            ),
        )
        for number, (head, status) in enumerate(told)
    ]


def test_it_is_red_since_it_first_was_after_it_was_green() -> None:
    told = changes(("d", RED), ("d", BUSY), ("c", RED), ("c", BUSY), ("b", GREEN), ("a", RED))
    course = course_of(told, is_all=True)
    assert course.red_since == NOW - timedelta(minutes=2)
    assert not course.at_least
    assert [(each.head, each.status) for each in course.outcomes] == [
        ("a" * 40, RED),
        ("b" * 40, GREEN),
        ("c" * 40, RED),
        ("d" * 40, RED),
    ]


def test_it_may_be_red_for_longer_than_was_read() -> None:
    told = changes(("b", RED), ("a", RED))
    assert course_of(told, is_all=False).at_least
    assert not course_of(told, is_all=True).at_least


def test_what_counts_at_a_commit_is_how_it_ended_there() -> None:
    course = course_of(changes(("a", GREEN), ("a", BUSY), ("a", RED)), is_all=True)
    assert [each.status for each in course.outcomes] == [GREEN]
    assert course.red_since is None


def test_without_a_history_nothing_is_told() -> None:
    course = course_of((), is_all=True)
    assert (course.outcomes, course.red_since) == ((), None)


class Counting(FakeEngine):
    """Counts how often histories are read; with ``is_away`` they cannot be."""

    reads = 0
    is_away = False

    async def history(self, target: Target, skip: int, most: int) -> Sequence[Change]:
        self.reads += 1
        if self.is_away:
            raise DatakitError("the database is away")
        return await super().history(target, skip, most)


async def test_a_history_is_read_once_for_each_state() -> None:
    engine, courses = Counting(), Courses()
    engine.histories[MAIN] = told = changes(("b", RED), ("a", GREEN))
    for _ in range(3):
        found = await courses.of(engine, [told[0].state])
        assert found[MAIN].red_since == NOW
    assert engine.reads == 1
    await courses.of(engine, [told[1].state])
    assert engine.reads == 2


async def test_a_page_is_shown_without_histories_that_cannot_be_read() -> None:
    engine, courses = Counting(), Courses()
    engine.is_away = True
    (only,) = changes(("a", RED))
    assert await courses.of(engine, [only.state]) == {}
    engine.is_away = False
    assert MAIN in await courses.of(engine, [only.state])
