"""Setting up, logging in and out, and one's own page, over HTTP."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request

from datakit_ci.accounts import AccountBook
from datakit_ci.acl import Rights, Role, Rules, everyone, username
from datakit_ci.dashboard import gate
from datakit_ci.dashboard.app import Access, create_app
from datakit_ci.dashboard.keeper import KEEPER
from datakit_ci.dashboard.logins import LOGINS
from datakit_ci.state import TargetState
from datakit_ci.target import Target
from tests.support.fake_engine import FakeEngine
from tests.support.html import Page, read_page
from tests.support.visitors import cheap_passwords as cheap_passwords  # a fixture
from tests.support.visitors import cookie_name, sign_in

pytestmark = pytest.mark.usefixtures("cheap_passwords")

Client = TestClient[web.Request, web.Application]

PASSWORD = "correct horse battery"
RULES = Rules(
    Rights(read=everyone),
    {
        "me/open": Rights(read=everyone),
        "me/shut": Rights(read=username("bob"), build=username("bob")),
    },
)


class Time:
    now_ = datetime(2026, 11, 22, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.now_


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def book(tmp_path: Path, time: Time) -> AccountBook:
    return AccountBook.open(tmp_path / "accounts", time.now)


@pytest.fixture
async def client(book: AccountBook, time: Time) -> AsyncIterator[Client]:
    engine = FakeEngine()
    engine.add(*(TargetState(Target(p, "heads", "main")) for p in RULES.projects))
    access = Access(lambda: RULES, book=book, setup="the-link")
    async with TestClient(TestServer(create_app(engine, now=time.now, access=access))) as client:
        yield client


async def see(client: Client, path: str, status: int = 200) -> Page:
    async with client.get(path) as response:
        assert response.status == status, await response.text()
        page = read_page(await response.text())
    assert page.broken == []
    assert page.scripted == []
    assert sorted(page.ids) == sorted(set(page.ids))
    return page


async def send(
    client: Client, page: str, action: str, status: int = 303, /, **fields: str
) -> tuple[str, Mapping[str, str]]:
    """Fill in the form on a page; the answer's text and headers."""
    async with client.get(page) as response:
        found = re.search(r'name="csrf" value="(\w+)"', await response.text())
    assert found is not None
    async with client.post(
        action, data={"csrf": found[1], **fields}, allow_redirects=False
    ) as response:
        text = await response.text()
        assert response.status == status, text
        return text, response.headers


async def log_in(client: Client, name: str, password: str = PASSWORD, status: int = 303) -> str:
    return (await send(client, "/login", "/login", status, name=name, password=password))[0]


def cookie(client: Client) -> str:
    name = cookie_name(client)
    found = [each.value for each in client.session.cookie_jar if each.key == name]
    return found[0] if found else ""


async def test_the_first_administrator_comes_by_the_link_and_only_once(
    client: Client, book: AccountBook
) -> None:
    page = "/setup?token=the-link"
    assert "Open the link" in (await see(client, "/login")).words
    form = {"token": "the-link", "name": "ann", "password": PASSWORD}
    text, _ = await send(client, page, "/setup", 422, **form, again="other")
    assert "passwords differ" in text
    text, _ = await send(client, page, "/setup", 422, **form | {"name": "a/b"}, again=PASSWORD)
    assert "no name for an account" in text
    await send(client, page, "/setup", **form, again=PASSWORD)
    assert book.is_admin("ann")
    assert "administrator" in (await see(client, "/profile")).words
    for token in ("the-link", "", "x"):
        await see(client, f"/setup?token={token}", 404)


async def test_services_on_other_ports_of_a_host_do_not_share_a_cookie(
    client: Client, book: AccountBook
) -> None:
    book.add("bob", PASSWORD)
    await log_in(client, "bob")
    name = cookie_name(client)
    assert name == f"datakit-{client.make_url('/').port}"
    assert client.app is not None
    keeper = client.app[KEEPER]
    others = [
        keeper.cookie_name(host) for host in ("127.0.0.1:1", "ci.example.org", "[::1]", "a:x")
    ]
    assert others == ["datakit-1", "datakit", "datakit", "datakit"]
    headers = {"Cookie": f"datakit-1={cookie(client)}; {name}={cookie(client)}"}
    client.session.cookie_jar.clear()
    async with client.get("/me/shut", headers=headers) as response:
        assert response.status == 200
    async with client.get("/me/shut", headers={"Cookie": headers["Cookie"][:50]}) as response:
        assert response.status == 404


async def test_a_link_that_is_wrong_is_not_there(client: Client) -> None:
    for token in ("", "x", "the-link2", "\u00e4"):
        await see(client, f"/setup?token={token}", 404)
    form = {"token": "x", "name": "eve", "password": PASSWORD, "again": PASSWORD}
    await send(client, "/setup?token=the-link", "/setup", 404, **form)


async def test_who_logs_in_gets_a_new_cookie_and_comes_back(
    client: Client, book: AccountBook
) -> None:
    book.add("bob", PASSWORD)
    await see(client, "/me/shut", 404)
    await see(client, "/login")
    before = cookie(client)
    form = {"name": "bob", "password": PASSWORD, "next": "/me/shut?x=1"}
    _, headers = await send(client, "/login", "/login", **form)
    assert headers["Location"] == "/me/shut?x=1"
    assert cookie(client) not in ("", before)
    set_cookie = headers["Set-Cookie"]
    assert "HttpOnly" in set_cookie
    assert "SameSite=Lax" in set_cookie
    assert "Path=/" in set_cookie
    await see(client, "/me/shut")
    async with client.get("/login?next=/me/shut", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (303, "/me/shut")
    headers_before = {"Cookie": f"{cookie_name(client)}={before}"}
    client.session.cookie_jar.clear()
    async with client.get("/me/shut", headers=headers_before) as response:
        assert response.status == 404


async def test_nobody_is_sent_elsewhere(client: Client, book: AccountBook) -> None:
    book.add("bob", PASSWORD)
    form = {"name": "bob", "password": PASSWORD, "next": "//evil.example/"}
    _, headers = await send(client, "/login", "/login", **form)
    assert headers["Location"] == "/"


async def test_a_wrong_password_and_an_unknown_name_are_told_alike(
    client: Client, book: AccountBook
) -> None:
    book.add("bob", PASSWORD)
    texts = []
    for name, password in (("bob", "wrong"), ("bob", ""), ("eve", PASSWORD), ("bob", "x" * 1500)):
        text = await log_in(client, name, password, 403)
        texts.append(text.replace(f'value="{name}"', 'value="NAME"'))
    assert len(set(texts)) == 1
    assert "not the name and password" in texts[0]
    await see(client, "/me/shut", 404)


async def test_a_form_of_login_needs_what_its_page_carried(
    client: Client, book: AccountBook
) -> None:
    book.add("bob", PASSWORD)
    for data in ({"name": "bob", "password": PASSWORD}, {"csrf": "0" * 64}):
        async with client.post("/login", data=data, allow_redirects=False) as response:
            assert response.status == 403
    await see(client, "/me/shut", 404)


async def test_who_guesses_has_to_wait_and_others_do_not(client: Client, book: AccountBook) -> None:
    book.add("bob", PASSWORD)
    book.add("ann", PASSWORD)
    for _ in range(5):
        await log_in(client, "bob", "guess", 403)
    text = await log_in(client, "bob", PASSWORD, 429)
    assert "Too many attempts" in text
    _, headers = await send(client, "/login", "/login", 429, name="bob", password=PASSWORD)
    assert 0 < int(headers["Retry-After"]) <= 60
    await log_in(client, "ann")


async def test_who_guesses_names_has_to_wait_as_well(client: Client) -> None:
    assert client.app is not None
    logins = client.app[LOGINS]
    statuses = set()
    for number in range(40):
        try:
            statuses.add(await logins.is_right(f"user{number}", "x", "192.0.2.1"))
        except web.HTTPTooManyRequests:
            break
    else:
        raise AssertionError("nobody had to wait")
    assert statuses == {False}
    assert not await logins.is_right("user0", "x", "192.0.2.2")


async def test_logging_out_ends_the_session_and_needs_a_form(
    client: Client, book: AccountBook
) -> None:
    book.add("bob", PASSWORD)
    await log_in(client, "bob")
    held = {"Cookie": f"{cookie_name(client)}={cookie(client)}"}
    async with client.post("/logout", allow_redirects=False) as response:
        assert response.status == 403
    await see(client, "/me/shut")
    await send(client, "/profile", "/logout")
    assert cookie(client) == ""
    async with client.get("/me/shut", headers=held) as response:
        assert response.status == 404


async def test_a_removed_account_and_a_changed_password_end_sessions(
    client: Client, book: AccountBook
) -> None:
    book.add("bob", PASSWORD)
    await log_in(client, "bob")
    book.set_password("bob", "another long password")
    await see(client, "/me/shut", 404)
    await log_in(client, "bob", "another long password")
    await see(client, "/me/shut")
    book.remove("bob")
    await see(client, "/me/shut", 404)


async def test_a_session_ends_after_a_day_of_nothing_and_after_a_week(
    client: Client, book: AccountBook, time: Time
) -> None:
    book.add("bob", PASSWORD)
    await log_in(client, "bob")
    for _ in range(8):
        time.now_ += timedelta(hours=20)
        await see(client, "/me/shut")
    time.now_ += timedelta(hours=10)
    await see(client, "/me/shut", 404)
    await log_in(client, "bob")
    time.now_ += timedelta(hours=25)
    await see(client, "/me/shut", 404)


async def test_one_changes_ones_password_and_stays(client: Client, book: AccountBook) -> None:
    book.add("bob", PASSWORD)
    await log_in(client, "bob")
    new = "another long password"
    for fields, text in (
        ({"old": PASSWORD, "password": new, "again": "x"}, "passwords differ"),
        ({"old": "wrong", "password": new, "again": new}, "not your present password"),
        ({"old": PASSWORD, "password": "short", "again": "short"}, "10 to 256 characters"),
    ):
        said, _ = await send(client, "/profile", "/profile/password", 422, **fields)
        assert text in said
    await send(client, "/profile", "/profile/password", old=PASSWORD, password=new, again=new)
    await see(client, "/profile")
    client.session.cookie_jar.clear()
    await log_in(client, "bob", PASSWORD, 403)
    await log_in(client, "bob", new)


TOKEN = {"name": "nightly", "role": "read", "days": "7", "project": ""}


async def test_a_token_is_shown_once_works_and_is_revoked(
    client: Client, book: AccountBook
) -> None:
    book.add("bob", PASSWORD)
    await log_in(client, "bob")
    text, _ = await send(client, "/profile", "/profile/tokens", 200, **TOKEN)
    found = re.search(r"dkt_[\w-]{43}", text)
    assert found is not None
    page = await see(client, "/profile")
    assert "nightly" in page.words
    assert found[0] not in page.text
    program = {"Authorization": f"Bearer {found[0]}", "Cookie": ""}
    client.session.cookie_jar.clear()
    async with client.get("/me/shut", headers=program) as response:
        assert response.status == 200
    for path in ("/profile", "/profile/tokens"):  # a token makes no tokens
        method = "GET" if path == "/profile" else "POST"
        async with client.request(method, path, headers=program) as response:
            assert response.status == 401
    await log_in(client, "bob")
    (token,) = book.tokens_of("bob")
    await send(client, "/profile", "/profile/tokens/revoke", id=token.id)
    client.session.cookie_jar.clear()
    async with client.get("/me/open", headers=program) as response:
        assert response.status == 401


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "x" * 61},
        {"name": "a\nb"},
        {"role": "none"},
        {"role": "x"},
        {"days": "9999"},
        {"days": ""},
        {"project": "me/none"},
    ],
)
async def test_a_token_that_makes_no_sense_is_refused(
    client: Client, book: AccountBook, change: dict[str, str]
) -> None:
    book.add("bob", PASSWORD)
    await log_in(client, "bob")
    await send(client, "/profile", "/profile/tokens", 422, **TOKEN | change)
    assert book.tokens_of("bob") == []


async def test_strangers_log_in_before_they_see_their_profile(client: Client) -> None:
    async with client.get("/profile", allow_redirects=False) as response:
        assert response.status == 303
        assert response.headers["Location"] == "/login?next=/profile"


async def test_who_has_an_account_elsewhere_has_no_password_here(client: Client) -> None:
    csrf = await sign_in(client, "octo")
    page = await see(client, "/profile")
    assert "github" in page.words
    assert "password" not in page.ids
    form = {"csrf": csrf, "old": "x", "password": PASSWORD, "again": PASSWORD}
    async with client.post("/profile/password", data=form) as response:
        assert response.status == 403


async def test_forms_that_are_too_large_or_files_are_refused(client: Client) -> None:
    csrf = await sign_in(client, "octo")
    form = {"csrf": csrf, "name": "x" * 70_000}
    async with client.post("/profile/tokens", data=form) as response:
        assert response.status == 413
    form = {"csrf": csrf, "name": "x" * 3_000}
    async with client.post("/profile/tokens", data=form) as response:
        assert response.status == 400


async def test_pages_with_secrets_are_kept_nowhere(client: Client) -> None:
    await sign_in(client, "octo")
    for path in ("/profile", "/setup?token=the-link"):
        async with client.get(path) as response:
            assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("end", ["log out", "remove", "a week"])
async def test_open_streams_end_to_tell_when_the_session_does(
    client: Client, book: AccountBook, time: Time, end: str
) -> None:
    book.add("bob", PASSWORD, is_admin=True)
    await log_in(client, "bob")
    assert client.app is not None
    visitor = await client.app[KEEPER].identify(
        make_mocked_request("GET", "/", headers={"Cookie": f"datakit={cookie(client)}"})
    )
    assert visitor.reads("me/shut")
    assert visitor.may(Role.ADMIN)
    match end:
        case "log out":
            await send(client, "/profile", "/logout")
        case "remove":
            book.remove("bob")
        case _:
            time.now_ += timedelta(days=7)
    assert not visitor.reads("me/shut")
    assert not visitor.may(Role.READ)


async def test_who_dawdles_is_cut_off(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_PATIENCE", 0.05)
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nname=")
    said = await reader.read()
    assert said.startswith(b"HTTP/1.1 408 ")
    writer.close()
