"""What somebody tries who wants in, or to stay in: each line of it is refused."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request
from multidict import CIMultiDict

from datakit_ci.accounts import AccountBook
from datakit_ci.acl import Rights, Rules, everyone, username
from datakit_ci.dashboard import channel, live
from datakit_ci.dashboard.app import Access, create_app
from datakit_ci.dashboard.keeper import KEEPER
from datakit_ci.dashboard.logins import Logins
from datakit_ci.dashboard.sessions import MemorySessions, Session, SessionsAway, SessionStore
from datakit_ci.dashboard.visitor import CSRF_FIELD
from datakit_ci.state import BuildState, Status, TargetState
from datakit_ci.target import Target
from tests.support.ci_scene import build_id
from tests.support.fake_engine import FakeEngine
from tests.support.visitors import TokenAccounts, cookie_name, csrf_of, sign_in
from tests.support.visitors import cheap_passwords as cheap_passwords  # a fixture

Client = TestClient[web.Request, web.Application]

PASSWORD = "correct horse battery"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SHUT = Target("me/shut", "heads", "main")
LIVE = build_id("me/shut", "unit")
RULES = Rules(
    Rights(read=everyone),
    {"me/open": Rights(read=everyone), "me/shut": Rights(read=username("github:ann"))},
)


@dataclass
class Services:
    """Services that share their sessions, and one engine."""

    engine: FakeEngine = field(default_factory=FakeEngine)
    rules: Rules = RULES
    accounts: TokenAccounts = field(default_factory=TokenAccounts)
    sessions: SessionStore = field(default_factory=lambda: MemorySessions(NOW.timestamp))

    def __post_init__(self) -> None:
        self.engine.add(TargetState(SHUT))
        self.engine.add_build(BuildState(LIVE, Status.RUNNING, started=NOW), b"first\n")

    @asynccontextmanager
    async def open(self, host: str = "", public_url: str = "") -> AsyncIterator[Client]:
        access = Access(
            lambda: self.rules,
            self.accounts,
            sessions=self.sessions,
            host=host,
            public_url=public_url,
        )
        app = create_app(self.engine, now=lambda: NOW, access=access)
        async with TestClient(TestServer(app)) as client:
            yield client


@pytest.fixture
def services() -> Services:
    return Services()


@pytest.fixture
async def client(services: Services) -> AsyncIterator[Client]:
    async with services.open() as client:
        yield client


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams that look often whether somebody is still welcome."""
    for module in (live, channel):
        monkeypatch.setattr(module, "HEARTBEAT", 0.02)


async def status(client: Client, path: str, **headers: str) -> int:
    async with client.get(path, headers=headers, allow_redirects=False) as response:
        return response.status


def cookie(client: Client) -> str:
    jar = client.session.cookie_jar
    return next(each.value for each in jar if each.key == cookie_name(client))


async def until(stream: aiohttp.ClientResponse, text: bytes) -> None:
    while text not in await stream.content.readline():
        assert not stream.content.at_eof()


async def test_who_logs_out_everywhere_is_out_in_every_browser_and_others_are_not(
    client: Client,
) -> None:
    held = {}
    for name in ("bob", "ann", "ann"):
        await sign_in(client, name)
        held[cookie(client)] = name
    form = {CSRF_FIELD: csrf_of(cookie(client))}
    async with client.post("/logout/everywhere", data=form, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (303, "/login")
        assert response.headers["Clear-Site-Data"] == '"cache"'
    client.session.cookie_jar.clear()
    for value, name in held.items():
        seen = await status(client, "/profile", Cookie=f"{cookie_name(client)}={value}")
        assert seen == (303 if name == "ann" else 200), name


STREAMS = ("/events", f"/build/{LIVE.path}/log/events")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("path", STREAMS)
async def test_a_stream_ends_for_who_logs_out_elsewhere(services: Services, path: str) -> None:
    services.rules = Rules(Rights(), {"me/shut": Rights(read=username("github:ann"))})
    async with services.open() as one, services.open() as other:
        await sign_in(one, "ann")
        async with one.get(path) as stream:
            await until(stream, b"event: ")
            headers = {"Cookie": f"{cookie_name(other)}={cookie(one)}"}
            form = {CSRF_FIELD: csrf_of(cookie(one))}
            async with other.post(
                "/logout", data=form, headers=headers, allow_redirects=False
            ) as response:
                assert response.status == 303
            await stream.content.read()  # to its end
        assert await status(one, path, Accept="text/event-stream") in (401, 404)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("path", STREAMS)
async def test_a_stream_ends_when_rights_are_withdrawn(services: Services, path: str) -> None:
    async with services.open() as client:
        await sign_in(client, "ann")
        async with client.get(path) as stream:
            await until(stream, b"event: ")
            services.rules = Rules()
            await services.engine.write_log(LIVE, b"hidden\n")
            assert b"hidden" not in await stream.content.read()


@pytest.mark.usefixtures("impatient")
async def test_a_stream_ends_when_nobody_knows_who_is_in(services: Services) -> None:
    class Away(MemorySessions):
        is_away = False

        async def load(self, key: str) -> Session | None:
            if self.is_away:
                raise SessionsAway
            return await super().load(key)

    services.sessions = store = Away(NOW.timestamp)
    async with services.open() as client:
        await sign_in(client, "ann")
        async with client.get("/events") as stream:
            await until(stream, b"event: ")
            store.is_away = True
            await stream.content.read()


async def test_a_role_that_is_taken_or_given_counts_with_the_next_request(
    client: Client, services: Services
) -> None:
    await sign_in(client, "ann")
    assert await status(client, "/me/shut") == 200
    services.rules = Rules(Rights(read=everyone), {"me/shut": Rights()})
    assert await status(client, "/me/shut") == 404
    services.rules = RULES
    assert await status(client, "/me/shut") == 200


async def test_a_session_that_ends_while_it_is_looked_at_stays_ended(services: Services) -> None:
    """Somebody logs out between the look-up and the note that the session is in use."""

    class Slow(MemorySessions):
        async def load(self, key: str) -> Session | None:
            found = await super().load(key)
            await self.remove(key)
            return found

    services.sessions = store = Slow(NOW.timestamp)
    async with services.open() as client:
        await sign_in(client, "ann")
        assert client.app is not None
        ((key, (session, _)),) = store._sessions.items()
        long_ago = Session(session.user, session.began, session.seen - 1_000)
        await store.save(key, long_ago, 3_600)
        await status(client, "/profile")
        assert await MemorySessions.load(store, key) is None


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:8080", 200),
        ("localhost:8080", 200),
        ("ci.localhost", 200),
        ("[::1]:8080", 200),
        ("ci.example.org", 200),
        ("CI.example.org:443", 200),
        ("evil.example", 421),
        ("evil.example:8080", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:80", 421),
        ("ci.example.org.evil.example", 421),
        ("192.0.2.1", 421),
    ],
)
async def test_a_page_whose_name_points_to_loopback_reads_nothing(
    services: Services, host: str, answer: int
) -> None:
    async with services.open("127.0.0.1", "https://ci.example.org") as client:
        for path in ("/login", "/api/v1/targets", "/no/such/page"):
            expected = 404 if answer == 200 and path.startswith("/no") else answer
            assert await status(client, path, Host=host) == expected, path
    async with services.open("0.0.0.0") as client:
        assert await status(client, "/login", Host=host) == 200


@pytest.mark.parametrize(
    ("told", "counted"),
    [
        (["192.0.2.7"], "192.0.2.7"),
        (["203.0.113.1, 192.0.2.7"], "192.0.2.7"),
        (["203.0.113.1", "192.0.2.7"], "192.0.2.7"),
        (["203.0.113.1,198.51.100.1", "203.0.113.9, 192.0.2.7"], "192.0.2.7"),
        (["192.0.2.7:50123"], "192.0.2.7"),
        (["[2001:db8::1]:50123"], "2001:db8::"),
        (["2001:db8::1"], "2001:db8::"),
        (["::ffff:192.0.2.7"], "192.0.2.7"),
        (["unknown"], "unknown"),
        ([""], "127.0.0.1"),
        ([], "127.0.0.1"),
    ],
)
def test_who_guesses_cannot_choose_where_they_come_from(told: list[str], counted: str) -> None:
    headers = CIMultiDict([("X-Forwarded-For", each) for each in told])
    request = make_mocked_request("POST", "/login", headers=headers).clone(remote="127.0.0.1")
    assert Logins(None, float, is_behind_proxy=True).address_of(request) == counted
    assert Logins(None, float).address_of(request) == "127.0.0.1"
    stranger = request.clone(remote="198.51.100.2")
    assert Logins(None, float, is_behind_proxy=True).address_of(stranger) == "198.51.100.2"


@pytest.mark.usefixtures("cheap_passwords")
async def test_nobody_is_locked_out_by_those_who_guess_from_everywhere(tmp_path: Path) -> None:
    book = AccountBook.open(tmp_path / "accounts", lambda: NOW)
    book.add("ann", PASSWORD)
    logins = Logins(book, lambda: 0.0)
    assert await logins.is_right("ann", PASSWORD, "192.0.2.1")
    for number in range(100):
        assert not await logins.is_right("ann", "guess", f"198.51.100.{number}")
    with pytest.raises(web.HTTPTooManyRequests):
        await logins.is_right("ann", PASSWORD, "203.0.113.1")
    assert await logins.is_right("ann", PASSWORD, "192.0.2.1")
    for _ in range(5):
        assert not await logins.is_right("ann", "guess", "192.0.2.1")
    with pytest.raises(web.HTTPTooManyRequests):  # five from one place are enough there, too
        await logins.is_right("ann", PASSWORD, "192.0.2.1")


@pytest.mark.parametrize("error", [ConnectionResetError, TimeoutError])
async def test_a_reader_who_goes_before_the_first_byte_is_no_fault(
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: type[Exception],
) -> None:
    async def start(_request: web.Request) -> live.Stream:
        raise error

    monkeypatch.setattr(live.Stream, "start", start)
    await sign_in(client, "ann")
    for path in STREAMS:
        assert await status(client, path) == 503
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []


async def test_a_cookie_of_a_session_is_worth_nothing_at_another_service(client: Client) -> None:
    await sign_in(client, "ann")
    assert client.app is not None
    async with Services().open() as other:
        name = cookie_name(other)
        assert await status(other, "/me/shut", Cookie=f"{name}={cookie(client)}") == 404
    assert len(client.app[KEEPER].ended) == 0
