"""Logging in by way of GitHub and of OpenID Connect, against a server that plays both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from joserfc.jwk import OctKey

from datakit_ci.acl import Rights, Rules, can_read_github, everyone, github_org, group, username
from datakit_ci.dashboard.app import Access, create_app
from datakit_ci.dashboard.providers import Provider, read_providers
from datakit_ci.state import TargetState
from datakit_ci.target import Target
from datakit_core.errors import ConfigError
from tests.support.fake_engine import FakeEngine
from tests.support.fake_provider import FakeProvider, fake_provider, new_key
from tests.support.html import read_page

Client = TestClient[web.Request, web.Application]

RULES = Rules(
    Rights(read=everyone),
    {
        "a/octo": Rights(read=username("github:Octo")),
        "a/org": Rights(read=github_org("Acme")),
        "a/repo": Rights(read=can_read_github("acme/private")),
        "a/dev": Rights(read=group("corp:dev")),
        "a/ann": Rights(read=username("corp:ann")),
    },
)


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    async with fake_provider() as provider:
        yield provider


@pytest.fixture
async def client(provider: FakeProvider) -> AsyncIterator[Client]:
    engine = FakeEngine()
    engine.add(*(TargetState(Target(p, "heads", "main")) for p in RULES.projects))
    known = {"client_id": "us", "client_secret": "hush hush"}
    github = known | {"name": "github", "url": provider.url, "api": provider.url}
    corp = known | {"name": "corp", "issuer": provider.url, "groups": "groups"}
    providers = {each["name"]: Provider.model_validate(each) for each in (github, corp)}
    app = create_app(engine, access=Access(lambda: RULES, providers=providers))
    async with TestClient(TestServer(app)) as client:
        yield client


async def go(client: Client, address: str, status: int = 303) -> str:
    """Follow one step; where it leads, or the words of the page."""
    async with client.get(address, allow_redirects=False) as response:
        assert response.status == status, await response.text()
        return response.headers.get("Location") or read_page(await response.text()).words


async def log_in(client: Client, name: str, status: int = 303, where: str = "/") -> str:
    """There and back."""
    there = await go(client, f"/login/{name}?next={where}")
    back = await _elsewhere(client, there)
    return await go(client, back, status)


async def _elsewhere(client: Client, there: str) -> str:
    """What the browser does at the provider; its way back, as one of our addresses."""
    async with client.session.get(there, allow_redirects=False) as response:
        assert response.status == 302
        parts = urlsplit(response.headers["Location"])
    assert parts.netloc == f"{client.host}:{client.port}"
    return f"{parts.path}?{parts.query}"


async def readable(client: Client) -> set[str]:
    return {p for p in RULES.projects if (await client.get(f"/{p}")).status == 200}


async def test_github_says_who_it_is_and_where_they_belong(
    client: Client, provider: FakeProvider
) -> None:
    provider.user = "Octo"
    provider.organisations = [f"org{number}" for number in range(150)] + ["ACME"]
    provider.repositories = {"acme/private"}
    assert await readable(client) == set()
    assert await log_in(client, "github", where="/a/org") == "/a/org"
    assert await readable(client) == {"a/octo", "a/org", "a/repo"}
    assert "github:octo" in await go(client, "/profile", 200)


async def test_who_is_in_no_organisation_sees_what_is_theirs(
    client: Client, provider: FakeProvider
) -> None:
    provider.user = "eve"
    await log_in(client, "github")
    assert await readable(client) == set()


async def test_openid_connect_goes_the_same_way(client: Client, provider: FakeProvider) -> None:
    provider.user = "ann"
    provider.claims = {"groups": ["dev", 7], "azp": "us"}
    await log_in(client, "corp")
    assert await readable(client) == {"a/dev", "a/ann"}


async def test_the_page_offers_all_ways(client: Client) -> None:
    text = await go(client, "/login?next=/a/org", 200)
    assert "Log in with GitHub" in text
    assert "Log in with Corp" in text
    assert "Password" not in text
    await go(client, "/login/unknown", 404)


async def test_what_the_provider_is_told_fits_one_attempt(client: Client) -> None:
    queries = [parse_qs(urlsplit(await go(client, "/login/corp")).query) for _ in range(2)]
    for name in ("state", "nonce", "code_challenge"):
        assert queries[0][name] != queries[1][name]
    assert queries[0]["redirect_uri"] == queries[1]["redirect_uri"]
    assert queries[0]["scope"] == ["openid profile email"]
    assert "hush" not in str(queries)


async def test_what_was_begun_in_another_browser_or_by_another_way_is_refused(
    client: Client,
) -> None:
    there = await go(client, "/login/corp?next=/a/dev")
    back = await _elsewhere(client, there)
    text = await go(client, back.replace("/corp/", "/github/"), 400)
    assert "another browser" in text
    await go(client, back.replace("dev", "org"), 400)
    await go(client, back.replace("state=", "state=x"), 400)
    client.session.cookie_jar.clear()
    await go(client, back, 400)
    await go(client, "/login/corp/callback", 400)


async def test_a_way_back_works_once(client: Client) -> None:
    back = await _elsewhere(client, await go(client, "/login/corp"))
    await go(client, back)
    await go(client, back, 400)  # the log-in has changed the cookie


async def test_a_code_of_another_attempt_is_refused(client: Client, provider: FakeProvider) -> None:
    """As when an attacker slips in the code of their own account: PKCE does not fit."""
    first = await _elsewhere(client, await go(client, "/login/corp"))
    second = await _elsewhere(client, await go(client, "/login/corp"))
    code = parse_qs(urlsplit(first).query)["code"][0]
    other = parse_qs(urlsplit(second).query)["code"][0]
    await go(client, second.replace(other, code), 502)


async def test_a_user_who_says_no_there_is_told_so(client: Client, provider: FakeProvider) -> None:
    provider.refuses = "access_denied"
    assert "did not let you in" in await log_in(client, "corp", 403)


async def test_nobody_is_sent_elsewhere_afterwards(client: Client) -> None:
    assert await log_in(client, "corp", where="https://evil.example/") == "/"


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"aud": "others"},
        {"exp": 1},
        {"exp": None},
        {"nonce": "x"},
        {"azp": "others"},
        {"preferred_username": ""},
        {"preferred_username": None},
        {"preferred_username": "a b"},
        {"preferred_username": "a\n"},
        {"preferred_username": "x" * 300},
    ],
)
async def test_an_id_token_that_is_not_good_lets_nobody_in(
    client: Client, provider: FakeProvider, claims: dict[str, object]
) -> None:
    provider.claims = claims
    assert "did not say who you are" in await log_in(client, "corp", 502)
    assert await readable(client) == set()


async def test_an_id_token_with_another_key_or_none_lets_nobody_in(
    client: Client, provider: FakeProvider
) -> None:
    await log_in(client, "corp")
    client.session.cookie_jar.clear()
    good, provider.key = provider.key, new_key("1")
    await log_in(client, "corp", 502)
    provider.key = good
    await log_in(client, "corp")
    client.session.cookie_jar.clear()
    provider.headers = {"alg": "HS256", "kid": "1"}
    provider.shared = OctKey.import_key("what both of us know, as long as a key")
    await log_in(client, "corp", 502)


async def test_new_keys_of_a_provider_are_asked_for(client: Client, provider: FakeProvider) -> None:
    await log_in(client, "corp")
    client.session.cookie_jar.clear()
    provider.key = new_key("2")
    provider.headers = {"alg": "ES256", "kid": "2"}
    await log_in(client, "corp", 502)
    await log_in(client, "corp")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("corp", "/token"),
        ("github", "/login/oauth/access_token"),
        ("github", "/user"),
        ("github", "/user/memberships/orgs"),
    ],
)
async def test_a_provider_that_breaks_lets_nobody_in(
    client: Client, provider: FakeProvider, name: str, path: str
) -> None:
    provider.breaks = {path}
    assert "did not say who you are" in await log_in(client, name, 502)
    assert await readable(client) == set()


@pytest.mark.parametrize("path", ["/keys", "/.well-known/openid-configuration"])
async def test_a_provider_that_says_nothing_of_itself_is_not_gone_to(
    client: Client, provider: FakeProvider, path: str
) -> None:
    provider.breaks = {path}
    assert "did not say who you are" in await go(client, "/login/corp", 502)


GOOD = '[github]\nclient_id = "a"\nclient_secret = "b"\n'


def test_providers_are_read_from_a_file_of_ours(tmp_path: Path) -> None:
    file = tmp_path / "providers.toml"
    file.write_text(
        GOOD + '[okta]\nissuer = "https://x.okta.com/"\nclient_id = "c"\nclient_secret = "d"\n'
    )
    file.chmod(0o600)
    providers = read_providers(file)
    assert providers["okta"].issuer == "https://x.okta.com"
    assert providers["github"].scope == "read:org"
    assert "client_secret" not in repr(providers)


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        (GOOD, 0o644, "chmod 600"),
        (GOOD, 0o620, "chmod 600"),
        ("[", 0o600, "no TOML"),
        ('github = "x"', 0o600, "table"),
        ('[github]\nclient_id = "a"', 0o600, r"github\.client_secret"),
        (GOOD + 'issuer = "https://x"', 0o600, "github"),
        (GOOD.replace("github", "okta"), 0o600, "okta"),
        (GOOD.replace("github", "Ok ta").replace("Ok ta", '"Ok ta"'), 0o600, "small letters"),
        (GOOD + 'url = "http://example.org"', 0o600, "https://HOST"),
        (GOOD + "x = 1", 0o600, r"github\.x"),
    ],
)
def test_a_file_of_providers_that_makes_no_sense_is_named(
    tmp_path: Path, text: str, mode: int, said: str
) -> None:
    file = tmp_path / "providers.toml"
    file.write_text(text)
    file.chmod(mode)
    with pytest.raises(ConfigError, match=said) as caught:
        read_providers(file)
    assert '"b"' not in str(caught.value)
