"""Both directions, one thing at a time, against GitHub's API on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from datakit_ci.bridges.github.reconcile import AddComment
from datakit_ci.bridges.github.resources import CommentKey
from datakit_ci.bridges.github.scope import NOTHING
from datakit_ci.bridges.github.sync import agreed_branch
from datakit_ci.metadata import BRANCH
from tests.support.fake_github import FakePull
from tests.support.github_world import World, commit_id, open_world

A, B, C = commit_id(1), commit_id(2), commit_id(3)
STATUS = f"commit/{A}/status/ci/datakit/test"


@pytest.fixture(params=["local", "remote"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path, request.param) as made:
        yield made


async def test_what_github_says_is_files(world: World) -> None:
    world.repository.set_ref("heads/main", A)
    world.repository.set_ref("tags/v1", B)
    world.repository.tag_objects["tags/v1"] = commit_id(99)
    world.repository.open_pull(FakePull(7, C, "Fix it", owner="bob", fork=True))
    comment = world.repository.comment(7, "cid", "Looks good\nto me")
    world.repository.set_status(C, "lint/style", "failure", "2 errors")

    assert await world.sync()

    assert await world.files() == {
        ".monitor": b"",
        "ref/heads/main/head": f"{A}\n".encode(),
        "ref/tags/v1/head": f"{B}\n".encode(),
        "pr/7/head": f"{C}\n".encode(),
        "pr/7/state": b"open\n",
        "pr/7/title": b"Fix it\n",
        "pr/7/owner": b"bob\n",
        "pr/7/base": b"main\n",
        "pr/7/fork": b"true\n",
        f"pr/7/comments/{comment}/id": f"{comment}\n".encode(),
        f"pr/7/comments/{comment}/user": b"cid\n",
        f"pr/7/comments/{comment}/body": b"Looks good\nto me",
        f"commit/{C}/status/lint/style/state": b"failure\n",
        f"commit/{C}/status/lint/style/description": b"2 errors\n",
    }


async def test_a_sync_that_changes_nothing_makes_no_commit_and_few_requests(world: World) -> None:
    world.repository.set_ref("heads/main", A)
    world.repository.open_pull(FakePull(1, B, "One"))
    await world.sync()
    heads = await world.database.branches()
    world.hub.requests.clear()
    assert not await world.sync()
    assert await world.database.branches() == heads
    assert world.hub.requests == [("POST", "/graphql")] * 3  # pull requests, branches, tags


async def test_closed_pull_requests_and_deleted_refs_are_pruned(world: World) -> None:
    world.repository.set_ref("heads/main", A)
    world.repository.set_ref("heads/old", B)
    world.repository.open_pull(FakePull(1, C, "One"))
    world.repository.comment(1, "ann", "a word")
    world.repository.set_status(B, "x", "success")
    await world.sync()
    world.repository.remove_ref("heads/old")
    world.repository.change_pull(1, state="closed")
    assert await world.sync()
    assert await world.files() == {
        ".monitor": b"",
        "ref/heads/main/head": f"{A}\n".encode(),
    }


async def test_a_branch_can_take_the_place_of_a_directory_of_branches(world: World) -> None:
    world.repository.set_ref("heads/a/b", A)
    await world.sync()
    world.repository.remove_ref("heads/a/b")
    world.repository.set_ref("heads/a", B)
    await world.sync()
    files = await world.files()
    assert files["ref/heads/a/head"] == f"{B}\n".encode()
    assert "ref/heads/a/b/head" not in files


async def test_a_status_is_pushed_once(world: World) -> None:
    world.repository.set_ref("heads/main", A)
    await world.sync()
    said = {f"{STATUS}/state": b"pending\n", f"{STATUS}/description": b"queued\n"}
    await world.edit({**said})
    await world.sync()
    assert world.repository.statuses[A]["ci/datakit/test"]["state"] == "pending"
    await world.sync()
    world.restart()
    await world.sync()
    assert world.repository.status_posts == 1
    await world.edit({f"{STATUS}/state": b"success\n"})
    await world.sync()
    await world.sync()
    assert world.repository.status_posts == 2
    assert world.repository.statuses[A]["ci/datakit/test"]["state"] == "success"


async def test_a_title_is_pushed_once_and_github_wins_over_an_edit_of_both(world: World) -> None:
    world.repository.open_pull(FakePull(1, A, "One"))
    await world.sync()
    await world.edit({"pr/1/title": b"Two\n"})
    await world.sync()
    assert world.repository.pulls[1].title == "Two"
    world.hub.requests.clear()
    await world.sync()
    assert not [path for method, path in world.hub.requests if method == "PATCH"]

    await world.edit({"pr/1/title": b"Mine\n"})
    world.repository.change_pull(1, title="Theirs")
    await world.sync()
    assert world.repository.pulls[1].title == "Theirs"
    assert (await world.files())["pr/1/title"] == b"Theirs\n"


async def test_a_new_comment_gets_githubs_id(world: World) -> None:
    world.repository.open_pull(FakePull(1, A, "One"))
    await world.sync()
    await world.edit({"pr/1/comments/new/body": b"All tests pass.\n"})
    await world.sync()
    [(identity, comment)] = world.repository.pulls[1].comments.items()
    assert comment == {"user": "datakit-bot", "body": "All tests pass.\n"}
    files = await world.files()
    assert "pr/1/comments/new/body" not in files
    assert files[f"pr/1/comments/{identity}/user"] == b"datakit-bot\n"

    await world.edit({f"pr/1/comments/{identity}/body": b"All but one."})
    await world.sync()
    assert world.repository.pulls[1].comments[identity]["body"] == "All but one."


async def test_a_comment_whose_answer_was_lost_is_not_made_again(world: World) -> None:
    world.repository.open_pull(FakePull(1, A, "One"))
    await world.sync()
    await world.edit({"pr/1/comments/new/body": b"once"})
    await world.bridge.sync(world.repository.name)
    world.restart()
    await world.edit({"pr/1/comments/again/body": b"twice"})
    # The bridge dies after GitHub has the comment and before the database knows.
    await world.client.push(world.repository.name, AddComment(CommentKey(1, "again"), "twice"))
    await world.sync()
    bodies = [said["body"] for said in world.repository.pulls[1].comments.values()]
    assert bodies == ["once", "twice"]
    assert "pr/1/comments/again/body" not in await world.files()


async def test_what_github_owns_cannot_be_changed_from_here(world: World) -> None:
    world.repository.set_ref("heads/main", A)
    world.repository.open_pull(FakePull(1, B, "One", owner="bob", fork=True))
    await world.sync()
    before = await world.files()
    await world.edit(
        {
            "ref/heads/main/head": f"{C}\n".encode(),
            "pr/1/head": f"{C}\n".encode(),
            "pr/1/fork": b"false\n",
            "ref/heads/mine/head": f"{C}\n".encode(),
            "pr/9/head": f"{C}\n".encode(),
        }
    )
    await world.sync()
    assert await world.files() == before


async def test_capabilities_limit_what_is_pushed(world: World) -> None:
    world.repository.set_ref("heads/main", A)
    world.repository.open_pull(FakePull(1, B, "One"))
    world.restart("*:r,status[ci/datakit]:x")
    await world.sync()
    await world.edit(
        {
            f"{STATUS}/state": b"success\n",
            f"commit/{A}/status/other/state": b"success\n",
            "pr/1/title": b"Two\n",
            "pr/1/comments/new/body": b"hello",
        }
    )
    await world.sync()
    assert set(world.repository.statuses[A]) == {"ci/datakit/test"}
    assert world.repository.pulls[1].title == "One"
    assert not world.repository.pulls[1].comments


async def test_what_github_refuses_is_said_once_and_stays(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.repository.set_ref("heads/main", A)
    await world.sync()
    await world.edit({f"{STATUS}/state": b"no-such-state\n"})
    await world.sync()
    await world.sync()
    assert len([r for r in caplog.records if "refuses SetStatus" in r.message]) == 1
    assert (await world.files())[f"{STATUS}/state"] == b"no-such-state\n"
    await world.edit({f"{STATUS}/state": b"success\n"})
    await world.sync()
    assert world.repository.statuses[A]["ci/datakit/test"]["state"] == "success"


async def test_marks_ask_for_a_look_and_are_removed_by_it(world: World) -> None:
    world.repository.set_ref("heads/main", A)
    world.repository.open_pull(FakePull(1, B, "One"))
    await world.sync()
    world.repository.change_pull(1, title="Two")
    world.repository.set_ref("heads/main", C)
    await world.edit({"pr/1/.dirty": b""})
    await world.bridge.sync(world.repository.name, NOTHING)
    files = await world.files()
    assert files["pr/1/title"] == b"Two\n"
    assert files["ref/heads/main/head"] == f"{A}\n".encode()  # nobody asked
    assert "pr/1/.dirty" not in files

    await world.edit({".dirty": b"", "ref/heads/main/.dirty": b""})
    await world.bridge.sync(world.repository.name, NOTHING)
    files = await world.files()
    assert files["ref/heads/main/head"] == f"{C}\n".encode()
    assert not [path for path in files if path.endswith(".dirty")]


async def test_many_pages_come_whole(world: World) -> None:
    for number in range(1, 131):
        world.repository.open_pull(FakePull(number, commit_id(number), f"Number {number}"))
        world.repository.set_ref(f"heads/b{number}", commit_id(1000 + number))
    for number in range(250):
        world.repository.comment(5, "ann", f"word {number}")
    await world.sync()
    files = await world.files()
    assert sum(path.endswith("/title") for path in files) == 130
    assert sum(path.startswith("ref/heads/") for path in files) == 130
    assert sum(path.startswith("pr/5/comments/") for path in files) == 750


async def test_the_agreed_state_is_on_a_branch_of_its_own(world: World) -> None:
    world.repository.set_ref("heads/main", A)
    await world.sync()
    assert set(await world.database.branches()) == {BRANCH, agreed_branch(BRANCH)}
