"""What clients of the branch ``github-metadata`` rely on: scenarios 43 to 48, in both back ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from datakit_ci.bridges.github.reconcile import edits, pruned
from datakit_ci.bridges.github.records import Records
from datakit_ci.bridges.github.scope import NOTHING, WHOLE
from datakit_ci.metadata import BRANCH
from tests.support.fake_github import FakePull
from tests.support.github_chaos import Chaos
from tests.support.github_world import PROJECT, World, commit_id, open_world

A, B, C = commit_id(1), commit_id(2), commit_id(3)
STATUS = f"commit/{A}/status/ci/datakit/test"


@pytest.fixture(params=["local", "remote"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path, request.param) as made:
        yield made


def _changes(world: World) -> list[tuple[str, str]]:
    """The requests that asked GitHub to change something."""
    return [
        (method, path)
        for method, path in world.hub.requests
        if method != "GET" and path != "/graphql"
    ]


async def test_43_an_empty_file_asks_for_a_repository_to_be_watched(world: World) -> None:
    world.repository.set_ref("heads/main", A)
    world.hub.repository("ann/unasked").set_ref("heads/main", B)
    await world.bridge.sync_all()
    head = await world.database.head(BRANCH)
    assert head is not None
    tree = (await world.database.commit(head)).tree
    assert await world.database.read(tree, f"{PROJECT}/.monitor") == b""
    assert await world.database.read(tree, f"{PROJECT}/ref/heads/main/head") == f"{A}\n".encode()
    assert await world.database.entry(tree, "ann/unasked") is None


@pytest.mark.parametrize("mark", [".dirty", "pr/1/.dirty", "ref/heads/main/.dirty"])
async def test_43_a_mark_forces_a_look_and_is_removed_by_it(world: World, mark: str) -> None:
    world.repository.set_ref("heads/main", A)
    world.repository.open_pull(FakePull(1, B, "One"))
    await world.sync()
    world.repository.set_ref("heads/main", C)
    world.repository.change_pull(1, title="Two")
    assert not await world.bridge.sync(PROJECT, NOTHING)  # nobody has asked
    await world.edit({mark: b""})
    assert await world.bridge.sync(PROJECT, NOTHING)
    files = await world.files()
    assert mark not in files
    assert (files["pr/1/title"] == b"Two\n") == (mark != "ref/heads/main/.dirty")
    assert (files["ref/heads/main/head"] == f"{C}\n".encode()) == (mark != "pr/1/.dirty")


async def test_44_a_pull_request_is_files_until_it_is_closed(world: World) -> None:
    world.repository.open_pull(FakePull(7, A, "Fix it", base="stable", owner="bob", fork=True))
    comment = world.repository.comment(7, "cid", "Looks good\nto me")
    await world.sync()
    assert await world.files() == {
        ".monitor": b"",
        "pr/7/head": f"{A}\n".encode(),
        "pr/7/state": b"open\n",
        "pr/7/title": b"Fix it\n",
        "pr/7/owner": b"bob\n",
        "pr/7/base": b"stable\n",
        "pr/7/fork": b"true\n",
        f"pr/7/comments/{comment}/id": f"{comment}\n".encode(),
        f"pr/7/comments/{comment}/user": b"cid\n",
        f"pr/7/comments/{comment}/body": b"Looks good\nto me",
    }
    world.repository.change_pull(7, state="closed")
    await world.sync()
    assert await world.files() == {".monitor": b""}


async def test_45_statuses_and_heads_are_files_and_optional_ones_go(world: World) -> None:
    world.repository.set_ref("heads/feature/x", A)
    world.repository.set_status(A, "lint/style", "failure", "2 errors")
    await world.sync()
    status = f"commit/{A}/status/lint/style"
    head = {".monitor": b"", "ref/heads/feature/x/head": f"{A}\n".encode()}
    assert await world.files() == {
        **head,
        f"{status}/state": b"failure\n",
        f"{status}/description": b"2 errors\n",
    }
    world.repository.set_status(A, "lint/style", "success")
    await world.sync()
    assert await world.files() == {**head, f"{status}/state": b"success\n"}


async def test_45_a_description_that_a_client_removes_goes_from_github(world: World) -> None:
    world.repository.set_ref("heads/main", A)
    await world.sync()
    await world.edit({f"{STATUS}/state": b"pending\n", f"{STATUS}/description": b"queued\n"})
    await world.sync()
    await world.edit({f"{STATUS}/state": b"success\n", f"{STATUS}/description": None})
    await world.sync()
    said = world.repository.statuses[A]["ci/datakit/test"]
    assert (said["state"], said["description"]) == ("success", "")
    assert f"{STATUS}/description" not in await world.files()


async def test_46_a_snapshot_is_the_one_before_and_what_has_changed(world: World) -> None:
    chaos = Chaos(world, 46)
    following = Records(world.database, BRANCH, PROJECT)
    for _ in range(30):
        chaos.on_github()
        await chaos.in_database()
        await world.sync()
        followed = await following.read()
        assert followed == await Records(world.database, BRANCH, PROJECT).at(followed.head)


async def test_46_unrelated_files_make_no_difference(world: World) -> None:
    world.repository.set_ref("heads/main", A)
    await world.sync()
    records = Records(world.database, BRANCH, PROJECT)
    before = await records.read()
    await world.edit(
        {"README": b"not ours", "pr/x/title": b"no number", "commit/abc/status/a/state": b"no id"}
    )
    async with world.database.transaction(BRANCH) as transaction:
        await transaction.write("bob/app/.monitor", b"")
        await transaction.commit("another repository")
    after = await records.read()
    assert after.head != before.head
    assert edits(before.snapshot, after.snapshot) == {}
    assert not await world.sync()


async def test_47_what_is_in_step_is_not_told_again(world: World) -> None:
    world.repository.set_ref("heads/main", A)
    world.repository.open_pull(FakePull(1, B, "One"))
    await world.sync()
    await world.edit({f"{STATUS}/state": b"success\n", "pr/1/title": b"Two\n"})
    for _ in range(3):
        await world.sync()
    told = [("PATCH", f"/repos/{PROJECT}/pulls/1"), ("POST", f"/repos/{PROJECT}/statuses/{A}")]
    assert sorted(_changes(world)) == told
    assert world.repository.pulls[1].title == "Two"
    assert world.repository.statuses[A]["ci/datakit/test"]["state"] == "success"
    world.hub.requests.clear()
    assert not await world.bridge.sync(PROJECT, NOTHING)
    assert world.hub.requests == []  # not even asked
    assert not await world.restart().sync(PROJECT)
    assert not _changes(world)


async def test_47_a_restart_reads_again_what_changed_on_both_sides_meanwhile(world: World) -> None:
    world.repository.set_ref("heads/main", A)
    world.repository.open_pull(FakePull(1, B, "One"))
    await world.sync()
    world.repository.set_ref("heads/main", B)
    world.repository.set_ref("heads/new", A)
    await world.edit({"pr/1/title": b"Two\n", f"{STATUS}/state": b"error\n"})
    await world.restart().sync(PROJECT)
    files = await world.files()
    assert files["ref/heads/main/head"] == f"{B}\n".encode()
    assert files["ref/heads/new/head"] == f"{A}\n".encode()
    assert world.repository.pulls[1].title == "Two"
    assert world.repository.statuses[A]["ci/datakit/test"]["state"] == "error"


@pytest.mark.parametrize(
    ("capabilities", "told"),
    [
        ("*:rw", {"ours", "theirs", "title"}),
        ("*:r", set()),
        ("*:r,status:rw", {"ours", "theirs"}),
        ("*:r,status[ci/datakit]:x", {"ours"}),
        ("*:rw,status[ci/datakit]:x", {"ours", "title"}),
    ],
)
async def test_47_capabilities_limit_what_is_pushed(
    world: World, capabilities: str, told: set[str]
) -> None:
    world.repository.set_ref("heads/main", A)
    world.repository.open_pull(FakePull(1, B, "One"))
    world.restart(capabilities)
    await world.sync()
    await world.edit(
        {
            f"{STATUS}/state": b"success\n",
            f"commit/{A}/status/other/state": b"success\n",
            "pr/1/title": b"Two\n",
        }
    )
    await world.sync()
    contexts = world.repository.statuses.get(A, {})
    happened = {
        "ours": "ci/datakit/test" in contexts,
        "theirs": "other" in contexts,
        "title": world.repository.pulls[1].title == "Two",
    }
    assert {name for name, is_so in happened.items() if is_so} == told


async def test_47_many_writes_at_once_in_one_transaction_are_all_pushed(world: World) -> None:
    world.repository.set_ref("heads/main", A)
    await world.sync()
    contexts = {f"ci/datakit/job{number}" for number in range(60)}
    async with world.database.transaction(BRANCH) as transaction:
        async with asyncio.TaskGroup() as tasks:
            for context in contexts:
                path = f"{PROJECT}/commit/{A}/status/{context}/state"
                tasks.create_task(transaction.write(path, b"success\n"))
        await transaction.commit("all jobs at once")
    await world.sync()
    assert set(world.repository.statuses[A]) == contexts
    assert len(_changes(world)) == len(contexts)
    assert not await world.sync()


async def test_47_thirty_rounds_of_edits_on_both_sides_converge(world: World) -> None:
    chaos = Chaos(world, 47)
    for _ in range(30):
        chaos.on_github()
        await chaos.in_database()
        await world.sync()
    for _ in range(2):
        await world.sync()
    assert not await world.sync()
    assert await world.snapshot() == pruned(await world.client.look(PROJECT, WHOLE))


async def test_48_nothing_new_makes_no_commit_on_any_branch(world: World) -> None:
    world.repository.set_ref("heads/main", A)
    world.repository.open_pull(FakePull(1, B, "One"))
    world.repository.comment(1, "cid", "a word")
    await world.sync()
    await world.edit({f"{STATUS}/state": b"success\n"})
    await world.sync()
    before = await world.database.branches()
    assert not await world.sync()
    assert not await world.restart().sync(PROJECT)
    assert await world.database.branches() == before
