"""Who may come in where: what is hidden is not there, and forms come from our own pages."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from datakit_ci.acl import Rights, Role, Rules, everyone, username
from datakit_ci.dashboard import app as dashboard
from datakit_ci.dashboard import gate
from datakit_ci.dashboard.app import Access, create_app
from datakit_ci.dashboard.keeper import KEEPER
from datakit_ci.dashboard.routes import act, read
from datakit_ci.dashboard.scope import source_of
from datakit_ci.dashboard.visitor import CSRF_FIELD, CSRF_HEADER, visitor_of
from datakit_ci.state import BuildState, Status, TargetState
from datakit_ci.target import Target
from tests.support.ci_scene import NOW, build_id
from tests.support.fake_engine import FakeEngine
from tests.support.html import read_page
from tests.support.visitors import TokenAccounts, cookie_name, csrf_of, sign_in

Client = TestClient[web.Request, web.Application]

OPEN, SHUT = Target("me/open", "heads", "main"), Target("me/shut", "heads", "main")
LOG = build_id("me/shut", "unit")
RULES = Rules(
    Rights(read=everyone),
    {
        "me/open": Rights(read=everyone, build=username("github:ann")),
        "me/shut": Rights(read=username("github:ann")),
    },
)


async def _press(request: web.Request) -> web.Response:
    """What a button would do."""
    await request.post()
    return web.Response(text=f"pressed by {visitor_of(request).user}")


async def _who(request: web.Request) -> web.Response:
    projects = [state.target.project for state in source_of(request).targets()]
    return web.json_response([visitor_of(request).user, projects])


@pytest.fixture
def accounts() -> TokenAccounts:
    return TokenAccounts()


@pytest.fixture
def rules() -> list[Rules]:
    return [RULES]


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine()
    engine.add(TargetState(OPEN), TargetState(SHUT))
    engine.add_build(BuildState(LOG, Status.SUCCESS), b"secret\n")
    return engine


@pytest.fixture
async def client(
    engine: FakeEngine,
    accounts: TokenAccounts,
    rules: list[Rules],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Client]:
    extra = (act("/{user}/{repo}/press", _press), read("/who", _who))
    monkeypatch.setattr(dashboard, "ROUTES", (*dashboard.ROUTES, *extra))
    access = Access(lambda: rules[0], accounts, public_url="https://ci.example.org")
    app = create_app(engine, now=lambda: NOW, access=access)
    async with TestClient(TestServer(app)) as client:
        yield client


async def answer(
    client: Client, path: str, method: str = "GET", **options: object
) -> tuple[int, str, str]:
    """Status, text, and where it leads."""
    async with client.request(method, path, allow_redirects=False, **options) as response:  # type: ignore[arg-type]
        words = read_page(await response.text()).words
        return response.status, words, response.headers.get("Location", "")


HIDDEN_AND_ABSENT = [
    ("/me/shut", "/me/none"),
    ("/me/shut/ref/heads/main", "/me/none/ref/heads/main"),
    ("/me/shut/pr/1", "/me/none/pr/1"),
    (f"/build/{LOG.path}", f"/build/{LOG.path}".replace("me/shut", "me/none")),
    (f"/build/{LOG.path}/log.txt", f"/build/{LOG.path}/log.txt".replace("me/shut", "me/none")),
    (
        f"/build/{LOG.path}/log/events",
        f"/build/{LOG.path}/log/events".replace("me/shut", "me/none"),
    ),
    ("/me/shut/no/such/page", "/me/none/no/such/page"),
]


@pytest.mark.parametrize(("hidden", "absent"), HIDDEN_AND_ABSENT)
@pytest.mark.parametrize("who", ["", "bob"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
async def test_what_is_hidden_is_answered_like_what_is_not_there(
    client: Client, hidden: str, absent: str, who: str, method: str
) -> None:
    if who:
        await sign_in(client, who)
    async with (
        client.request(method, hidden, allow_redirects=False) as one,
        client.request(method, absent, allow_redirects=False) as other,
    ):
        assert one.status == other.status
        assert one.status in (404, 405)
        texts = [await one.text(), (await other.text())]
        assert texts[0] == texts[1].replace("me/none", "me/shut")
        assert "me/shut" not in texts[0].replace(f"next={hidden}", "")  # to come back to
        differing = {"Date", "Content-Length"} if "me/none" in texts[1] else {"Date"}
        heads = [{k: v for k, v in r.headers.items() if k not in differing} for r in (one, other)]
        assert heads[0] == heads[1]


async def test_who_may_read_it_sees_it(client: Client) -> None:
    await sign_in(client, "ann")
    for hidden, _ in HIDDEN_AND_ABSENT[:2]:
        assert (await answer(client, hidden))[0] == 200
    assert (await answer(client, f"/build/{LOG.path}/log.txt"))[1] == "secret"


async def test_lists_hold_only_what_somebody_may_read(client: Client) -> None:
    assert (await answer(client, "/who"))[1] == '["", ["me/open"]]'
    assert "me/shut" not in (await answer(client, "/"))[1]
    await sign_in(client, "ann")
    assert (await answer(client, "/who"))[1] == '["github:ann", ["me/open", "me/shut"]]'


async def test_streams_tell_of_readable_targets_only(client: Client, engine: FakeEngine) -> None:
    async with client.get("/events") as response:
        lines: list[str] = []
        while not any(line.startswith("data") for line in lines):
            lines.append((await response.content.readline()).decode())
        await engine.set_target(TargetState(SHUT, subject="new"))
        await engine.set_target(TargetState(OPEN, subject="new"))
        while not lines[-1].startswith("data") or len(lines) < 6:
            lines.append((await response.content.readline()).decode())
    told = "".join(lines)
    assert "/me/open/ref/heads/main" in told
    assert "shut" not in told


async def test_where_nothing_is_readable_strangers_are_asked_to_log_in(
    client: Client, rules: list[Rules]
) -> None:
    rules[0] = Rules()
    status, _, where = await answer(client, "/?state=failing&q=a%20b")
    assert (status, where) == (303, "/login?next=/?state%3Dfailing%26q%3Da%2520b")
    for headers in ({"Accept": "text/event-stream"}, {"Accept": "application/json"}):
        async with client.get("/events", headers=headers) as response:
            assert response.status == 401
            assert response.headers["WWW-Authenticate"].startswith("Bearer")
    await sign_in(client, "bob")
    status, text, _ = await answer(client, "/")
    assert status == 403
    assert "no project here that you may read" in text


async def test_who_may_look_but_not_touch_is_told_so(client: Client) -> None:
    csrf = await sign_in(client, "bob")
    status, text, _ = await answer(client, "/me/open/press", "POST", data={CSRF_FIELD: csrf})
    assert status == 403
    assert "You may look, but not" in text
    assert (await answer(client, "/me/shut/press", "POST", data={CSRF_FIELD: csrf}))[0] == 404


async def test_a_stranger_who_presses_a_button_logs_in_and_comes_back(client: Client) -> None:
    page = str(client.make_url("/me/open/ref/heads/main"))
    for referer, back in ((page, "/me/open/ref/heads/main"), ("https://evil.example/x", "/")):
        status, _, where = await answer(
            client, "/me/open/press", "POST", headers={"Referer": referer}
        )
        assert (status, where) == (303, f"/login?next={back}")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "https://ci.example.org"}, 200),
        ({"Origin": "http://HOST"}, 200),
        ({"Origin": "http://HOST.evil.example"}, 403),
    ],
)
async def test_a_form_of_another_site_is_refused(
    client: Client, headers: dict[str, str], status: int
) -> None:
    csrf = await sign_in(client, "ann")
    host = f"{client.host}:{client.port}"
    given = {name: value.replace("HOST", host) for name, value in headers.items()}
    pressed = await answer(client, "/me/open/press", "POST", data={CSRF_FIELD: csrf}, headers=given)
    assert pressed[0] == status


async def test_a_form_without_what_it_should_carry_is_refused(client: Client) -> None:
    csrf = await sign_in(client, "ann")
    path = "/me/open/press"
    for wrong in ("", "x", csrf[:-1], csrf_of("c" * 43)):
        assert (await answer(client, path, "POST", data={CSRF_FIELD: wrong}))[0] == 403
        assert (await answer(client, path, "POST", headers={CSRF_HEADER: wrong}))[0] == 403
    assert (await answer(client, path, "POST"))[0] == 403
    assert (await answer(client, path, "POST", data=b'{"csrf": 1}'))[0] == 403
    assert (await answer(client, path, "POST", headers={CSRF_HEADER: csrf}))[0] == 200
    other = await sign_in(client, "ann")
    assert (await answer(client, path, "POST", data={CSRF_FIELD: csrf}))[0] == 403
    assert (await answer(client, path, "POST", data={CSRF_FIELD: other}))[0] == 200


async def test_a_program_needs_a_token_and_no_form(client: Client, accounts: TokenAccounts) -> None:
    path = "/me/open/press"
    good = accounts.add("t1", "github:ann")
    assert (await answer(client, path, "POST", headers=good))[1] == "pressed by github:ann"
    reading = accounts.add("t2", "github:ann", Role.READ)
    assert (await answer(client, path, "POST", headers=reading))[0] == 403
    elsewhere = accounts.add("t3", "github:ann", Role.ADMIN, "me/shut")
    assert (await answer(client, path, "POST", headers=elsewhere))[0] == 404
    assert (await answer(client, "/me/shut", headers=elsewhere))[0] == 200
    assert (await answer(client, "/who", headers=elsewhere))[1] == '["github:ann", ["me/shut"]]'


async def test_a_token_that_is_not_good_is_refused_even_where_strangers_may_read(
    client: Client,
) -> None:
    await sign_in(client, "ann")
    for wrong in ("Bearer nope", "Basic bm9wZQ==", "Basic *", "Digest x", ""):
        async with client.get("/", headers={"Authorization": wrong}) as response:
            assert response.status == 401, wrong
            assert response.headers["WWW-Authenticate"].startswith("Bearer")


async def test_the_password_of_basic_authentication_may_be_a_token(
    client: Client, accounts: TokenAccounts
) -> None:
    accounts.add("t1", "github:ann")
    assert (await answer(client, "/me/shut", headers={"Authorization": "Basic YTp0MQ=="}))[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://["},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
async def test_a_browser_that_knows_a_token_is_not_sent_by_another_site(
    client: Client, accounts: TokenAccounts, headers: dict[str, str]
) -> None:
    """Where Git asks for a password, a person may type one; then their browser sends it."""
    accounts.add("t1", "github:ann")
    basic = {"Authorization": "Basic YTp0MQ=="}
    assert (await answer(client, "/me/open/press", "POST", headers=basic))[0] == 200
    assert (await answer(client, "/me/open/press", "POST", headers=basic | headers))[0] == 403


async def test_a_referrer_that_is_no_address_leads_nowhere(client: Client) -> None:
    pressed = await answer(client, "/me/open/press", "POST", headers={"Referer": "http://["})
    assert pressed[::2] == (303, "/login?next=/")


async def test_a_session_is_good_for_as_long_as_it_lasts(client: Client) -> None:
    await sign_in(client, "ann")
    assert client.app is not None
    keeper = client.app[KEEPER]
    (key,) = keeper.sessions._sessions  # type: ignore[attr-defined]
    await keeper.sessions.remove(key)
    assert (await answer(client, "/me/shut"))[0] == 404


@pytest.mark.parametrize("cookie", ["", "x", "a" * 43, "a" * 5000, "../../x", "%00"])
async def test_a_made_up_cookie_is_nobody(client: Client, cookie: str) -> None:
    headers = {"Cookie": f"{cookie_name(client)}={cookie}"}
    assert (await answer(client, "/who", headers=headers))[1] == '["", ["me/open"]]'


@pytest.mark.parametrize(
    ("address", "back"),
    [
        ("/a/b?x=1", "/a/b?x=1"),
        ("//evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\nb", "/"),
        ("/\t/evil.example", "/"),
        ("/login?next=/login", "/"),
        ("/login", "/"),
        ("/login/github?next=/", "/"),
        ("/logout/everywhere", "/"),
        ("/setup#x", "/"),
        ("/login-team/app", "/login-team/app"),
        ("/" + "a" * 3000, "/"),
        ("", "/"),
    ],
)
def test_nobody_is_sent_elsewhere_after_logging_in(address: str, back: str) -> None:
    assert gate.safe_next(address) == back
