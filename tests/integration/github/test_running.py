"""The bridge as it runs: it hears of changes on both sides, and survives what goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from datakit_ci.bridges.github.metrics import Meter
from datakit_ci.bridges.github.webhook import Hook, register, serve_webhooks
from datakit_ci.metadata import BRANCH
from datakit_core.client.api import Transaction
from datakit_core.client.local import LocalDatabase
from datakit_core.errors import Disconnected
from datakit_core.store import Store
from tests.support.databases import open_store
from tests.support.fake_github import FakeGitHub, FakePull, Fault, serve_github
from tests.support.git import commit_file, git
from tests.support.github_world import PROJECT, World, commit_id, open_world

A, B, C = commit_id(1), commit_id(2), commit_id(3)
SECRET = "a secret of this test"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as made:
        yield made


@asynccontextmanager
async def running(world: World, *, webhook: bool = False, **options: Any) -> AsyncIterator[str]:
    """A bridge that works, and, if wanted, GitHub's events come; yields the hook's address."""
    async with AsyncExitStack() as stack:
        url = ""
        meter = Meter()
        if webhook:
            hook = Hook.at("http://127.0.0.1/hook", SECRET)
            notice = lambda project, scope: world.bridge.notice(project, scope)  # noqa: E731
            host, port = await stack.enter_async_context(
                serve_webhooks(hook, ("127.0.0.1", 0), notice, meter)
            )
            url = f"http://{host}:{port}/hook"

            async def greet(project: str) -> None:
                await register(world.client, Hook.at(url, SECRET), project, may_write=True)

            options["greet"] = greet
        world.restart(**options)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        task = tasks.create_task(world.bridge.run())
        try:
            yield url
        finally:
            task.cancel()


async def until(world: World, holds: Callable[[dict[str, bytes]], bool]) -> None:
    """Wait for the files to be so."""
    async for _ in world.database.watch_head(BRANCH):
        if holds(await world.files()):
            return


def has(path: str, content: str) -> Callable[[dict[str, bytes]], bool]:
    return lambda files: files.get(path, b"").decode() == f"{content}\n"


async def test_events_tell_where_to_look(world: World) -> None:
    world.repository.set_ref("heads/main", A)
    async with running(world, webhook=True):
        await until(world, has("ref/heads/main/head", A))
        world.repository.set_ref("heads/main", B)
        await until(world, has("ref/heads/main/head", B))
        world.repository.open_pull(FakePull(3, C, "New"))
        await until(world, has("pr/3/title", "New"))
        comment = world.repository.comment(3, "cid", "word")
        await until(world, lambda files: f"pr/3/comments/{comment}/body" in files)
        world.repository.set_status(C, "lint", "success")
        await until(world, has(f"commit/{C}/status/lint/state", "success"))
        world.repository.change_pull(3, state="closed")
        await until(world, lambda files: "pr/3/head" not in files)
        world.repository.remove_ref("heads/main")
        await until(world, lambda files: "ref/heads/main/head" not in files)


async def test_what_a_client_commits_is_pushed_without_a_look(world: World) -> None:
    world.repository.set_ref("heads/main", A)
    async with running(world):
        await until(world, has("ref/heads/main/head", A))
        world.hub.requests.clear()
        await world.edit({f"commit/{A}/status/ci/datakit/test/state": b"success\n"})
        await world.hub.until(lambda: A in world.repository.statuses)
        assert world.hub.requests == [("POST", f"/repos/{PROJECT}/statuses/{A}")]


async def test_a_lost_event_is_made_up_for(world: World) -> None:
    world.repository.set_ref("heads/main", A)
    async with running(world, webhook=True, resync=0.05):
        await until(world, has("ref/heads/main/head", A))
        world.hub.loses = lambda: True
        world.repository.set_ref("heads/main", B)
        await until(world, has("ref/heads/main/head", B))


async def test_idle_looks_cost_nothing_of_the_limit(world: World) -> None:
    world.repository.set_ref("heads/main", A)
    await world.sync()
    assert not await world.client.is_as_before(PROJECT)
    before = world.hub.remaining
    assert await world.client.is_as_before(PROJECT)
    assert world.hub.remaining == before
    world.repository.set_ref("heads/other", B)
    assert not await world.client.is_as_before(PROJECT)


async def test_limits_are_kept_to(world: World) -> None:
    world.repository.set_ref("heads/main", A)
    world.hub.faults.append(Fault(429, {"Retry-After": "17"}))
    await world.sync()
    assert world.paused == 17
    assert "ref/heads/main/head" in await world.files()


async def test_a_hook_is_registered_once_and_brought_in_line(world: World) -> None:
    async with running(world, webhook=True) as url:
        await world.hub.until(lambda: world.repository.hooks)
        hook = Hook.at(url, "another secret")
        await register(world.client, hook, PROJECT, may_write=True)
        [registered] = world.repository.hooks.values()
        assert registered["config"]["secret"] == "another secret"
        assert registered["config"]["insecure_ssl"] == "0"


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, b"{}", 401),
        ({"X-Hub-Signature-256": "sha256=00"}, b"{}", 401),
        ({"X-Hub-Signature-256": "sha1=00"}, b"{}", 401),
        ({"X-Hub-Signature-256": "sha256=\xe9"}, b"{}", 401),
        ({}, b"not JSON, which nobody may find out", 401),
    ],
)
async def test_unsigned_events_are_refused_unread(
    world: World, headers: dict[str, str], body: bytes, status: int
) -> None:
    async with running(world, webhook=True) as url, aiohttp.ClientSession() as session:
        async with session.post(url, data=body, headers=headers) as answer:
            assert answer.status == status
        async with session.get(url) as answer:
            assert answer.status == 405


class GoesAway(LocalDatabase):
    """A database whose server goes away, so many times, when somebody begins to write."""

    def __init__(self, store: Store, times: int) -> None:
        super().__init__(store)
        self.times = times

    @asynccontextmanager
    async def transaction(self, branch: str) -> AsyncIterator[Transaction]:
        async with super().transaction(branch) as transaction:
            if self.times:
                self.times -= 1
                raise Disconnected("the server went away")
            yield transaction


async def test_a_database_that_goes_away_while_it_is_written_to_is_written_to_again(
    tmp_path: Path,
) -> None:
    async with (
        open_store(tmp_path / "db.git") as store,
        aiohttp.ClientSession() as session,
        serve_github(FakeGitHub()) as hub,
    ):
        database = GoesAway(store, 0)
        world = World(hub, database, session)
        await world.edit({".monitor": b""})
        world.repository.set_ref("heads/main", A)
        database.times = 1
        async with running(world):
            await until(world, has("ref/heads/main/head", A))
    assert database.times == 0


async def test_a_commit_that_could_not_be_had_is_fetched_soon(tmp_path: Path, world: World) -> None:
    head = commit_file(tmp_path / "work", "a", b"1")
    world.repository.set_ref("heads/main", head)
    world.clone = f"file://{tmp_path / 'hub'}"
    async with running(world, fetch=True):
        await world.hub.until(lambda: len(world.hub.requests) >= 4)  # it looks for another time
        bare = tmp_path / "hub" / f"{PROJECT}.git"
        bare.parent.mkdir(parents=True)
        git(tmp_path, "clone", "-q", "--bare", "work", bare)
        await until(world, has("ref/heads/main/head", head))


async def test_commits_are_fetched_before_heads_name_them(tmp_path: Path, world: World) -> None:
    head = commit_file(tmp_path / "work", "a", b"1")
    bare = tmp_path / "hub" / f"{PROJECT}.git"
    bare.parent.mkdir(parents=True)
    git(tmp_path, "clone", "-q", "--bare", "work", bare)
    world.repository.set_ref("heads/main", head)
    world.repository.set_ref("heads/gone", C)
    world.clone = f"file://{tmp_path / 'hub'}"
    world.restart(fetch=True)
    await world.sync()
    files = await world.files()
    assert files["ref/heads/main/head"] == f"{head}\n".encode()
    assert "ref/heads/gone/head" not in files  # its commit could not be had
    assert git(tmp_path / "db.git", "cat-file", "-t", head) == "commit"
