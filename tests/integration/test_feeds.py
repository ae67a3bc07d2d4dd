"""Badges, CCTray, Atom, health and metrics: what other programs show of us, and to whom."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from xml.etree.ElementTree import Element, tostring

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from defusedxml.ElementTree import fromstring

from datakit_ci.acl import Rights, Rules, everyone, nobody
from datakit_ci.dashboard import create_app
from datakit_ci.dashboard.app import Access
from datakit_ci.dashboard.metering import Meters
from datakit_ci.state import JobState, Status, TargetState
from datakit_ci.target import Target
from tests.support.ci_scene import NOW, Scene, fill
from tests.support.fake_engine import FakeEngine

Client = TestClient[web.Request, web.Application]

HOSTILE = '"><script>alert(1)</script>&\x00\u202e'
ATOM = "{http://www.w3.org/2005/Atom}"


@pytest.fixture
def scene() -> Scene:
    return fill(FakeEngine())


@pytest.fixture
async def client(scene: Scene) -> AsyncIterator[Client]:
    everybody, hidden = Rights(read=everyone), Rights(read=nobody)
    rules = Rules(everybody, {"acme/shop": everybody, "acme/storefront": hidden})
    app = create_app(scene.engine, now=lambda: NOW, access=Access(lambda: rules))
    async with TestClient(TestServer(app)) as client:
        yield client


async def fetch(client: Client, path: str, kind: str, status: int = 200) -> Element:
    async with client.get(path) as reply:
        assert reply.status == status, await reply.text()
        assert reply.content_type == kind
        etag, body = reply.headers["ETag"], await reply.read()
    async with client.get(path, headers={"If-None-Match": etag}) as again:
        assert again.status == 304
    found: Element = fromstring(body)
    return found


def words(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


async def test_a_badge_says_how_a_target_or_a_job_stands(client: Client, scene: Scene) -> None:
    svg = "image/svg+xml"
    main = "/acme/shop/ref/heads/main"
    assert "build: passing" in words(await fetch(client, f"{main}/badge.svg", svg))
    red = "/acme/shop/ref/heads/rounding"
    assert "build: failing" in words(await fetch(client, f"{red}/badge.svg", svg))
    assert "lint: passing" in words(await fetch(client, f"{red}/badge.svg?job=lint", svg))
    assert "build: running" in words(await fetch(client, "/acme/shop/pr/318/badge.svg", svg))
    for path in (f"{red}/badge.svg?job=none", "/acme/shop/ref/heads/none/badge.svg"):
        async with client.get(path) as reply:
            assert reply.status == 404


async def test_a_badge_holds_nothing_but_words(client: Client, scene: Scene) -> None:
    job = JobState(HOSTILE * 20, Status.SUCCESS)
    target = Target("acme/shop", "heads", "odd")
    scene.engine.add(TargetState(target, jobs=(job,)))
    async with client.get(
        "/acme/shop/ref/heads/odd/badge.svg", params={"job": HOSTILE * 20}
    ) as reply:
        assert "<script" not in await reply.text()
        fromstring(await reply.read())
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]


async def test_cctray_lists_what_one_may_read(client: Client, scene: Scene) -> None:
    root = await fetch(client, "/cc.xml", "application/xml")
    found = {each.attrib["name"]: each.attrib for each in root}
    assert all(name.startswith("acme/shop ") for name in found)
    red = found["acme/shop heads/rounding"]
    assert (red["activity"], red["lastBuildStatus"]) == ("Sleeping", "Failure")
    assert red["webUrl"].endswith("/acme/shop/ref/heads/rounding")
    assert red["lastBuildTime"] == "2026-03-04T11:54:00Z"
    busy = found["acme/shop pr/318"]
    assert (busy["activity"], busy["lastBuildStatus"]) == ("Building", "Unknown")


async def test_feeds_have_the_newest_first_and_a_new_entry_for_a_new_state(
    client: Client, scene: Scene
) -> None:
    kind = "application/atom+xml"
    feed = await fetch(client, "/feed.atom", kind)
    titles = [words(each) for each in feed.iter(f"{ATOM}title")]
    assert titles[:3] == [
        "All projects",
        "acme/shop pr/318 is running",
        "acme/shop heads/rounding failed",
    ]
    project = await fetch(client, "/acme/shop/feed.atom", kind)
    assert len(project.findall(f"{ATOM}entry")) == 4
    path = "/acme/shop/ref/heads/rounding/feed.atom"
    before = await fetch(client, path, kind)
    ids = {words(each) for each in before.iter(f"{ATOM}id")}
    assert "unit failed" in words(before)
    jobs = tuple(replace(job, status=Status.SUCCESS) for job in scene.red.jobs)
    await scene.engine.set_target(replace(scene.red, jobs=jobs))
    after = {words(each) for each in (await fetch(client, path, kind)).iter(f"{ATOM}id")}
    assert ids - after
    assert after - ids


async def test_hostile_texts_are_texts_in_xml(client: Client, scene: Scene) -> None:
    name = b"bad\xff".decode(errors="surrogateescape")
    target = Target("acme/shop", "heads", name)
    state = TargetState(target, subject=HOSTILE, author=HOSTILE, updated=NOW)
    scene.engine.add(state)
    for path in ("/cc.xml", "/feed.atom", "/acme/shop/ref/heads/bad%FF/feed.atom"):
        async with client.get(path) as reply:
            assert reply.status == 200
            fromstring(await reply.read())


@pytest.mark.parametrize(
    "path",
    [
        "/acme/storefront/feed.atom",
        "/acme/storefront/ref/heads/main/badge.svg",
        "/acme/storefront/ref/heads/main/feed.atom",
        "/acme/none/feed.atom",
    ],
)
async def test_of_a_hidden_project_there_is_nothing(client: Client, path: str) -> None:
    async with client.get(path) as reply:
        assert reply.status == 404


async def test_health_is_told_to_everybody_and_no_more() -> None:
    trouble = ""
    app = create_app(FakeEngine(), trouble=lambda: trouble)
    async with TestClient(TestServer(app)) as client:
        async with client.get("/health") as reply:
            assert (reply.status, await reply.text()) == (200, "ok\n")
        trouble = "secret reasons"
        async with client.get("/health") as reply:
            assert (reply.status, await reply.text()) == (503, "trouble\n")


async def test_metrics_are_for_who_has_the_token_of_the_digest() -> None:
    digest = hashlib.sha256(b"right").hexdigest()
    app = create_app(FakeEngine(), meters=Meters(digest, lambda: b"metric 1\n"))
    async with TestClient(TestServer(app)) as client:
        for value in ("", "Bearer wrong", "Basic right", f"Bearer {digest}"):
            headers = {"Authorization": value} if value else {}
            async with client.get("/metrics", headers=headers) as reply:
                assert reply.status == 401
                assert "metric 1" not in await reply.text()
        async with client.get("/metrics", headers={"Authorization": "bearer right"}) as reply:
            assert (reply.status, await reply.text()) == (200, "metric 1\n")
    async with (
        TestClient(TestServer(create_app(FakeEngine()))) as client,
        client.get("/metrics") as reply,
    ):
        assert reply.status == 404


async def test_links_lead_to_where_the_service_says_that_it_is(scene: Scene) -> None:
    everybody = Rights(read=everyone)
    rules = Rules(everybody, {"acme/shop": everybody})
    access = Access(lambda: rules, public_url="https://ci.example.org")
    async with TestClient(TestServer(create_app(scene.engine, access=access))) as client:
        for path, kind in (("/cc.xml", "application/xml"), ("/feed.atom", "application/atom+xml")):
            text = tostring(await fetch(client, path, kind)).decode()
            assert "https://ci.example.org/" in text
            assert "127.0.0.1" not in text
