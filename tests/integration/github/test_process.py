"""The bridge as a process: killed, started again, told of half of what happens, it converges.

Its shortest interval between two looks is a second, which is what these tests take.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from datakit_ci.bridges.github.reconcile import pruned
from datakit_ci.bridges.github.scope import WHOLE
from datakit_ci.metadata import BRANCH
from datakit_core.client.local import LocalDatabase
from tests.support.fake_github import FakeGitHub, FakePull, Fault, serve_github
from tests.support.github_chaos import Chaos
from tests.support.github_world import PROJECT, World, commit_id
from tests.support.served import serve

_COMMAND = "from datakit_ci.bridges.github.command import main; main()"
A, B, C = commit_id(1), commit_id(2), commit_id(3)


@dataclass(frozen=True)
class Bridge:
    """How to start the bridge's process, again and again, at the same address."""

    arguments: tuple[str, ...]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """A process that is killed in the end, if it has not ended by itself."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _COMMAND, *self.arguments
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


@asynccontextmanager
async def _scene(tmp_path: Path) -> AsyncIterator[tuple[World, Bridge]]:
    """GitHub and a served database; nothing between them yet."""
    async with (
        serve(tmp_path / "db.git") as served,
        aiohttp.ClientSession() as session,
        serve_github(FakeGitHub()) as hub,
    ):
        world = World(hub, LocalDatabase(served.store), session)
        yield world, _bridge(world, served.address, tmp_path)


def _bridge(world: World, database: str, tmp_path: Path) -> Bridge:
    for name, content in (("token", world.hub.token), ("secret", "a secret of this test")):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o600)
    place = _place()
    return Bridge(
        (
            "--datakit", database, "--no-fetch", "--repositories", PROJECT,
            "--token", str(tmp_path / "token"), "--api", world.hub.url,
            "--webhook", f"http://{place}/hook", "--webhook-listen", place,
            "--webhook-secret", str(tmp_path / "secret"), "--resync-interval", "1",
        )
    )  # fmt: skip


def _place() -> str:
    """A free port that stays free: on an address of loopback where nobody else listens."""
    with socket.create_server(("127.77.31.8", 0)) as probe:
        host, port = probe.getsockname()
    return f"{host}:{port}"


async def until(world: World, holds: Callable[[dict[str, bytes]], bool]) -> None:
    """Wait for the files of the repository to be so."""
    async for _ in world.database.watch_head(BRANCH):
        if holds(await world.files()):
            return


async def until_equal(world: World) -> None:
    """Wait for both sides to say the same; the bridge looks every second, if not sooner."""
    while await world.snapshot() != pruned(await world.client.look(PROJECT, WHOLE)):
        await until_asked(world, 1)


async def until_asked(world: World, more: int) -> None:
    """Wait until GitHub has been asked so many times more."""
    enough = len(world.hub.requests) + more
    await world.hub.until(lambda: len(world.hub.requests) >= enough)


async def until_idle(world: World, looks: int) -> None:
    """Wait for periodic looks at the lists; one begins when what was done before is done."""
    last = ("GET", f"/repos/{PROJECT}/issues/comments")
    enough = world.hub.requests.count(last) + looks
    await world.hub.until(lambda: world.hub.requests.count(last) >= enough)


async def test_events_that_never_come_are_made_up_for(tmp_path: Path) -> None:
    async with _scene(tmp_path) as (world, bridge):
        await _made_up_for(world, bridge)


async def _made_up_for(world: World, bridge: Bridge) -> None:
    world.repository.set_ref("heads/main", A)
    world.hub.loses = lambda: True
    async with bridge.running():
        await until(world, lambda files: "ref/heads/main/head" in files)
        world.repository.set_ref("heads/main", B)
        world.repository.open_pull(FakePull(3, C, "New"))
        world.repository.comment(3, "cid", "a word")
        await until_equal(world)
        world.repository.change_pull(3, state="closed")
        world.repository.remove_ref("heads/main")
        await until_equal(world)
    assert await world.files() == {".monitor": b""}


@pytest.mark.timeout(180)  # it starts four processes
async def test_a_bridge_that_is_killed_and_hears_half_of_it_converges(tmp_path: Path) -> None:
    async with _scene(tmp_path) as (world, bridge):
        await _converges(world, bridge)


async def _converges(world: World, bridge: Bridge) -> None:
    chaos = Chaos(world, 0)
    world.hub.loses = lambda: chaos.random.random() < 0.5
    for _ in range(2):
        async with bridge.running():  # and killed in the middle of whatever it does then
            for _ in range(4):
                for _ in range(chaos.random.randrange(1, 4)):
                    chaos.on_github()
                await chaos.in_database()
                if chaos.random.random() < 0.2:
                    world.hub.faults.append(Fault(502, lost=True))
                await until_asked(world, chaos.random.randrange(4))
        chaos.on_github()
        await chaos.in_database()
    world.hub.faults.clear()
    world.hub.loses = lambda: False
    async with bridge.running() as process:
        await world.edit({".dirty": b""})  # statuses of others are in no list: have it look
        await until(world, lambda files: ".dirty" not in files)
        await until_equal(world)
        await until_idle(world, 2)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    await _nothing_is_left_to_do(world, bridge)


async def _nothing_is_left_to_do(world: World, bridge: Bridge) -> None:
    """A new process looks at all of it, and then now and then, and changes nothing on any side."""
    before = await world.database.branches()
    world.hub.requests.clear()
    async with bridge.running():
        await until_idle(world, 1)
    asked = [each for each in world.hub.requests if each[0] != "GET" and each[1] != "/graphql"]
    assert [path for _, path in asked if "/hooks" not in path] == []
    assert await world.database.branches() == before
