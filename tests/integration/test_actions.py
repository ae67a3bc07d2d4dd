"""Forms that act: what they say to the engine, where they lead, and when they are offered."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from datakit_ci.control import Approve, Cancel, Confirm, Pause, Rebuild, Resume
from datakit_ci.dashboard import create_app
from datakit_ci.dashboard.app import Access
from datakit_ci.dashboard.rendering import path_of
from datakit_ci.dashboard.visitor import CSRF_FIELD
from datakit_ci.rulings import UNCONFIRMED, Ruling
from datakit_ci.state import JobState, Status, TargetState
from datakit_ci.target import Target
from datakit_ci.verdict import UNAPPROVED
from datakit_core.errors import Disconnected, InvalidArgument
from tests.support.ci_scene import NOW, Scene, commit, fill
from tests.support.fake_engine import FakeEngine
from tests.support.html import Page, read_page
from tests.support.visitors import everything, sign_in

Client = TestClient[web.Request, web.Application]

WHO = "github:ann"
RED = "/acme/shop/ref/heads/rounding"


@pytest.fixture
def scene() -> Scene:
    return fill(FakeEngine())


@pytest.fixture
async def client(scene: Scene) -> AsyncIterator[Client]:
    access = Access(lambda: everything(WHO))
    app = create_app(scene.engine, now=lambda: NOW, access=access, controls=scene.engine)
    async with TestClient(TestServer(app)) as client:
        await sign_in(client, "ann")
        yield client


async def look(client: Client, path: str) -> Page:
    async with client.get(path) as reply:
        assert reply.status == 200
        return read_page(await reply.text())


async def csrf(client: Client) -> str:
    """What the forms of a page carry."""
    async with client.get(RED) as reply:
        found = re.search(rf'name="{CSRF_FIELD}" value="([0-9a-f]+)"', await reply.text())
    assert found is not None
    return found[1]


async def send(client: Client, path: str, **fields: str) -> Page:
    """Send a form as a browser does, and follow it to the page that says what came of it."""
    fields[CSRF_FIELD] = await csrf(client)
    async with client.post(path, data=fields) as reply:
        assert [each.status for each in reply.history] == [303]
        assert reply.status == 200
        return read_page(await reply.text())


async def test_what_failed_is_rebuilt_and_the_page_says_so_once(
    client: Client, scene: Scene
) -> None:
    assert "Rebuild what failed" in (await look(client, RED)).words
    page = await send(client, f"{RED}/rebuild", only_failed="yes")
    assert scene.engine.commands == [Rebuild(WHO, scene.red.target, only_failed=True)]
    assert "Rebuild done." in page.words
    assert "Rebuild done." not in (await look(client, RED)).words


async def test_one_job_of_a_target_is_rebuilt(client: Client, scene: Scene) -> None:
    await send(client, f"{RED}/rebuild", job="unit")
    assert scene.engine.commands == [Rebuild(WHO, scene.red.target, "unit")]


async def test_a_build_is_rebuilt_cancelled_and_confirmed(client: Client, scene: Scene) -> None:
    for verb, kind in (("rebuild", Rebuild), ("cancel", Cancel), ("confirm", Confirm)):
        await send(client, f"{path_of('build', scene.failed.path)}/{verb}")
        assert scene.engine.commands.pop() == kind(WHO, scene.failed)


async def test_a_dangerous_build_says_what_it_will_do_before_it_is_confirmed(
    client: Client, scene: Scene
) -> None:
    build = await scene.engine.build(scene.live)
    assert build is not None
    held = replace(build, status=Status.WAITING, reason=UNCONFIRMED, started=None)
    await scene.engine.set_build(held)
    page = await look(client, path_of("build", scene.live.path))
    assert "This stage is marked as dangerous" in page.words
    assert held.command in page.words
    page = await look(client, path_of(scene.busy.target.path))
    assert "This will run, once: browser" in page.words
    assert held.command in page.words


async def test_a_pull_request_is_approved_at_the_commit_that_the_page_shows(
    client: Client, scene: Scene
) -> None:
    target = Target("acme/shop", "pr", "7")
    job = JobState("unit", Status.WAITING, f"{UNAPPROVED}: a pull request of eve")
    scene.engine.add(TargetState(target, commit("seen"), jobs=(job,)))
    assert f"Approve {commit('seen')[:7]}" in (await look(client, "/acme/shop/pr/7")).words
    await send(client, "/acme/shop/pr/7/approve", commit=commit("seen"))
    assert scene.engine.commands == [Approve(WHO, target, commit("seen"))]
    form = {CSRF_FIELD: await csrf(client)}
    async with client.post("/acme/shop/pr/7/approve", data=form) as reply:
        assert reply.status == 400


async def test_a_project_is_paused_and_resumed(client: Client, scene: Scene) -> None:
    await send(client, "/acme/shop/pause")
    scene.engine.paused_projects["acme/shop"] = Ruling("First Author", NOW)
    page = await send(client, "/acme/shop/resume")
    assert scene.engine.commands == [Pause(WHO, "acme/shop"), Resume(WHO, "acme/shop")]
    assert "Paused by First Author" in page.words


@pytest.mark.parametrize("error", [InvalidArgument("nothing is under way"), Disconnected("gone")])
async def test_what_cannot_be_done_is_said_on_the_page(
    client: Client, scene: Scene, error: InvalidArgument | Disconnected
) -> None:
    scene.engine.refusal = error
    page = await send(client, f"{RED}/cancel")
    assert "Not done: " in page.words


async def test_a_script_that_fetches_the_page_does_not_take_the_sentence(
    client: Client,
) -> None:
    form = {CSRF_FIELD: await csrf(client)}
    async with client.post(f"{RED}/cancel", data=form, allow_redirects=False) as reply:
        assert reply.headers["Location"] == RED
    async with client.get(RED, headers={"Sec-Fetch-Mode": "cors"}) as reply:
        assert "Cancel done." not in await reply.text()
    assert "Cancel done." in (await look(client, RED)).words


async def test_a_cookie_that_is_none_of_ours_says_nothing(client: Client) -> None:
    for value in ("x", "bnVsbA==", "W10=", "%ff"):
        async with client.get(RED, cookies={"datakit-said": value}) as reply:
            assert reply.status == 200


async def test_a_name_of_any_bytes_can_be_acted_on(client: Client, scene: Scene) -> None:
    target = Target("acme/shop", "heads", b"a\xff/rebuild".decode(errors="surrogateescape"))
    scene.engine.add(TargetState(target))
    await send(client, f"{path_of(target.path)}/cancel")
    assert scene.engine.commands == [Cancel(WHO, target)]


async def test_a_form_is_sent_and_not_got(client: Client) -> None:
    for path in (f"{RED}/nothing", "/acme/shop/erase"):
        async with client.post(path) as reply:
            assert reply.status in (404, 405)
    async with client.get("/acme/shop/pause") as reply:
        assert reply.status in (404, 405)


async def test_who_may_only_look_sees_no_forms_and_a_form_needs_its_token(
    client: Client, scene: Scene
) -> None:
    async with client.post(f"{RED}/cancel") as reply:
        assert reply.status == 403
    await sign_in(client, "eve")
    for path in (RED, path_of("build", scene.failed.path), "/acme/shop"):
        async with client.get(path) as reply:
            assert "/rebuild" not in await reply.text()
    assert scene.engine.commands == []


async def test_where_nothing_can_be_done_there_are_no_forms(scene: Scene) -> None:
    app = create_app(scene.engine, now=lambda: NOW, access=Access(lambda: everything(WHO)))
    async with TestClient(TestServer(app)) as client:
        await sign_in(client, "ann")
        for path in (RED, path_of("build", scene.failed.path), "/acme/shop"):
            async with client.get(path) as reply:
                assert "/rebuild" not in await reply.text()
