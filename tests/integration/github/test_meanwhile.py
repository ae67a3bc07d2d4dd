"""What happens on either side while the bridge is at work is not lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from datakit_ci.bridges.github.bridge import GitHubBridge
from datakit_ci.bridges.github.hub import Hub, Refused, Unavailable
from datakit_ci.bridges.github.reconcile import Push, pruned
from datakit_ci.bridges.github.resources import Key, Snapshot, Value
from datakit_ci.bridges.github.scope import NOTHING, WHOLE, Scope
from tests.support.fake_github import FakePull, Fault
from tests.support.github_chaos import Chaos
from tests.support.github_world import PROJECT, World, commit_id, open_world

A, B = commit_id(1), commit_id(2)
STATUS = f"commit/{A}/status/ci/datakit/test"


class AfterLooks:
    """GitHub, where something happens after each look, before the bridge has written it down."""

    def __init__(self, hub: Hub, then: Callable[[], Awaitable[None]]) -> None:
        self._hub = hub
        self._then = then

    async def look(self, project: str, scope: Scope) -> Snapshot:
        found = await self._hub.look(project, scope)
        await self._then()
        return found

    async def push(self, project: str, push: Push) -> tuple[Key, Value]:
        return await self._hub.push(project, push)

    async def is_as_before(self, project: str) -> bool:
        return await self._hub.is_as_before(project)

    def monitored_as(self, name: str) -> str:
        return self._hub.monitored_as(name)

    async def clone_url(self, project: str) -> str:
        return await self._hub.clone_url(project)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as made:
        yield made


def _bridge(world: World, then: Callable[[], Awaitable[None]]) -> GitHubBridge:
    return GitHubBridge(world.database, AfterLooks(world.client, then), fetch=False)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("ref/heads/main/.dirty", ".dirty", b""),
        (".dirty", ".dirty", b"second"),
        (".dirty", ".dirty", b""),
    ],
    ids=["another mark", "the same mark with another content", "the same mark as it was"],
)
async def test_a_mark_that_is_set_while_it_looks_asks_for_another_look(
    world: World, first: str, second: str, said: bytes
) -> None:
    world.repository.set_ref("heads/main", A)
    await world.sync()
    await world.edit({first: b""})

    async def then() -> None:
        world.repository.open_pull(FakePull(1, B, "Too late for this look"))
        await world.edit({second: said})

    await _bridge(world, then).sync(PROJECT, NOTHING)
    files = await world.files()
    assert files[second] == said
    assert "pr/1/title" not in files
    await world.bridge.sync(PROJECT, NOTHING)
    files = await world.files()
    assert files["pr/1/title"] == b"Too late for this look\n"
    assert not [path for path in files if path.endswith(".dirty")]


async def test_a_mark_whose_look_failed_or_was_interrupted_is_still_heeded(world: World) -> None:
    world.repository.set_ref("heads/main", A)
    await world.sync()
    await world.edit({".dirty": b""})

    async def then() -> None:
        raise Unavailable("the bridge dies, say")

    with pytest.raises(Unavailable):
        await _bridge(world, then).sync(PROJECT, NOTHING)
    assert ".dirty" in await world.files()
    world.repository.set_ref("heads/main", B)
    await world.restart().sync(PROJECT, NOTHING)
    files = await world.files()
    assert ".dirty" not in files
    assert files["ref/heads/main/head"] == f"{B}\n".encode()


async def test_what_a_client_says_while_it_looks_is_pushed_once_and_kept(world: World) -> None:
    world.repository.set_ref("heads/main", A)
    await world.sync()
    said = iter([b"pending\n", b"success\n"])

    async def then() -> None:
        if (state := next(said, None)) is not None:
            await world.edit({f"{STATUS}/state": state})

    bridge = _bridge(world, then)
    for _ in range(4):
        await bridge.sync(PROJECT)
    assert (await world.files())[f"{STATUS}/state"] == b"success\n"
    assert world.repository.statuses[A]["ci/datakit/test"]["state"] == "success"
    assert world.repository.status_posts == 2
    assert not await bridge.sync(PROJECT)


async def test_a_limit_that_is_used_up_for_too_long_is_said_and_nothing_is_lost(
    world: World,
) -> None:
    world.repository.set_ref("heads/main", A)
    world.hub.remaining = 0  # resets in an hour, says GitHub: longer than a request waits
    with pytest.raises(Unavailable, match="used up"):
        await world.sync()
    assert world.paused == 0
    world.hub.remaining = 5000
    world.restart()
    await world.sync()
    assert "ref/heads/main/head" in await world.files()


async def test_a_secondary_limit_is_waited_for_longer_each_time(world: World) -> None:
    world.repository.set_ref("heads/main", A)
    limit = Fault(403, {}, "You have exceeded a secondary rate limit")
    world.hub.faults.extend([limit, limit])
    await world.sync()
    assert world.paused == 60 + 120
    assert "ref/heads/main/head" in await world.files()


async def test_a_repository_that_github_does_not_have_yet_is_had_once_it_is_there(
    world: World,
) -> None:
    held = world.hub.repositories.pop(PROJECT)
    before = await world.database.branches()
    with pytest.raises(Refused, match="GitHub has no ann/app"):
        await world.sync()
    assert await world.database.branches() == before
    world.hub.repositories[PROJECT] = held
    held.set_ref("heads/main", A)
    await world.sync()
    assert "ref/heads/main/head" in await world.files()


async def test_a_repository_that_is_deleted_keeps_what_is_known_of_it(world: World) -> None:
    world.repository.set_ref("heads/main", A)
    await world.sync()
    before = await world.files()
    del world.hub.repositories[PROJECT]
    with pytest.raises(Refused, match="GitHub has no ann/app"):
        await world.sync()
    assert await world.files() == before


@pytest.mark.parametrize("is_app", [False, True])
async def test_a_repository_that_is_made_again_is_told_what_jobs_came_to(
    world: World, is_app: bool
) -> None:
    world.is_app = is_app
    world.restart()
    world.repository.set_ref("heads/main", A)
    world.repository.set_ref("heads/old", B)
    world.repository.set_status(A, "of/others", "success")
    await world.edit({f"{STATUS}/state": b"success\n"})
    await world.sync()
    world.hub.remove(PROJECT)
    world.restart()
    again = world.hub.repository(PROJECT)
    again.set_ref("heads/main", A)
    await world.sync()
    names = list(again.statuses.get(A, ())) + [run.name for run in again.runs.values()]
    assert names == ["ci/datakit/test"]
    files = await world.files()
    assert files[f"{STATUS}/state"] == b"success\n"
    assert "ref/heads/old/head" not in files
    assert f"commit/{A}/status/of/others/state" not in files
    assert not await world.sync()
    assert again.status_posts + len(again.run_requests) == 1


@pytest.mark.parametrize("is_app", [False, True])
async def test_a_repository_that_was_renamed_keeps_its_name_here(
    world: World, is_app: bool, caplog: pytest.LogCaptureFixture
) -> None:
    world.is_app = is_app
    world.restart()
    world.repository.set_ref("heads/main", A)
    await world.sync()
    world.hub.rename(PROJECT, "bob/tool")
    world.repository.open_pull(FakePull(1, B, "After it"))
    await world.edit({f"{STATUS}/state": b"success\n"})
    await world.sync()
    await world.edit({"pr/1/title": b"Mine\n"})
    await world.sync()
    files = await world.files()
    assert files["pr/1/title"] == b"Mine\n"
    assert world.repository.pulls[1].title == "Mine"
    names = [
        *world.repository.statuses.get(A, ()),
        *(r.name for r in world.repository.runs.values()),
    ]
    assert names == ["ci/datakit/test"]
    assert not await world.client.is_as_before(PROJECT)
    assert await world.client.is_as_before(PROJECT)
    said = [each.getMessage() for each in caplog.records if "is called" in each.message]
    assert said == [
        "ann/app is called bob/tool on GitHub now; it is still ann/app here, until somebody "
        "monitors it by its new name"
    ]
    assert world.bridge.notice("bob/tool", WHOLE)  # as its events say
    assert not world.bridge.notice("bob/other", WHOLE)


async def test_another_repository_of_the_old_name_is_another(world: World) -> None:
    world.repository.set_ref("heads/main", A)
    await world.sync()
    world.hub.rename(PROJECT, "bob/tool")
    await world.sync()
    world.hub.repository(PROJECT).set_ref("heads/trunk", B)
    await world.sync()
    assert [path for path in await world.files() if path.startswith("ref/")] == [
        "ref/heads/trunk/head"
    ]


def _asked(world: World, least: int) -> Callable[[], bool]:
    return lambda: len(world.hub.requests) >= least


@pytest.mark.parametrize("seed", range(2))
async def test_bridges_that_die_anywhere_while_clients_commit_converge(
    tmp_path: Path, seed: int
) -> None:
    async with open_world(tmp_path) as world:
        chaos = Chaos(world, seed)
        died = 0
        for _ in range(60):
            async with asyncio.TaskGroup() as tasks:
                enough = len(world.hub.requests) + chaos.random.randrange(4)  # a look takes three
                sync = tasks.create_task(world.bridge.sync(PROJECT, WHOLE))
                chaos.on_github()
                clients = tasks.create_task(chaos.in_database())
                await world.hub.until(_asked(world, enough))
                for _ in range(chaos.random.randrange(60)):
                    await asyncio.sleep(0)  # a step of the sync, not a time
                sync.cancel()
                await clients
            died += sync.cancelled()
            world.restart()
        assert died
        for _ in range(3):
            await world.sync()
        assert not await world.sync()
        assert await world.snapshot() == pruned(await world.client.look(PROJECT, WHOLE))
