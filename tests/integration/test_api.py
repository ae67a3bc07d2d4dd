"""The JSON API over HTTP: what it says, what it refuses, and that it is as it is described."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from datakit_ci.acl import Role
from datakit_ci.archive import Dossier
from datakit_ci.control import Approve, Cancel, Confirm, Pause, Rebuild, Resume
from datakit_ci.dashboard import create_app
from datakit_ci.dashboard.api.addresses import build_url, target_url
from datakit_ci.dashboard.api.paging import encode_cursor
from datakit_ci.dashboard.app import Access
from datakit_ci.dashboard.keeper import KEEPER
from datakit_ci.explanation import Explanation, JobWhy, Reason, ReasonKind, Verdict
from datakit_ci.pools import LockState, PoolState
from datakit_ci.rulings import Ruling
from datakit_ci.state import Status, TargetState
from datakit_ci.target import Target
from datakit_core.client.api import CommitId, ObjectId
from datakit_core.errors import Disconnected, InvalidArgument, NoEntry
from tests.support.ci_scene import NOW, PYTEST_LOG, Scene, fill
from tests.support.fake_engine import FakeEngine
from tests.support.visitors import TokenAccounts, everything

Client = TestClient[web.Request, web.Application]

WHO = "ann"
MAIN = "/api/v1/projects/acme/shop/targets/heads/main"


@pytest.fixture
def scene() -> Scene:
    return fill(FakeEngine())


@pytest.fixture
async def client(scene: Scene) -> AsyncIterator[Client]:
    accounts = TokenAccounts()
    headers = accounts.add("good", WHO)
    app = create_app(
        scene.engine,
        now=lambda: NOW,
        access=Access(lambda: everything(WHO), accounts),
        controls=scene.engine,
    )
    async with TestClient(TestServer(app), headers=headers) as client:
        yield client


async def get(client: Client, path: str, status: int = 200) -> Any:
    async with client.get(path) as reply:
        assert reply.status == status, await reply.text()
        kind = "application/json" if status == 200 else "application/problem+json"
        assert reply.content_type == kind
        return await reply.json(content_type=kind)


async def post(client: Client, path: str, body: object = None, status: int = 200) -> Any:
    async with client.post(path, json=body) as reply:
        assert reply.status == status, await reply.text()
        return json.loads(await reply.text())


async def test_projects_count_their_targets_and_say_who_has_paused_them(
    client: Client, scene: Scene
) -> None:
    scene.engine.paused_projects["acme/shop"] = Ruling("First Author", NOW)
    shop, site = (await get(client, "/api/v1/projects"))["items"]
    assert shop["id"] == "acme/shop"
    assert shop["targets"] == {"success": 2, "failure": 1, "running": 1}
    assert shop["paused"]["user"] == "First Author"
    assert site["paused"] is None
    assert await get(client, shop["url"]) == shop


async def test_a_target_has_jobs_a_graph_and_addresses_that_lead_on(
    client: Client, scene: Scene
) -> None:
    found = await get(client, target_url(scene.red.target))
    assert found["status"] == "failure"
    assert found["head"] == scene.red.head
    jobs = {job["name"]: job for job in found["jobs"]}
    assert jobs["unit"]["status"] == "failure"
    assert jobs["image"]["builds"] == []
    assert {node["id"] for node in found["graph"]} >= {"source", "unit"}
    build = await get(client, jobs["unit"]["builds"][0]["url"])
    assert build["exit_status"] == 1
    async with client.get(build["page"]) as page:
        assert page.status == 200
    listed = await get(client, f"{target_url(scene.red.target)}/jobs")
    assert sorted(jobs) == [job["name"] for job in listed["items"]]


async def test_targets_are_found_by_state_kind_and_words(client: Client) -> None:
    async def names(query: str) -> list[str]:
        items = (await get(client, f"/api/v1/targets?{query}"))["items"]
        return [f"{item['project']} {item['kind']}/{item['name']}" for item in items]

    assert await names("status=failure") == ["acme/shop heads/rounding"]
    assert await names("kind=pr") == ["acme/shop pr/318", "acme/storefront pr/12"]
    assert await names("q=Release+2.4") == ["acme/shop tags/v2.4.0"]
    assert len(await names("")) == 7


async def test_a_list_in_parts_is_the_whole_list_once(client: Client, scene: Scene) -> None:
    seen: list[str] = []
    cursor = ""
    while True:
        part = await get(client, f"/api/v1/targets?limit=2&cursor={cursor}")
        assert len(part["items"]) <= 2
        seen += [item["url"] for item in part["items"]]
        if (cursor := part["next"]) is None:
            break
    assert seen == [
        target_url(each.target)
        for each in sorted(scene.engine.targets(), key=lambda state: state.target)
    ]


async def test_a_name_of_any_bytes_is_found_again(client: Client, scene: Scene) -> None:
    target = Target(
        "acme/shop", "heads", b"bad\xff/ and%2F\xe2\x82\xac".decode(errors="surrogateescape")
    )
    scene.engine.add(TargetState(target, head=scene.red.head))
    listed = await get(client, "/api/v1/targets?q=bad")
    (item,) = listed["items"]
    assert item["name"] == "bad\ufffd/ and%2F€"
    assert (await get(client, item["url"]))["url"] == item["url"]
    await post(client, f"{item['url']}/cancel")
    assert scene.engine.commands == [Cancel(WHO, target)]


async def test_reasons_are_told(client: Client, scene: Scene) -> None:
    target = scene.red.target
    reason = Reason(ReasonKind.OBSERVATION, "src/a.py has changed", "src/a.py", "1", "2")
    said = Explanation("unit", Verdict.RAN, (reason,), scene.failed)
    scene.engine.whys[scene.failed] = said
    scene.engine.job_whys[target, "unit"] = JobWhy(
        target.path, "unit", Status.FAILURE, "exit status 1", (said,)
    )
    build = await get(client, f"{build_url(scene.failed)}/why")
    assert build["reasons"][0]["text"] == "src/a.py has changed"
    job = await get(client, f"{target_url(target)}/why?job=unit")
    assert job["steps"] == [build]
    await get(client, f"{target_url(target)}/why?job=nothing", 404)
    await get(client, f"{target_url(target)}/why", 400)


async def test_pools_and_locks_say_what_is_busy_with_what(client: Client, scene: Scene) -> None:
    scene.engine.busy_pools["cpu"] = PoolState(2, (scene.live,), (scene.failed,))
    scene.engine.held_locks["deploy"] = LockState(None, (scene.live,))
    found = await get(client, "/api/v1/pools")
    assert found["pools"][0]["capacity"] == 2
    assert found["pools"][0]["busy"][0]["url"] == build_url(scene.live)
    assert found["locks"][0]["holder"] is None


async def test_builds_that_targets_show_are_listed_once_with_those_targets(
    client: Client, scene: Scene
) -> None:
    builds = (await get(client, "/api/v1/projects/acme/shop/builds?status=running"))["items"]
    assert [build["stage"] for build in builds] == ["browser", "unit"]
    assert builds[0]["targets"] == [target_url(scene.busy.target)]
    everything = (await get(client, "/api/v1/projects/acme/shop/builds"))["items"]
    shared = next(build for build in everything if len(build["targets"]) == 2)
    assert shared["status"] == "success"


async def test_what_a_client_has_already_is_not_sent_again(client: Client, scene: Scene) -> None:
    async with client.get(MAIN) as first:
        etag = first.headers["ETag"]
    async with client.get(MAIN, headers={"If-None-Match": etag}) as second:
        assert second.status == 304
        assert await second.read() == b""
    scene.engine.add(replace(scene.green, subject="Another"))
    async with client.get(MAIN, headers={"If-None-Match": etag}) as third:
        assert third.status == 200
        assert third.headers["ETag"] != etag


@pytest.mark.parametrize(
    ("wanted", "status", "start", "end"),
    [
        ("", 200, 0, None),
        ("bytes=0-9", 206, 0, 10),
        ("bytes=10-", 206, 10, None),
        ("bytes=-7", 206, -7, None),
        ("bytes=5-1000000", 206, 5, None),
        ("bytes=0-1,4-5", 200, 0, None),
        ("lines=1-2", 200, 0, None),
    ],
)
async def test_a_log_is_sent_whole_or_in_ranges(
    client: Client, scene: Scene, wanted: str, status: int, start: int, end: int | None
) -> None:
    headers = {"Range": wanted} if wanted else {}
    async with client.get(f"{build_url(scene.failed)}/log", headers=headers) as reply:
        assert reply.status == status
        assert await reply.read() == PYTEST_LOG[start:end]
        if status == 206:
            first = start % len(PYTEST_LOG)
            last = (end or len(PYTEST_LOG)) - 1
            assert reply.headers["Content-Range"] == f"bytes {first}-{last}/{len(PYTEST_LOG)}"


async def test_a_range_beyond_the_end_is_refused_with_the_length(
    client: Client, scene: Scene
) -> None:
    address = f"{build_url(scene.failed)}/log"
    for wanted in ("bytes=1000000-", "bytes=-0"):
        async with client.get(address, headers={"Range": wanted}) as reply:
            assert reply.status == 416
            assert reply.headers["Content-Range"] == f"bytes */{len(PYTEST_LOG)}"


async def test_a_log_can_be_followed_to_the_end_of_its_build(client: Client, scene: Scene) -> None:
    async with client.get(f"{build_url(scene.live)}/log?follow=true") as reply:
        first = await reply.content.readline()
        assert b"Chromium" in first
        await scene.engine.write_log(scene.live, b"one more\n")
        state = await scene.engine.build(scene.live)
        assert state is not None
        await scene.engine.set_build(replace(state, status=Status.SUCCESS, finished=NOW))
        assert (await reply.read()).endswith(b"one more\n")


async def events(reply: Any) -> list[tuple[str, Any, str]]:
    """Server-sent events up to the end: name, data, id."""
    found = []
    fields: dict[str, str] = {}
    async for raw in reply.content:
        line = raw.decode().rstrip("\n")
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "event" in fields:
            found.append((fields["event"], json.loads(fields["data"]), fields.get("id", "")))
            fields = {}
    return found


async def test_log_events_say_where_to_go_on_and_how_it_ended(client: Client, scene: Scene) -> None:
    address = f"{build_url(scene.failed)}/log/events"
    async with client.get(address) as reply:
        *logs, end = await events(reply)
    assert "".join(data["text"] for _, data, _ in logs) == PYTEST_LOG.decode()
    assert logs[-1][2] == str(len(PYTEST_LOG))
    assert end[:2] == ("end", {"status": "failure"})
    async with client.get(address, headers={"Last-Event-ID": "100"}) as reply:
        first, *_ = await events(reply)
    assert first[1]["text"].startswith(PYTEST_LOG[100:120].decode())
    async with client.get(address, headers={"Last-Event-ID": "x"}) as reply:
        assert reply.status == 400


async def recorded(scene: Scene, files: dict[str, bytes], count: int = 1) -> None:
    """Record results of the failed build, with these files in the output."""
    state = await scene.engine.build(scene.failed)
    assert state is not None
    output = await scene.engine.database.import_tree(files)
    for number in range(count):
        made = CommitId(ObjectId(f"{number:040x}"))
        found = replace(state, output=output, exit_status=number)
        scene.engine.record(Dossier(found, scene.engine.database, commit=made))


async def test_results_of_a_stage_are_listed_newest_first_in_parts(
    client: Client, scene: Scene
) -> None:
    await recorded(scene, {"a": b"1"}, 5)
    seen: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        path = f"/api/v1/projects/acme/shop/stages/unit/results?limit=2&cursor={cursor}"
        part = await get(client, path)
        seen += [item["exit_status"] for item in part["items"]]
        cursor = part["next"]
    assert seen == [4, 3, 2, 1, 0]
    assert (await get(client, "/api/v1/projects/acme/shop/stages/none/results"))["items"] == []
    gone = encode_cursor(("f" * 40, "0", "0"))
    await get(client, f"/api/v1/projects/acme/shop/stages/unit/results?cursor={gone}", 400)


async def test_artefacts_are_listed_and_read_whole_or_in_ranges(
    client: Client, scene: Scene
) -> None:
    odd = b"d/\xff &?#%2F".decode(errors="surrogateescape")
    await recorded(scene, {"a": b"0123456789", odd: b"odd", "d/e/f": b"deep"})
    root = await get(client, f"{build_url(scene.failed)}/artefacts/output")
    by_name = {item["name"]: item for item in root["items"]}
    assert by_name["d"]["kind"] == "directory"
    below = await get(client, by_name["d"]["url"])
    assert [item["name"] for item in below["items"]] == ["e", "\ufffd &?#%2F"]
    for url, content in ((by_name["a"]["url"], b"0123456789"), (below["items"][1]["url"], b"odd")):
        async with client.get(url) as reply:
            assert await reply.read() == content
            assert reply.headers["Content-Disposition"] == "attachment"
            assert "sandbox" in reply.headers["Content-Security-Policy"]
            etag = reply.headers["ETag"]
        async with client.get(url, headers={"If-None-Match": etag}) as reply:
            assert reply.status == 304
    async with client.get(by_name["a"]["url"], headers={"Range": "bytes=-3"}) as reply:
        assert (reply.status, await reply.read()) == (206, b"789")
    async with client.head(by_name["a"]["url"]) as reply:
        assert reply.headers["Content-Length"] == "10"


@pytest.mark.parametrize(
    "path",
    [
        "artefacts/reports", "artefacts/other", "artefacts/output/a", "artefacts/output/none",
        "files/output/d", "files/output/none", "files/output/..%2Fa", "files/output/%00",
    ],
)  # fmt: skip
async def test_what_a_tree_has_not_is_not_found(client: Client, scene: Scene, path: str) -> None:
    await recorded(scene, {"a": b"1", "d/e": b"2"})
    await get(client, f"{build_url(scene.failed)}/{path}", 404)


async def test_commands_reach_the_engine_with_what_they_are_about(
    client: Client, scene: Scene
) -> None:
    target, build, who = scene.red.target, scene.failed, WHO
    at, of = target_url(target), build_url(build)
    commit = "1" * 40
    await post(client, f"{at}/rebuild", {"only_failed": True})
    await post(client, f"{at}/rebuild", {"job": "unit"})
    await post(client, f"{at}/cancel", {"job": "unit"})
    await post(client, f"{at}/confirm")
    await post(client, f"{at}/approve", {"commit": commit})
    for verb in ("rebuild", "cancel", "confirm"):
        await post(client, f"{of}/{verb}")
    await post(client, "/api/v1/projects/acme/shop/pause")
    said = await post(client, "/api/v1/projects/acme/shop/resume")
    assert said == {"text": "resume done"}
    assert scene.engine.commands == [
        Rebuild(who, target, only_failed=True),
        Rebuild(who, target, "unit"),
        Cancel(who, target, "unit"),
        Confirm(who, target),
        Approve(who, target, commit),  # type: ignore[arg-type]  # a test's literal
        Rebuild(who, build),
        Cancel(who, build),
        Confirm(who, build),
        Pause(who, "acme/shop"),
        Resume(who, "acme/shop"),
    ]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NoEntry("there is no such target"), 404),
        (InvalidArgument("nothing is under way"), 409),
        (Disconnected("gone"), 503),
    ],
)
async def test_what_the_engine_refuses_is_a_problem_that_says_why(
    client: Client, scene: Scene, error: Any, status: int
) -> None:
    scene.engine.refusal = error
    found = await post(client, f"{MAIN}/cancel", status=status)
    assert found["status"] == status
    assert status == 503 or found["detail"] == str(error)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[1]", "application/json", 400),
        (b'"x"', "application/json", 400),
        (b"\xff", "application/json", 400),
        (b'{"job": 7}', "application/json", 400),
        (b'{"jobs": "x"}', "application/json", 400),
        (b"[" * 50_000, "application/json", 400),
        (b'{"job": "' + b"x" * 100_000 + b'"}', "application/json", 413),
        (b"job=x", "application/x-www-form-urlencoded", 415),
    ],
)
async def test_a_bad_body_is_refused_and_nothing_is_done(
    client: Client, scene: Scene, body: bytes, kind: str, status: int
) -> None:
    async with client.post(f"{MAIN}/rebuild", data=body, headers={"Content-Type": kind}) as reply:
        assert reply.status == status, await reply.text()
        assert reply.content_type == "application/problem+json"
    assert scene.engine.commands == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/targets?limit=0", 400),
        ("/api/v1/targets?limit=x", 400),
        ("/api/v1/targets?cursor=%F0%9F%98%80", 400),
        ("/api/v1/targets?cursor=bnVsbA", 400),
        ("/api/v1/targets?unknown=1", 400),
        ("/api/v1/targets?limit=1&limit=2", 400),
        ("/api/v1/nothing", 404),
        ("/api/v1/projects/acme/nothing", 404),
        ("/api/v1/projects/acme/shop/targets/heads/nothing", 404),
        ("/api/v1/projects/acme/shop/targets/flow/nothing", 404),
        ("/api/v1/projects/acme/shop/builds/unit/0/0", 404),
    ],
)
async def test_what_makes_no_sense_is_refused_with_a_problem(
    client: Client, path: str, status: int
) -> None:
    assert (await get(client, path, status))["detail"]


async def test_another_method_is_refused_with_those_that_there_are(client: Client) -> None:
    async with client.delete(MAIN) as reply:
        assert reply.status == 405
        assert "GET" in reply.headers["Allow"]
        assert reply.content_type == "application/problem+json"


async def test_where_nothing_can_be_done_commands_are_not_there(scene: Scene) -> None:
    accounts = TokenAccounts()
    headers = accounts.add("good", WHO)
    app = create_app(scene.engine, access=Access(lambda: everything(WHO), accounts))
    async with TestClient(TestServer(app), headers=headers) as client:
        await post(client, f"{MAIN}/rebuild", status=404)


async def test_a_token_may_do_what_it_is_for_and_no_more(scene: Scene) -> None:
    accounts = TokenAccounts()
    reading = accounts.add("reading", WHO, Role.READ)
    elsewhere = accounts.add("elsewhere", WHO, Role.ADMIN, "acme/storefront")
    access = Access(lambda: everything(WHO), accounts)
    app = create_app(scene.engine, access=access, controls=scene.engine)
    async with TestClient(TestServer(app)) as client:
        for headers, status in ((reading, 403), (elsewhere, 404), ({}, 401)):
            async with client.post(f"{MAIN}/rebuild", headers=headers) as reply:
                assert reply.status == status
                assert reply.content_type == "application/problem+json"
        async with client.get("/api/v1/projects", headers=elsewhere) as reply:
            assert [each["id"] for each in (await reply.json())["items"]] == ["acme/storefront"]
        bad = {"Authorization": "Bearer bad"}
        async with client.get("/api/v1/projects", headers=bad) as reply:
            assert reply.status == 401
            assert reply.headers["WWW-Authenticate"].startswith("Bearer")
    assert scene.engine.commands == []


async def test_health_and_version_are_for_everybody(scene: Scene) -> None:
    trouble = ""
    app = create_app(scene.engine, trouble=lambda: trouble)
    async with TestClient(TestServer(app)) as client:
        assert await get(client, "/api/v1/health") == {"healthy": True}
        assert (await get(client, "/api/v1/version"))["api"] == "v1"
        trouble = "the database at a secret address is away"
        assert "secret" not in (await get(client, "/api/v1/health", 503))["detail"]


async def test_the_description_is_a_page_and_a_document(client: Client) -> None:
    document = await get(client, "/api/v1/openapi.json")
    assert document["openapi"].startswith("3.1")
    ids = [each["operationId"] for path in document["paths"].values() for each in path.values()]
    assert len(ids) == len(set(ids)) > 20
    schemes = document["components"]["securitySchemes"]
    assert client.app is not None
    host = client.make_url("/").authority
    assert schemes["session"]["name"] == client.app[KEEPER].cookie_name(host)
    assert document["paths"]["/targets"]["get"]["security"] == [{}, {"token": []}, {"session": []}]
    acts = [path["post"]["security"] for path in document["paths"].values() if "post" in path]
    assert all({"session": [], "csrf": []} in ways for ways in acts)
    async with client.get("/api/v1") as page:
        text = (await page.text()).replace("<wbr>", "")
    assert all(path in text for path in document["paths"])
