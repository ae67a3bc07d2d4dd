"""A GitHub App says by check runs what others say by statuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from datakit_ci.bridges.github.hub import Unavailable
from datakit_ci.bridges.github.resources import StatusKey
from datakit_ci.bridges.github.scope import NOTHING, WHOLE
from tests.support.fake_github import FakePull, Fault
from tests.support.github_world import PROJECT, World, commit_id, open_world

A, B = commit_id(1), commit_id(2)
NAME = "ci/datakit/test"
STATUS = f"commit/{A}/status/{NAME}"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as made:
        made.is_app = True
        made.restart()
        made.repository.set_ref("heads/main", A)
        await made.sync()
        yield made


async def say(world: World, state: str, text: str = "", status: str = STATUS) -> None:
    said = {f"{status}/state": state.encode(), f"{status}/description": text.encode()}
    await world.edit({**said})


async def test_a_status_is_a_check_run_and_nothing_else(world: World) -> None:
    await say(world, "failure", "2 failed")
    await world.edit({f"{STATUS}/target_url": b"https://ci.example.org/x\n"})
    await world.sync()
    run = world.repository.run(NAME)
    assert (run.head_sha, run.status, run.conclusion) == (A, "completed", "failure")
    assert (run.title, run.details_url) == ("2 failed", "https://ci.example.org/x")
    assert world.repository.statuses == {}


async def test_each_change_is_told_once_and_restarts_change_nothing(world: World) -> None:
    for state, text in (("pending", "waits"), ("pending", "runs"), ("success", "passed")):
        await say(world, state, text)
        await world.sync()
        await world.sync()
        world.restart()
        await world.sync()
    assert world.repository.run_requests == [
        ("POST", NAME, "queued"),
        ("PATCH", NAME, "queued"),
        ("PATCH", NAME, "completed"),
    ]
    assert (await world.files())[f"{STATUS}/description"] == b"passed"


@pytest.mark.parametrize("dies", [False, True])
async def test_one_whose_answer_was_lost_is_not_made_again(world: World, dies: bool) -> None:
    await say(world, "failure", "no")
    world.hub.faults.append(Fault(502, lost=True, at=f"POST /repos/{PROJECT}/check-runs"))
    with pytest.raises(Unavailable):
        await world.sync()
    if dies:
        world.restart()
    await world.bridge.sync(PROJECT, NOTHING)  # without a look: it is asked for by its name
    assert world.repository.run_requests == [("POST", NAME, "completed")]
    assert not await world.sync()


async def test_what_may_not_be_a_check_run_stays_a_status(world: World) -> None:
    world.restart("*:r,check[ci/datakit]:x,status[other]:x")
    await say(world, "success")
    await say(world, "success", status=f"commit/{A}/status/other/one")
    await say(world, "success", status=f"commit/{A}/status/third")
    await world.sync()
    assert [run.name for run in world.repository.runs.values()] == [NAME]
    assert list(world.repository.statuses[A]) == ["other/one"]


async def test_with_a_plain_token_there_are_statuses_only(world: World) -> None:
    world.is_app = False
    world.restart()
    await say(world, "success")
    await world.sync()
    assert list(world.repository.statuses[A]) == [NAME]
    assert world.repository.runs == {}


async def test_statuses_from_before_there_was_an_app_become_check_runs(world: World) -> None:
    world.is_app = False
    world.restart()
    other = f"commit/{A}/status/lint"
    await say(world, "failure", "2 failed")
    await say(world, "success", "fine", status=other)
    await world.sync()
    world.is_app = True
    for _ in range(2):  # also the next time that it starts
        world.restart()
        assert not await world.sync()  # the database says what it has said
        assert [(run.name, run.conclusion) for run in world.repository.runs.values()] == [
            (NAME, "failure")
        ]
    assert world.repository.status_posts == 2
    assert (await world.files())[f"{STATUS}/description"] == b"2 failed"


async def test_a_status_from_before_goes_on_to_say_what_its_check_run_says(world: World) -> None:
    """If both are demanded by a branch protection, the old one must not stay red for ever."""
    world.repository.set_status(A, NAME, "failure", "2 failed")
    world.repository.set_status(A, "ci/datakit/gone", "failure", "of a job that is no more")
    await say(world, "success", "x" * 200)
    await world.sync()
    assert world.repository.run(NAME).conclusion == "success"
    assert world.repository.run(NAME).title == "x" * 200
    said = world.repository.statuses[A][NAME]
    assert (said["state"], said["description"]) == ("success", "x" * 140)
    posts, runs = world.repository.status_posts, len(world.repository.run_requests)
    world.restart()
    assert not await world.sync()
    assert not await world.sync()
    assert (world.repository.status_posts, len(world.repository.run_requests)) == (posts, runs)


async def test_one_that_died_between_check_run_and_status_goes_on(world: World) -> None:
    world.repository.set_status(A, NAME, "failure", "2 failed")
    world.hub.faults.append(Fault(502, at=f"POST /repos/{PROJECT}/statuses/{A}"))
    await say(world, "success", "fine")
    with pytest.raises(Unavailable):
        await world.sync()
    assert world.repository.statuses[A][NAME]["state"] == "failure"
    world.restart()
    await world.sync()
    assert world.repository.statuses[A][NAME]["state"] == "success"
    assert [run.name for run in world.repository.runs.values()] == [NAME]


async def test_an_app_that_may_set_no_statuses_leaves_them_and_goes_on(world: World) -> None:
    world.repository.set_status(A, NAME, "failure", "2 failed")
    world.hub.faults.append(Fault(403, at=f"POST /repos/{PROJECT}/statuses/{A}"))
    await say(world, "success", "fine")
    await world.sync()
    assert world.repository.run(NAME).conclusion == "success"
    assert world.repository.statuses[A][NAME]["state"] == "failure"
    assert not await world.sync()
    assert world.repository.status_posts == 0


async def test_what_others_say_by_statuses_is_still_read(world: World) -> None:
    world.repository.open_pull(FakePull(1, B, "One"))
    world.repository.set_status(B, "lint", "success")
    await world.sync()
    assert (await world.files())[f"commit/{B}/status/lint/state"] == b"success\n"


async def test_more_check_runs_than_one_page_has_are_known(world: World) -> None:
    names = [f"ci/datakit/job{number:03}" for number in range(230)]
    files = {f"commit/{A}/status/{name}/state": b"success\n" for name in names}
    await world.edit({**files})
    await world.sync()
    world.restart()
    found = await world.client.look(PROJECT, WHOLE)
    assert {key.context for key in found if isinstance(key, StatusKey)} == set(names)
    before = len(world.repository.run_requests)
    assert not await world.sync()
    assert len(world.repository.run_requests) == before == 230


async def test_a_word_that_is_no_state_is_refused_once(world: World) -> None:
    await say(world, "splendid")
    await world.sync()
    await world.sync()
    assert world.repository.runs == {}
    await say(world, "success")
    await world.sync()
    assert world.repository.run(NAME).conclusion == "success"
