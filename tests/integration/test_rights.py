"""Every address, for everybody, in every way: who gets in, and that nothing tells what is hidden.

The table is written by hand and must name every route of the dashboard: who adds an address says
here, too, who may use it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from datakit_ci.acl import Identity, Rights, Role, Rules, Scope, username
from datakit_ci.dashboard import app as dashboard
from datakit_ci.dashboard.app import ROUTES, Access, create_app
from datakit_ci.dashboard.routes import Route
from datakit_ci.dashboard.visitor import CSRF_HEADER
from datakit_ci.state import BuildId, BuildState, Status, TargetState
from datakit_ci.target import FLOWS, Target
from tests.support.ci_scene import NOW
from tests.support.fake_engine import FakeEngine
from tests.support.visitors import TokenAccounts, sign_in

Client = TestClient[web.Request, web.Application]

TABLE = """
all   GET  /login
all   POST /login
own   POST /logout
own   POST /logout/everywhere
all   GET  /setup
all   POST /setup
own   GET  /profile
own   POST /profile/tokens
own   POST /profile/tokens/revoke
own   POST /profile/password
all   GET  /login/{provider}
all   GET  /login/{provider}/callback
all   GET  /api/v1
all   GET  /api/v1/openapi.json
all   GET  /api/v1/version
all   GET  /api/v1/health
any   GET  /api/v1/projects
any   GET  /api/v1/targets
any   GET  /api/v1/pools
read  GET  /api/v1/projects/{user}/{repo}
read  GET  /api/v1/projects/{user}/{repo}/targets
read  GET  /api/v1/projects/{user}/{repo}/targets/{kind}/{name}
read  GET  /api/v1/projects/{user}/{repo}/targets/{kind}/{name}/jobs
read  GET  /api/v1/projects/{user}/{repo}/targets/{kind}/{name}/why
read  GET  /api/v1/projects/{user}/{repo}/builds
read  GET  /api/v1/projects/{user}/{repo}/builds/{stage}/{static}/{key}
read  GET  /api/v1/projects/{user}/{repo}/builds/{stage}/{static}/{key}/why
read  GET  /api/v1/projects/{user}/{repo}/stages/{stage}/results
read  GET  /api/v1/projects/{user}/{repo}/builds/{stage}/{static}/{key}/artefacts/{which}
read  GET  /api/v1/projects/{user}/{repo}/builds/{stage}/{static}/{key}/artefacts/{which}/{path}
read  GET  /api/v1/projects/{user}/{repo}/builds/{stage}/{static}/{key}/files/{which}/{path}
read  GET  /api/v1/projects/{user}/{repo}/builds/{stage}/{static}/{key}/log
read  GET  /api/v1/projects/{user}/{repo}/builds/{stage}/{static}/{key}/log/events
build POST /api/v1/projects/{user}/{repo}/targets/{kind}/{name}/rebuild
build POST /api/v1/projects/{user}/{repo}/targets/{kind}/{name}/cancel
build POST /api/v1/projects/{user}/{repo}/targets/{kind}/{name}/confirm
build POST /api/v1/projects/{user}/{repo}/targets/{kind}/{name}/approve
build POST /api/v1/projects/{user}/{repo}/builds/{stage}/{static}/{key}/rebuild
build POST /api/v1/projects/{user}/{repo}/builds/{stage}/{static}/{key}/cancel
build POST /api/v1/projects/{user}/{repo}/builds/{stage}/{static}/{key}/confirm
admin POST /api/v1/projects/{user}/{repo}/pause
admin POST /api/v1/projects/{user}/{repo}/resume
all   GET  /db.git/info/refs
all   POST /db.git/git-upload-pack
all   POST /db.git/git-receive-pack
all   GET  /private/db.git/info/refs
all   POST /private/db.git/git-upload-pack
all   POST /private/db.git/git-receive-pack
all   GET  /health
any   GET  /cc.xml
any   GET  /feed.atom
read  GET  /{user}/{repo}/feed.atom
read  GET  /{user}/{repo}/pr/{name}/badge.svg
read  GET  /{user}/{repo}/pr/{name}/feed.atom
read  GET  /{user}/{repo}/ref/{kind}/{name}/badge.svg
read  GET  /{user}/{repo}/ref/{kind}/{name}/feed.atom
all   GET  /metrics
any   GET  /log/live/{branch}
any   GET  /log/saved/{branch}/{commit}
read  GET  /history/{user}/{repo}/pr/{name}
read  GET  /history/{user}/{repo}/ref/{kind}/{name}
read  GET  /results/{user}/{repo}/{stage}
read  GET  /{user}/{repo}/commit/{commit}
build POST /build/{user}/{repo}/{stage}/{static}/{key}/{verb}
build POST /{user}/{repo}/pr/{name}/{verb}
build POST /{user}/{repo}/ref/{kind}/{name}/{verb}
admin POST /{user}/{repo}/{verb}
any   GET  /pr
read  GET  /{user}/{repo}/pr
any   GET  /branch
read  GET  /{user}/{repo}/branch
any   GET  /tag
read  GET  /{user}/{repo}/tag
any   GET  /pools
boss  GET  /settings
any   GET  /
any   GET  /events
read  GET  /build/{user}/{repo}/{stage}/{static}/{key}
read  GET  /build/{user}/{repo}/{stage}/{static}/{key}/log.txt
read  GET  /build/{user}/{repo}/{stage}/{static}/{key}/log/events
read  GET  /build/{user}/{repo}/{stage}/{static}/{key}/log/lines
read  GET  /build/{user}/{repo}/{stage}/{static}/{key}/log/search
read  GET  /build/{user}/{repo}/{stage}/{static}/{key}/log/text
read  GET  /build/{user}/{repo}/{stage}/{static}/{key}/{side}
read  GET  /build/{user}/{repo}/{stage}/{static}/{key}/{side}/{path}
read  GET  /build/{user}/{repo}/{stage}/{static}/{key}/compare
read  GET  /build/{user}/{repo}/{stage}/{static}/{key}/observations
read  GET  /build/{user}/{repo}/{stage}/{static}/{key}/tests
build POST /build/{flows}/{stage}/{static}/{key}/{verb}
read  GET  /build/{flows}/{stage}/{static}/{key}
read  GET  /build/{flows}/{stage}/{static}/{key}/log.txt
read  GET  /build/{flows}/{stage}/{static}/{key}/log/events
read  GET  /build/{flows}/{stage}/{static}/{key}/log/lines
read  GET  /build/{flows}/{stage}/{static}/{key}/log/search
read  GET  /build/{flows}/{stage}/{static}/{key}/log/text
read  GET  /build/{flows}/{stage}/{static}/{key}/{side}
read  GET  /build/{flows}/{stage}/{static}/{key}/{side}/{path}
read  GET  /build/{flows}/{stage}/{static}/{key}/compare
read  GET  /build/{flows}/{stage}/{static}/{key}/observations
read  GET  /build/{flows}/{stage}/{static}/{key}/tests
read  GET  /results/{flows}/{stage}
any   GET  /flows
build POST /{flows}/{branch}/{verb}
read  GET  /{flows}/{branch}
read  GET  /{user}/{repo}
read  GET  /{user}/{repo}/pr/{name}
read  GET  /{user}/{repo}/ref/{kind}/{name}
"""
"""Who may come in: ``all``; ``own``, whoever has logged in with a browser; ``any``, who may read
any project; ``boss``, who administers any; or who has a role in the project of the address."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
SHUT, OTHER = "me/shut", "me/other"
OWN_RIGHTS = Rights(username("github:reader"), username("github:builder"), username("github:admin"))
RULES = Rules(
    projects={
        SHUT: OWN_RIGHTS,
        FLOWS: OWN_RIGHTS,
        OTHER: Rights(username("github:other"), admin=username("github:other")),
    }
)
BUILD = BuildId(SHUT, "unit", "a" * 64, "b" * 64)
SAMPLES = {
    "user": "me", "repo": "shut", "provider": "github", "kind": "heads", "name": "1",
    "stage": "unit", "static": "a" * 64, "key": "b" * 64, "commit": "c" * 40, "side": "output",
    "which": "output", "path": "a", "id": "1", "version": "x", "branch": "a/b",
}  # fmt: skip
"""What stands for the parts of addresses; a ``verb`` is the first of its choices."""


@dataclass(frozen=True)
class Person:
    """Somebody who tries.

    Attributes:
        name: Who; empty: a stranger.
        role: What they are in the project.
        scope: Of the token that they send; none: they have logged in with a browser.
    """

    name: str
    role: Role
    scope: Scope | None = None

    @property
    def has_browser(self) -> bool:
        return bool(self.name) and self.scope is None

    @property
    def is_limited_to_projects(self) -> bool:
        return self.scope is not None and self.scope.projects is not None

    @property
    def administers_anything(self) -> bool:
        is_limited = self.scope is not None and self.scope.role < Role.ADMIN
        return self.name in ("admin", "other") and self.reads_anything and not is_limited

    @property
    def reads_anything(self) -> bool:
        is_limited = self.scope is not None and self.scope.projects == frozenset({"me/none"})
        return bool(self.name) and not is_limited


PEOPLE = (
    Person("", Role.NONE),
    Person("other", Role.NONE),
    Person("reader", Role.READ),
    Person("builder", Role.BUILD),
    Person("admin", Role.ADMIN),
    Person("other", Role.NONE, Scope()),
    Person("reader", Role.READ, Scope()),
    Person("builder", Role.READ, Scope(Role.READ)),
    Person("admin", Role.BUILD, Scope(Role.BUILD)),
    Person("admin", Role.ADMIN, Scope(Role.ADMIN, frozenset({SHUT}))),
    Person("admin", Role.NONE, Scope(Role.ADMIN, frozenset({"me/none"}))),
)
ROLES = {"read": Role.READ, "build": Role.BUILD, "admin": Role.ADMIN}


def lines() -> list[tuple[str, str, str]]:
    """Who, method and address of each line."""
    return [(who, method, path) for who, method, path in map(str.split, TABLE.strip().split("\n"))]


def parts(path: str) -> Iterator[tuple[str, str]]:
    """The pieces of an address as aiohttp writes it: a text, or a name and its pattern."""
    depth, start = 0, 0
    for place, letter in enumerate(path):
        if letter == "{" and (depth := depth + 1) == 1:
            yield path[start:place], ""
            start = place + 1
        elif letter == "}" and (depth := depth - 1) == 0:
            name, _, pattern = path[start:place].partition(":")
            yield name, pattern or "any"
            start = place + 1
    yield path[start:], ""


def plain(path: str) -> str:
    """An address as the table has it: without patterns."""
    return "".join(f"{{{text}}}" if pattern else text for text, pattern in parts(path))


def sample(path: str, repo: str = "shut") -> str:
    """An address of that kind."""
    values = SAMPLES | {"repo": repo}
    texts = []
    for text, pattern in parts(path):
        default = pattern.split("|")[0]
        texts.append(values.get(text, default) if pattern else text)
    return "".join(texts)


def expected(who: str, person: Person, path: str) -> int:
    """What somebody is answered; 200: they come in."""
    is_api = path.startswith("/api/")
    ask = 401 if is_api or person.scope is not None else 303
    match who:
        case "all":
            return 200
        case "own":
            return 200 if person.has_browser else ask
        case "any":
            if person.reads_anything:
                return 200
            return ask if not person.name else 403
        case "boss":
            if person.administers_anything:
                return 200
            return 403 if person.name else ask
        case _:
            is_elsewhere = "{flows}" in path and person.is_limited_to_projects
            role = Role.NONE if is_elsewhere else person.role
            if role < Role.READ:
                return 404
            return 200 if role >= ROLES[who] else 403


def doors() -> tuple[Route, ...]:
    """All routes, with nothing behind them but a note of which one it is."""

    def door(route: Route) -> Route:
        async def handler(_: web.Request) -> web.StreamResponse:
            return web.Response(headers={"Door": f"{route.method} {plain(route.path)}"})

        return replace(route, handler=handler)

    return tuple(map(door, ROUTES))


@pytest.fixture
def accounts() -> TokenAccounts:
    return TokenAccounts()


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine()
    engine.add(*(TargetState(Target(p, "heads", "1"), subject=p) for p in (SHUT, OTHER)))
    engine.add(TargetState(Target(SHUT, "pr", "1")))
    engine.add_build(BuildState(BUILD, Status.SUCCESS), b"shut\n")
    return engine


@pytest.fixture
async def client(
    engine: FakeEngine,
    accounts: TokenAccounts,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Client]:
    if getattr(request, "param", "") == "doors":
        monkeypatch.setattr(dashboard, "ROUTES", doors())
    app = create_app(engine, now=lambda: NOW, access=Access(lambda: RULES, accounts))
    async with TestClient(TestServer(app)) as client:
        yield client


async def become(client: Client, accounts: TokenAccounts, person: Person) -> dict[str, str]:
    """Log in, or have a token; the headers to send."""
    client.session.cookie_jar.clear()
    if person.scope is not None:
        accounts.tokens["t"] = (Identity(f"github:{person.name}"), person.scope)
        return {"Authorization": "Bearer t"}
    return {CSRF_HEADER: await sign_in(client, person.name)} if person.name else {}


async def csrf_of_stranger(client: Client) -> dict[str, str]:
    """What the page for logging in gives to a stranger."""
    async with client.get("/login") as response:
        found = re.search(r'name="csrf" value="(\w+)"', await response.text())
    return {CSRF_HEADER: found[1]} if found is not None else {}


def test_every_address_is_in_the_table_with_what_it_asks() -> None:
    routes = [f"{route.method} {plain(route.path)}" for route in ROUTES]
    assert sorted(f"{method} {path}" for _, method, path in lines()) == sorted(routes)
    for who, method, path in lines():
        is_about_one = "{repo}" in path or "{flows}" in path
        assert is_about_one is (who in ROLES), f"{method} {path}"
        if method == "POST":
            assert who != "any", path
            assert who != "read", path


def test_what_changes_something_takes_forms_of_ours_only() -> None:
    """Git reads by POST; nothing else does without a form."""
    free = {plain(route.path) for route in ROUTES if not route.form}
    assert free <= {
        f"{prefix}/db.git/git-{verb}-pack"
        for prefix in ("", "/private")
        for verb in ("upload", "receive")
    }


@pytest.mark.parametrize("client", ["doors"], indirect=True)
@pytest.mark.parametrize("person", PEOPLE, ids=str)
async def test_everybody_comes_in_where_the_table_says_so_and_nowhere_else(
    client: Client, accounts: TokenAccounts, person: Person
) -> None:
    headers = await become(client, accounts, person)
    patterns = {f"{route.method} {plain(route.path)}": route for route in ROUTES}
    for who, method, path in lines():
        route = patterns[f"{method} {path}"]
        want = expected(who, person, path)
        if not person.name and method == "POST" and who == "all" and route.form:
            want = 403  # a stranger's form has to come from a page that gave them a cookie
        for each in (method, "HEAD") if method == "GET" and route.head else (method,):
            async with client.request(
                each, sample(route.path), headers=headers, allow_redirects=False
            ) as response:
                door = response.headers.get("Door")
                assert (response.status, door is not None) == (want, want == 200), (each, path)
                assert door in (None, f"{method} {path}")


@pytest.mark.parametrize("client", ["doors"], indirect=True)
async def test_no_address_is_open_to_other_methods(client: Client, accounts: TokenAccounts) -> None:
    headers = await become(client, accounts, Person("admin", Role.ADMIN))
    known = {(method, path) for _, method, path in lines()}
    heads = {plain(route.path) for route in ROUTES if route.method == "GET" and route.head}
    for route in ROUTES:
        path = plain(route.path)
        for method in METHODS:
            if (method, path) in known or (method == "HEAD" and path in heads):
                continue
            async with client.request(
                method, sample(route.path), headers=headers, allow_redirects=False
            ) as response:
                door = response.headers.get("Door", "")
                assert not door.endswith(f" {path}"), (method, path)
                if not door:
                    assert response.status in (404, 405), (method, path)


@pytest.mark.parametrize("client", ["doors"], indirect=True)
async def test_a_form_without_its_token_changes_nothing_anywhere(
    client: Client, accounts: TokenAccounts
) -> None:
    await become(client, accounts, Person("admin", Role.ADMIN))
    for route in ROUTES:
        if route.method != "GET" and route.form:
            for headers in ({}, {CSRF_HEADER: "0" * 64}):
                async with client.post(
                    sample(route.path), headers=headers, allow_redirects=False
                ) as response:
                    assert response.status == 403, route.path
                    assert "Door" not in response.headers


@pytest.mark.parametrize("person", [PEOPLE[0], PEOPLE[1], PEOPLE[5], PEOPLE[10]], ids=str)
async def test_what_is_hidden_is_answered_like_what_is_not_there(
    client: Client, accounts: TokenAccounts, person: Person
) -> None:
    headers = await become(client, accounts, person)
    for route in ROUTES:
        if "{repo" not in route.path:
            continue
        hidden, absent = sample(route.path), sample(route.path, "none")
        for method in METHODS:
            async with (
                client.request(method, hidden, headers=headers, allow_redirects=False) as one,
                client.request(method, absent, headers=headers, allow_redirects=False) as other,
            ):
                assert one.status == other.status, (method, hidden)
                assert one.status in (404, 405), (method, hidden)
                text = (await one.text()).replace("me/shut", "me/none")
                assert text == await other.text(), (method, hidden)
                assert _names(one) == _names(other), (method, hidden)


def _names(response: object) -> dict[str, str]:
    """The headers of an answer that could tell something."""
    headers: dict[str, str] = dict(getattr(response, "headers"))  # noqa: B009 - of aiohttp's
    return {
        name: value for name, value in headers.items() if name not in ("Date", "Content-Length")
    }


@pytest.mark.parametrize("person", [PEOPLE[0], PEOPLE[1], PEOPLE[5], PEOPLE[10]], ids=str)
async def test_pages_about_everything_do_not_name_what_is_hidden(
    client: Client, accounts: TokenAccounts, person: Person
) -> None:
    headers = await become(client, accounts, person)
    for route in ROUTES:
        if "{repo" in route.path or route.method != "GET" or not route.head:
            continue  # streams: tests of the gate, and of clones
        for query in ("", "?q=shut", "?state=failing"):
            async with client.get(
                sample(route.path) + query, headers=headers, allow_redirects=False
            ) as response:
                text = (await response.text()).replace("q=shut", "").replace('"shut"', "")
                assert "me/shut" not in text, route.path


async def test_what_is_shown_to_one_is_kept_for_no_other(
    client: Client, accounts: TokenAccounts
) -> None:
    """No cache between us and a browser keeps an answer for somebody else (RFC 9111, 5.2.2.7)."""
    headers = await become(client, accounts, Person("admin", Role.ADMIN))
    shown = set()
    for route in ROUTES:
        if route.method != "GET":
            continue
        async with client.get(
            sample(route.path), headers=headers, allow_redirects=False
        ) as response:
            if response.status < 300:
                kept = response.headers.get("Cache-Control", "").split(", ")
                assert {"private", "no-store"} & set(kept), route.path
                shown.add(plain(route.path))
    assert {"/", "/events", "/profile", "/{user}/{repo}", "/api/v1/targets"} <= shown


async def test_who_may_read_is_shown_it_so_that_these_tests_can_fail(
    client: Client, accounts: TokenAccounts
) -> None:
    headers = await become(client, accounts, Person("reader", Role.READ))
    async with client.get("/", headers=headers) as response:
        assert "me/shut" in await response.text()
    async with client.get(f"/build/{BUILD.path}", headers=headers) as response:
        assert response.status == 200
