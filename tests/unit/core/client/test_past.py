"""Heads of the past: found without reading a history twice, and followed as branches move."""

from __future__ import annotations

import asyncio

import pytest

from datakit_core.client.past import Chronicle, Moments
from tests.support.histories import MadeUpHistories

BRANCH = "b"


@pytest.fixture
def histories() -> MadeUpHistories:
    return MadeUpHistories()


async def test_only_what_is_asked_for_is_read_and_only_once(histories: MadeUpHistories) -> None:
    commits = [histories.add(BRANCH, time) for time in range(1000)]
    chronicle = Chronicle(histories)
    assert await chronicle.head_at(BRANCH, 990) == commits[990]
    assert histories.reads == 10
    assert await chronicle.head_at(BRANCH, 995) == commits[995]
    assert histories.reads == 10
    assert await chronicle.head_at(BRANCH, -1) is None
    assert histories.reads == 1000
    histories.add(BRANCH, 1000)
    assert await chronicle.head_at(BRANCH, 500) == commits[500]
    assert histories.reads == 1001


async def test_several_that_ask_at_once_read_once(histories: MadeUpHistories) -> None:
    first = histories.add(BRANCH, 0)
    for time in range(1, 1000):
        histories.add(BRANCH, time)
    chronicle = Chronicle(histories)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(chronicle.head_at(BRANCH, 0)) for _ in range(5)]
    assert {task.result() for task in tasks} == {first}
    assert histories.reads == 1000


async def test_a_moment_knows_the_changes_around_it(histories: MadeUpHistories) -> None:
    last = [histories.add(BRANCH, time) for time in (10, 20, 20, 30)][-1]
    chronicle = Chronicle(histories)
    assert await chronicle.around(BRANCH, 35) == Moments(last, 30, 20, None)
    in_between = await chronicle.around(BRANCH, 25)
    assert (in_between.since, in_between.earlier, in_between.later) == (20, 10, 30)
    first = await chronicle.around(BRANCH, 10)
    assert (first.since, first.earlier, first.later) == (10, None, 20)
    assert await chronicle.around(BRANCH, 9) == Moments(later=10)
    assert await chronicle.around("other", 9) == Moments()


async def test_a_branch_that_begins_anew_or_goes_is_noticed(histories: MadeUpHistories) -> None:
    histories.add(BRANCH, 10)
    chronicle = Chronicle(histories)
    assert await chronicle.head_at(BRANCH, 15) is not None
    fresh = histories.add(BRANCH, 20, begins=True)
    assert await chronicle.head_at(BRANCH, 15) is None
    assert await chronicle.head_at(BRANCH, 20) == fresh
    assert (await chronicle.first(BRANCH)).commit == fresh
    del histories.heads[BRANCH]
    assert await chronicle.head_at(BRANCH, 20) is None


async def test_a_history_ends_where_commits_are_missing(histories: MadeUpHistories) -> None:
    histories.lose(histories.add(BRANCH, 10))
    known = histories.add(BRANCH, 20)
    chronicle = Chronicle(histories)
    assert await chronicle.head_at(BRANCH, 15) is None
    assert await chronicle.first(BRANCH) == Moments(known, 20)


async def test_a_commit_of_the_branch_is_known_by_its_moment(histories: MadeUpHistories) -> None:
    commits = [histories.add(BRANCH, time) for time in (10, 20, 20, 20, 30)]
    chronicle = Chronicle(histories)
    assert await chronicle.holds(BRANCH, commits[2], 20)
    assert not await chronicle.holds(BRANCH, commits[2], 10)
    assert not await chronicle.holds(BRANCH, histories.add("other", 20), 20)


async def test_what_is_remembered_is_bounded(histories: MadeUpHistories) -> None:
    for number in range(20):
        for time in range(10):
            histories.add(f"b{number}", time)
    chronicle = Chronicle(histories, most=50)
    for number in range(20):
        await chronicle.head_at(f"b{number}", 0)
    reads = histories.reads
    await chronicle.head_at("b19", 0)
    assert histories.reads == reads
    await chronicle.head_at("b0", 0)
    assert histories.reads == reads + 10
