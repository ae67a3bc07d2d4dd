"""Sessions in a real Redis: they are there after a restart, end by themselves, and may be away."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from datakit_ci.acl import Rights, Rules, username
from datakit_ci.dashboard.app import Access, create_app
from datakit_ci.dashboard.redis_sessions import RedisSessions, open_redis
from datakit_ci.dashboard.sessions import MOST_EACH, Session, SessionsAway
from datakit_ci.state import TargetState
from datakit_ci.target import Target
from datakit_core.errors import ConfigError
from tests.support.fake_engine import FakeEngine
from tests.support.visitors import sign_in

pytestmark = pytest.mark.foreign

ANN = Session("github:ann", 1.5, 2.5, "", frozenset({"github:acme"}), frozenset({"acme/x"}))


@asynccontextmanager
async def redis_server(directory: Path) -> AsyncIterator[str]:
    """Redis on a socket of its own; its URL."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is missing; install Debian's package of that name")
    path = directory / "redis.socket"
    process = await asyncio.create_subprocess_exec(
        "redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--dir",
        str(directory), "--daemonize", "no", stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        while b"eady to accept connections" not in (line := await process.stdout.readline()):
            assert line, "redis-server has ended"
        yield f"unix://{path}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    async with redis_server(tmp_path) as url:
        yield url


@pytest.fixture
async def sessions(url: str) -> AsyncIterator[RedisSessions]:
    async with open_redis(url) as sessions:
        yield sessions


async def test_what_was_kept_is_there_for_other_services(sessions: RedisSessions, url: str) -> None:
    await sessions.save("k", ANN, 100)
    async with open_redis(url) as others:
        assert await others.load("k") == ANN
        await others.remove("k")
    assert await sessions.load("k") is None


async def test_a_session_ends_by_itself(sessions: RedisSessions) -> None:
    await sessions.save("k", ANN, 0.001)
    while await sessions.load("k") is not None:  # noqa: ASYNC110 - Redis tells nobody
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("data", ["", "{", "[]", "{}", '{"user": "x", "groups": 1}', "null"])
async def test_what_cannot_be_read_is_nobody(sessions: RedisSessions, data: str) -> None:
    await sessions._redis.set("datakit:session:k", data)
    assert await sessions.load("k") is None


async def test_a_session_that_has_ended_is_not_kept_by_a_late_note_that_it_is_in_use(
    sessions: RedisSessions,
) -> None:
    await sessions.save("a", ANN, 100)
    await sessions.touch("a", ANN, 200)
    assert await sessions.load("a") == ANN
    await sessions.remove("a")
    await sessions.touch("a", ANN, 200)
    assert await sessions.load("a") is None


async def test_all_sessions_of_a_user_end_and_no_other_s(sessions: RedisSessions) -> None:
    bob = Session("github:bob", 1.5, 2.5)
    for key, session in (("a", ANN), ("b", bob), ("c", ANN)):
        await sessions.save(key, session, 100)
    assert sorted(await sessions.remove_all(ANN.user)) == ["a", "c"]
    assert [await sessions.load(key) for key in "abc"] == [None, bob, None]
    assert await sessions.remove_all(ANN.user) == []


async def test_who_logs_in_without_end_logs_out_only_themselves(sessions: RedisSessions) -> None:
    await sessions.save("other", Session("github:bob", 1.5, 2.5), 100)
    for number in range(MOST_EACH + 2):
        await sessions.save(f"k{number}", Session("github:ann", number, number), 100)
    assert await sessions.load("k1") is None
    assert await sessions.load("k2") is not None
    assert await sessions.load("other") is not None
    assert len(await sessions.remove_all("github:ann")) == MOST_EACH


async def test_a_redis_that_is_away_is_told_and_lets_nobody_in(tmp_path: Path) -> None:
    project = "me/shut"
    rules = Rules(projects={project: Rights(read=username("github:ann"))})
    engine = FakeEngine()
    engine.add(TargetState(Target(project, "heads", "main")))
    async with redis_server(tmp_path) as url, open_redis(url) as sessions:
        app = create_app(engine, access=Access(lambda: rules, sessions=sessions))
        async with TestClient(TestServer(app)) as client:
            await sign_in(client, "ann")
            assert (await client.get(f"/{project}")).status == 200
            stopped = await asyncio.create_subprocess_exec(
                "redis-cli", "-s", url.removeprefix("unix://"), "shutdown", "nosave"
            )
            await stopped.wait()
            async with client.get(f"/{project}") as response:
                assert response.status == 503
                assert "who you are" in await response.text()
            with pytest.raises(SessionsAway):
                await sessions.save("k", ANN, 100)


@pytest.mark.parametrize("url", ["unix:///no/such/socket", "redis://127.0.0.1:1/0", "nonsense://x"])
async def test_a_redis_that_is_not_there_is_named_at_the_start(url: str) -> None:
    with pytest.raises(ConfigError, match="--sessions-backend"):
        async with open_redis(url):
            pass
