"""The scenarios of the original's bridge, one test for each, in its words and numbers.

43 to 48 of the list of scenarios; other tests of this directory go further into each.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from datakit_ci.bridges.github.records import Records
from datakit_ci.bridges.github.resources import parse
from datakit_ci.bridges.github.scope import NOTHING, WHOLE
from datakit_ci.metadata import BRANCH
from datakit_core.client.api import CommitId
from tests.support.fake_github import FakePull
from tests.support.github_chaos import Chaos
from tests.support.github_world import PROJECT, World, commit_id, open_world

A, B, C = commit_id(1), commit_id(2), commit_id(3)
STATUS = f"commit/{A}/status/ci/datakit/test"


@pytest.fixture(params=["local", "remote"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path, request.param) as made:
        yield made


async def test_43_monitor_marks_a_repository_and_dirty_forces_a_resync(world: World) -> None:
    other = world.hub.repository("ann/other")
    other.set_ref("heads/main", A)
    world.repository.set_ref("heads/main", A)
    world.repository.open_pull(FakePull(1, B, "One"))
    await world.bridge.sync_all()
    head = await world.database.head(BRANCH)
    assert head is not None
    tree = (await world.database.commit(head)).tree
    assert await world.database.entry(tree, "ann/other") is None  # nobody has marked it
    for mark in (".dirty", "pr/1/.dirty", "ref/heads/main/.dirty"):
        await world.edit({mark: b""})
        before = len(world.hub.requests)
        assert await world.bridge.sync(PROJECT, NOTHING)
        assert len(world.hub.requests) > before
        assert mark not in await world.files()
    assert not await world.bridge.sync(PROJECT, NOTHING)


async def test_44_pull_requests_have_their_files_and_closed_ones_go(world: World) -> None:
    world.repository.open_pull(FakePull(7, A, "Fix it", owner="bob", base="dev"))
    comment = world.repository.comment(7, "cid", "two\nlines")
    await world.sync()
    said = f"pr/7/comments/{comment}"
    expected = {
        "pr/7/head": f"{A}\n", "pr/7/state": "open\n", "pr/7/title": "Fix it\n",
        "pr/7/owner": "bob\n", "pr/7/base": "dev\n", f"{said}/id": f"{comment}\n",
        f"{said}/user": "cid\n", f"{said}/body": "two\nlines",
    }  # fmt: skip
    files = await world.files()
    assert {path: files[path].decode() for path in expected} == expected
    world.repository.change_pull(7, state="closed")
    await world.sync()
    assert list(await world.files()) == [".monitor"]


async def test_45_statuses_and_refs_have_their_files_and_absent_ones_are_removed(
    world: World,
) -> None:
    world.repository.set_ref("heads/a/b", A)
    world.repository.set_status(A, "x/y", "pending", "waits")
    status = f"commit/{A}/status/x/y"
    await world.sync()
    files = await world.files()
    assert files["ref/heads/a/b/head"] == f"{A}\n".encode()
    assert files[f"{status}/description"] == b"waits\n"
    world.repository.statuses[A]["x/y"] = {
        "state": "success", "description": "", "target_url": "https://x.example.org/1",
    }  # fmt: skip
    await world.sync()
    files = await world.files()
    assert files[f"{status}/state"] == b"success\n"
    assert files[f"{status}/target_url"] == b"https://x.example.org/1\n"
    world.repository.statuses[A]["x/y"]["target_url"] = ""
    await world.sync()
    assert f"{status}/target_url" not in await world.files()


async def test_46_a_snapshot_is_the_old_one_and_the_difference(world: World) -> None:
    """A reader that follows each commit knows what one that reads anew knows, at every commit."""
    chaos = Chaos(world, 46)
    follows = Records(world.database, BRANCH, PROJECT)
    for _ in range(8):
        chaos.on_github()
        await chaos.in_database()
        await world.sync()
        head = await world.database.head(BRANCH)
        assert await follows.at(head) == await Records(world.database, BRANCH, PROJECT).at(head)
    head = _some(await world.database.head(BRANCH))
    commits = [commit.id async for commit in world.database.history(head)]
    for commit in random.Random(46).sample(commits, 4):  # and from any to any other
        fresh = await Records(world.database, BRANCH, PROJECT).at(commit)
        assert await follows.at(commit) == fresh
    await world.edit({"notes/of/mine": b"unrelated", ".dirty.txt": b"too"})
    assert (await follows.read()).snapshot == parse(await world.files())
    assert not await world.bridge.sync(PROJECT, NOTHING)  # unrelated files are no difference


def _some(head: CommitId | None) -> CommitId:
    assert head is not None
    return head


async def test_47_pushed_once_whatever_happens_and_many_writes_are_one_transaction(
    world: World,
) -> None:
    names = [f"ci/datakit/job{number}" for number in range(20)]
    world.repository.set_ref("heads/main", A)
    world.repository.open_pull(FakePull(1, B, "One"))
    await world.sync()
    async with asyncio.TaskGroup() as tasks:  # many clients at the same time
        for name in names:
            tasks.create_task(world.edit({f"commit/{A}/status/{name}/state": b"pending\n"}))
        tasks.create_task(world.edit({"pr/1/title": b"Two\n"}))
    await world.sync()
    assert set(world.repository.statuses[A]) == set(names)
    assert world.repository.pulls[1].title == "Two"
    assert world.repository.status_posts == len(names)

    many = {f"commit/{A}/status/{name}/state": b"success\n" for name in names}
    await world.edit({**many})
    commits = await _count(world)
    for number in range(30):
        world.repository.set_ref(f"heads/b{number}", commit_id(100 + number))
    await world.sync()
    assert await _count(world) == commits + 1  # 30 branches and 20 pushes
    assert world.repository.status_posts == 2 * len(names)

    for _ in range(2):
        world.restart()  # rereads, and has nothing to say
        assert not await world.sync()
        assert not await world.sync()
    assert world.repository.status_posts == 2 * len(names)
    world.restart("*:r")
    await world.edit({f"{STATUS}/state": b"failure\n"})
    await world.sync()
    assert world.repository.status_posts == 2 * len(names)
    world.restart("*:r,status[ci/datakit/test]:x")
    await world.sync()
    assert world.repository.status_posts == 2 * len(names) + 1


async def _count(world: World) -> int:
    head = await world.database.head(BRANCH)
    return len([commit async for commit in world.database.history(_some(head))])


async def test_48_nothing_new_is_no_commit(world: World) -> None:
    world.repository.set_ref("heads/main", A)
    world.repository.open_pull(FakePull(1, B, "One", fork=True))
    world.repository.comment(1, "cid", "word")
    world.repository.set_status(B, "x", "success", "fine")
    await world.edit({f"{STATUS}/state": b"success\n"})
    await world.sync()
    heads = await world.database.branches()
    for _ in range(3):
        assert not await world.bridge.sync(PROJECT, WHOLE)
        assert not await world.bridge.sync(PROJECT, NOTHING)
        world.restart()
    assert await world.database.branches() == heads
