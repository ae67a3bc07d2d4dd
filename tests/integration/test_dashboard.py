"""The dashboard over HTTP: what pages say, what they never hold, and how streams live and end."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from html import escape
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from datakit_ci.archive import Dossier
from datakit_ci.dashboard import create_app, logpage
from datakit_ci.dashboard.rendering import path_of
from datakit_ci.explanation import Explanation, Reason, ReasonKind, Verdict
from datakit_ci.occasion import Occasion
from datakit_ci.state import BuildId, BuildState, GraphNode, JobState, Status, TargetState
from datakit_ci.target import Target
from datakit_ci.verdict import UNAPPROVED
from tests.support.ci_scene import (
    NOW,
    PYTEST_LOG,
    Scene,
    build_id,
    fill,
    matrix_graph,
    pipeline,
    target_state,
)
from tests.support.fake_engine import FakeEngine
from tests.support.html import Page, read_page

Client = TestClient[web.Request, web.Application]

HOSTILE = "\"><script>alert(1)</script>'><img src=x onerror=alert(1)>{{7*7}}\u202e"


@pytest.fixture
def scene() -> Scene:
    return fill(FakeEngine())


@pytest.fixture
async def client(scene: Scene) -> AsyncIterator[Client]:
    server = TestServer(create_app(scene.engine, title="Acme CI", now=lambda: NOW))
    async with TestClient(server) as client:
        yield client


def address(build: BuildId) -> str:
    return path_of("build", build.path)


async def look(client: Client, path: str, status: int = 200) -> Page:
    """Fetch a page and check what holds for every page."""
    async with client.get(path) as response:
        assert response.status == status, await response.text()
        page = read_page(await response.text())
    assert page.broken == []
    assert page.scripted == []
    assert sorted(page.ids) == sorted(set(page.ids))
    assert all(link.startswith(("/", "?", "#")) and link[:2] != "//" for link in page.links)
    return page


async def test_the_overview_tells_all_without_scripts(client: Client, scene: Scene) -> None:
    page = await look(client, "/")
    assert "2 of 7 targets need attention" in page.words
    for words in (
        "acme/shop",
        "acme/storefront",
        "rounding",
        "#318",
        "v2.4.0",
        "trial/stages",
        "2 failed, 211 passed: exit status 1",
        "NameError",
        "1 job blocked by that",
    ):
        assert words in page.words
    assert "/acme/shop/ref/heads/rounding" in page.links
    assert "/acme/shop/pr/318" in page.links
    assert address(scene.failed) in page.links


async def test_running_builds_say_for_how_long(client: Client) -> None:
    page = await look(client, "/")
    assert "browser 53 s acme/shop #318" in page.words


async def test_filters_and_search_work_without_scripts(client: Client) -> None:
    page = await look(client, "/?state=passing&q=shop")
    assert "v2.4.0" in page.words
    assert "#318" not in page.words.partition("Branches, tags")[2]
    assert "Nothing matches" in (await look(client, "/?q=no-such-thing")).words


async def test_an_unknown_filter_is_refused_and_a_huge_search_is_cut(client: Client) -> None:
    page = await look(client, "/?state=purple", 400)
    assert "Choose failing, running or passing" in page.words
    await look(client, "/?q=" + "x" * 3000)


async def test_without_targets_the_overview_says_what_will_come() -> None:
    async with TestClient(TestServer(create_app(FakeEngine()))) as client:
        page = await look(client, "/")
        assert "Nothing to test yet" in page.words
        assert "appear here by themselves" in page.words


async def test_a_project_and_a_commit_have_pages(client: Client, scene: Scene) -> None:
    page = await look(client, "/acme/storefront")
    assert "Use the smaller picture" in page.words
    assert "v2.4.0" not in page.words
    page = await look(client, f"/acme/shop/commit/{scene.red.head}")
    assert "1 target is at this commit" in page.words
    await look(client, "/acme/nothing", 404)
    await look(client, f"/acme/shop/commit/{'0' * 40}", 404)


async def test_a_target_shows_jobs_graph_and_timeline(client: Client, scene: Scene) -> None:
    page = await look(client, "/acme/shop/ref/heads/rounding")
    for words in (
        "rounding failed",
        "5 of 7 jobs passed, 1 failed, 1 blocked",
        "Round half to even",
        "Fourth Author",
        str(scene.red.head),
        "Pipeline",
        "Jobs",
        "Timeline",
        "blocked by unit",
        "image: blocked",
        "unit: failed",
        "41 s",
    ):
        assert words in page.words
    assert page.links.count(address(scene.failed)) == 4
    assert address(scene.failed) + "#end" in page.links


async def test_a_large_matrix_is_one_node_until_it_is_asked_for(
    client: Client, scene: Scene
) -> None:
    large = Target("acme/shop", "heads", "large")
    graph = matrix_graph("acme/shop")
    scene.engine.add(target_state(large, graph, ("Many", "First Author", 1), NOW))
    folded = await look(client, "/acme/shop/ref/heads/large")
    assert "unit \u00d7 47: passed, 47 passed; show each" in folded.words
    assert "?expand=unit" in folded.links
    opened = await look(client, "/acme/shop/ref/heads/large?expand=unit")
    assert "\u00d7 47" not in opened.words
    assert "unit debian 46: failed" in opened.words
    assert "?expand=unit" not in opened.links


async def test_a_timeline_tells_the_builds_of_a_matrix_apart(client: Client, scene: Scene) -> None:
    graph = tuple(
        replace(node, label='unit(OS="debian")') if node.build == scene.failed else node
        for node in scene.red.graph
    )
    scene.engine.add(replace(scene.red, graph=graph))
    page = await look(client, "/acme/shop/ref/heads/rounding")
    assert "unit debian: failed" in page.words.partition("Timeline")[2]


async def test_the_red_job_comes_first(client: Client) -> None:
    page = await look(client, "/acme/shop/ref/heads/rounding")
    jobs = page.words.partition("Details Took")[2]
    assert jobs.index("failed unit") < jobs.index("passed lint")


async def test_a_broken_pipeline_is_told_where_its_jobs_would_be(client: Client) -> None:
    page = await look(client, "/acme/storefront/ref/heads/trial/stages")
    assert "The pipeline has a problem" in page.words
    assert "ci/pipeline.py:14: NameError" in page.words


async def test_a_target_without_jobs_says_so(client: Client, scene: Scene) -> None:
    scene.engine.add(TargetState(Target("acme/shop", "heads", "new")))
    page = await look(client, "/acme/shop/ref/heads/new")
    assert "No jobs yet" in page.words


async def test_a_build_shows_its_facts_and_its_log(client: Client, scene: Scene) -> None:
    page = await look(client, address(scene.failed))
    build = await scene.engine.build(scene.failed)
    assert build is not None
    for words in (
        "unit failed after 41 s",
        "pytest -q --junitxml=report.xml",
        str(build.input),
        "Exit status 1",
        "local",
        "rounding",
        "AssertionError",
        "exit status 1",
    ):
        assert words in page.words
    assert page.ids.count("L27") == 1
    assert "#L27" in page.links


async def test_a_build_says_why_it_ran(client: Client, scene: Scene) -> None:
    before = build_id("acme/shop", "unit", "before")
    reasons = (
        Reason(ReasonKind.OBSERVATION, "src/<a>.py changed from 12ab to 34cd"),
        Reason(ReasonKind.OBSERVATION, "glob docs/*.md: + docs/new.md"),
    )
    told = Explanation("unit", Verdict.RAN, reasons, scene.failed, before)
    scene.engine.whys[scene.failed] = told
    page = await look(client, address(scene.failed))
    assert "Why src/<a>.py changed from 12ab to 34cd glob docs/*.md: + docs/new.md" in page.words
    assert any(address(before) in link for link in page.links)


async def test_a_waiting_build_without_log_is_no_surprise(client: Client, scene: Scene) -> None:
    waiting = build_id("acme/shop", "wheel", scene.busy.target.path)
    page = await look(client, address(waiting))
    assert "waiting for pool cpu (2 of 2 busy)" in page.words
    assert "The log begins when the build does." in page.words
    assert "Not started yet" in page.words
    assert "Still running" not in page.words


async def test_a_waiting_build_says_why_it_waits_once(client: Client, scene: Scene) -> None:
    waiting = build_id("acme/shop", "wheel", scene.busy.target.path)
    reason = "waiting for pool cpu (2 of 2 busy)"
    told = Explanation("wheel", Verdict.WAITS, (Reason(ReasonKind.POOL, reason),), waiting)
    scene.engine.whys[waiting] = told
    assert (await look(client, address(waiting))).words.count(reason) == 1


async def test_a_log_without_errors_offers_no_way_to_the_next_one(
    client: Client, scene: Scene
) -> None:
    async def offers(build: BuildId) -> bool:
        async with client.get(address(build)) as response:
            button = (await response.text()).partition('id="log-error"')[2].partition(">")[0]
            return "data-script" in button

    lint = scene.green.graph[1].build
    assert lint is not None
    assert not await offers(lint)
    assert await offers(scene.failed)
    assert await offers(scene.live)  # nobody knows what it will print


async def test_a_pull_request_is_called_by_its_title(client: Client, scene: Scene) -> None:
    scene.engine.add(replace(scene.busy, title="Delivery dates, at last"))
    page = await look(client, "/acme/shop/pr/318")
    assert "Delivery dates, at last #318 running" in page.words
    assert "Commit Show delivery dates in the basket" in page.words
    listed = (await look(client, "/pr?q=last")).words
    assert "Delivery dates, at last" in listed
    assert "Show delivery dates" not in listed


async def test_what_waits_for_approval_is_not_drawn_as_one_lonely_node(
    client: Client, scene: Scene
) -> None:
    reason = f"{UNAPPROVED}: a pull request of mallory"
    scene.engine.add(
        replace(
            scene.busy,
            jobs=(JobState("unit", Status.WAITING, reason),),
            graph=(GraphNode("p", "pending", "pending", Status.WAITING, reason),),
        )
    )
    page = await look(client, "/acme/shop/pr/318")
    assert "Waits for approval by a person: a pull request of mallory" in page.words
    assert "pipeline" not in page.ids


async def test_a_project_is_headed_by_its_name(client: Client) -> None:
    page = await look(client, "/acme/shop")
    assert "Project acme/shop" in page.words
    assert "1 of 4 failing" in page.words
    for kind in ("pr", "branch", "tag"):
        assert f"/acme/shop/{kind}" in page.links


async def test_cells_of_a_matrix_are_told_apart(client: Client, scene: Scene) -> None:
    build = await scene.engine.build(scene.failed)
    assert build is not None
    occasion = Occasion(identity={"parameters": {"DB": "sqlite"}})
    made = replace(build, occasion=occasion)
    scene.engine.record(Dossier(made, scene.engine.database))
    assert "unit sqlite failed" in (await look(client, address(scene.failed))).words
    assert "unit sqlite" in (await look(client, "/results/acme/shop/unit")).words
    assert "unit sqlite" in (await look(client, f"/acme/shop/commit/{scene.red.head}")).words


async def test_a_build_that_ended_in_silence_says_so(client: Client, scene: Scene) -> None:
    silent = BuildState(build_id("acme/shop", "silent"), Status.SUCCESS)
    scene.engine.add_build(silent)
    assert "This build wrote nothing" in (await look(client, address(silent.id))).words


async def test_a_long_log_is_paged(client: Client, scene: Scene) -> None:
    long = BuildState(build_id("acme/shop", "long"), Status.SUCCESS)
    scene.engine.add_build(long, b"".join(b"line %d\n" % n for n in range(1, 3_001)))
    page = await look(client, address(long.id))
    assert page.tags.count("div") < logpage.PAGE_LINES + 100
    assert "L3000" in page.ids
    assert "L2000" not in page.ids
    assert "?from=1001" in page.links
    page = await look(client, address(long.id) + "?from=1001")
    assert "Lines 1,001 to 2,000." in page.words
    assert "?from=2001" in page.links
    assert "This log has no line" in (await look(client, address(long.id) + "?from=99999")).words
    await look(client, address(long.id) + "?from=x", 400)


async def test_the_raw_log_is_byte_for_byte_and_cannot_run(client: Client, scene: Scene) -> None:
    async with client.get(address(scene.failed) + "/log.txt") as response:
        assert await response.read() == PYTEST_LOG
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert "sandbox" in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_raw_log_can_be_followed_to_its_end(client: Client, scene: Scene) -> None:
    state = await scene.engine.build(scene.live)
    assert state is not None
    async with client.get(address(scene.live) + "/log.txt?follow") as response:
        assert (await response.content.readline()).startswith(b"starting")
        await scene.engine.write_log(scene.live, b"the last line\n")
        await scene.engine.set_build(replace(state, status=Status.SUCCESS))
        assert (await response.read()).endswith(b"the last line\n")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nope", 404),
        ("/a/b/c", 404),
        ("/acme/shop/ref/heads/none", 404),
        ("/acme/shop/pr/9", 404),
        ("/acme/shop/pr/x", 404),
        ("/acme/shop/ref/notes/x", 404),
        ("/static/x/none.css", 404),
        ("/static/x/../../app.py", 404),
        ("/static/x/%2e%2e/templates/base.html", 404),
        (f"/build/a/b/c/{'0' * 64}/{'0' * 64}", 404),
        (f"/build/a/b/c/{'0' * 64}/{'0' * 64}/log.txt", 404),
        (f"/build/a/b/c/{'0' * 64}/{'0' * 64}/log/events", 404),
        (f"/build/a/b/c/{'Z' * 64}/x", 404),
        ("/%00", 404),
        ("/%ff/%fe", 404),
    ],
)
async def test_what_is_not_there_is_a_page_too(client: Client, path: str, status: int) -> None:
    page = await look(client, path, status)
    assert "To the overview" in page.words


async def test_other_methods_are_refused(client: Client) -> None:
    async with client.post("/", data=b"x") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET,HEAD"
        assert "Method Not Allowed" in await response.text()


async def test_a_bug_is_logged_and_not_shown(
    client: Client, scene: Scene, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode() -> None:
        raise RuntimeError("the secret is 42")

    monkeypatch.setattr(scene.engine, "targets", explode)
    with caplog.at_level(logging.ERROR):
        page = await look(client, "/", 500)
    assert "secret" not in page.text
    assert "Traceback" not in page.text
    assert "the secret is 42" in caplog.text


@pytest.mark.parametrize("path", ["/", "/nope", "/events", "/static/x/app.css"])
async def test_every_answer_carries_the_headers(client: Client, path: str) -> None:
    async with client.get(path) as response:
        policy = response.headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "same-origin"
        assert "Python" not in response.headers["Server"]


async def test_static_files_are_kept_for_ever_under_their_digest(client: Client) -> None:
    page = await look(client, "/")
    (style,) = (link for link in page.links if link.endswith("app.css"))
    async with client.get(style, headers={"Accept-Encoding": "identity"}) as response:
        assert "immutable" in response.headers["Cache-Control"]
        assert "Content-Encoding" not in response.headers
        tag, body = response.headers["ETag"], await response.read()
    async with client.get(style, headers={"If-None-Match": tag}) as response:
        assert response.status == 304
        assert await response.read() == b""
    async with client.get(style, auto_decompress=False) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(await response.read()) == body
    async with client.get("/static/0123456789ab/app.css") as response:
        assert response.headers["Cache-Control"] == "no-cache"


async def test_everything_that_pages_refer_to_exists(client: Client, scene: Scene) -> None:
    seen: set[str] = set()
    for start in ("/", "/acme/shop", scene.red.target.path, address(scene.failed)):
        seen.update((await look(client, "/" + start.lstrip("/"))).links)
    for link in seen:
        if link.startswith("/"):
            async with client.get(link) as response:
                assert response.status == 200, link


async def test_hostile_names_stay_text(client: Client, scene: Scene) -> None:
    project = "acme/shop"
    target = Target(project, "heads", HOSTILE)
    graph = pipeline(project, HOSTILE, {HOSTILE: (Status.FAILURE, HOSTILE, ())})
    state = replace(target_state(target, graph, (HOSTILE, HOSTILE, 1), NOW), problem=HOSTILE)
    build = graph[1].build
    assert build is not None
    scene.engine.add(state)
    scene.engine.add_build(
        BuildState(build, Status.FAILURE, HOSTILE, HOSTILE, details={HOSTILE: HOSTILE}),
        HOSTILE.encode(),
    )
    for path in (
        "/",
        path_of(target.path),
        address(build),
        "/?q=" + quote(HOSTILE),
    ):
        page = await look(client, path)
        assert "img" not in page.tags
        assert "\u202e" not in page.text
        assert "{{7*7}}" in page.text or "q=" in path
        assert page.tags.count("script") == 2


async def test_a_name_that_is_not_utf_8_has_an_address(client: Client, scene: Scene) -> None:
    target = Target("acme/shop", "heads", "na\udcefve/%41?#")
    scene.engine.add(TargetState(target))
    assert path_of(target.path) == "/acme/shop/ref/heads/na%EFve/%2541%3F%23"
    page = await look(client, path_of(target.path))
    assert "na\\xefve/%41?#" in page.words


@dataclass
class Event:
    name: str
    data: object
    id: str


async def events(response: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    """The events of a stream, as browsers read them (WHATWG HTML 9.2.6)."""
    fields: dict[str, str] = {}
    async for raw in response.content:
        line = raw.decode().rstrip("\n")
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "event" in fields:
            yield Event(fields["event"], json.loads(fields["data"]), fields.get("id", ""))
            fields = {}
        else:
            fields = {}


async def test_changes_are_told_as_they_happen(client: Client, scene: Scene) -> None:
    async with client.get("/events") as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        stream = events(response)
        first = await anext(stream)
        assert first.name == "targets"
        assert isinstance(first.data, list)
        assert "/acme/shop/pr/318" in first.data
        await scene.engine.set_target(replace(scene.green, subject="changed"))
        assert (await anext(stream)).data == ["/acme/shop/ref/heads/main"]


async def test_many_changes_are_told_as_one(client: Client, scene: Scene) -> None:
    scene.engine.add(*(TargetState(Target("acme/shop", "heads", f"b{n}")) for n in range(60)))
    async with client.get("/events") as response:
        assert (await anext(events(response))).data == ["*"]


async def test_a_log_comes_live_from_its_first_byte_to_its_end(
    client: Client, scene: Scene
) -> None:
    state = await scene.engine.build(scene.live)
    assert state is not None
    async with client.get(address(scene.live) + "/log/events") as response:
        stream = events(response)
        first = await anext(stream)
        assert isinstance(first.data, dict)
        assert 'id="L1"' in first.data["lines"]
        await scene.engine.write_log(scene.live, b"<b>half")
        second = await anext(stream)
        assert second.id == first.id
        assert isinstance(second.data, dict)
        assert escape("<b>half") in second.data["partial"]
        await scene.engine.write_log(scene.live, b" a line\n")
        third = await anext(stream)
        assert isinstance(third.data, dict)
        assert escape("<b>half a line") in third.data["lines"]
        assert third.data["partial"] == ""
        await scene.engine.set_build(replace(state, status=Status.SUCCESS))
        assert (await anext(stream)).name == "end"
        assert [event async for event in stream] == []


async def test_who_follows_a_build_that_waits_is_told_why_until_its_log_begins(
    client: Client, scene: Scene
) -> None:
    state = await scene.engine.build(scene.live)
    assert state is not None
    line = "waiting for pool cpu (2 of 2 busy)"
    waiting = replace(state, id=build_id("acme/shop", "late"), status=Status.WAITING)
    scene.engine.add_build(replace(waiting, reason=f"{line}, 2nd in line"))
    async with client.get(address(waiting.id) + "/log/events") as response:
        stream = events(response)
        assert await anext(stream) == Event("waits", f"{line}, 2nd in line", "")
        await scene.engine.set_build(replace(waiting, reason=line))
        assert await anext(stream) == Event("waits", line, "")
        await scene.engine.set_build(replace(waiting, status=Status.RUNNING))
        await scene.engine.write_log(waiting.id, b"first line\n")
        first = await anext(stream)
        assert (first.name, first.id) == ("lines", "11.2.")
        assert isinstance(first.data, dict)
        assert 'id="L1"' in first.data["lines"]


async def test_a_log_resumes_after_the_last_line_that_arrived(client: Client, scene: Scene) -> None:
    path = address(scene.failed) + "/log/events"
    async with client.get(path) as response:
        whole = await anext(events(response))
    async with client.get(
        path, headers={"Last-Event-ID": f"{PYTEST_LOG.index(b'platform')}.2."}
    ) as r:
        rest = await anext(events(r))
    assert isinstance(whole.data, dict)
    assert isinstance(rest.data, dict)
    assert whole.data["lines"].endswith(rest.data["lines"])
    assert 'id="L2"' in rest.data["lines"]
    assert 'id="L1"' not in rest.data["lines"]
    assert rest.id == whole.id


async def test_a_page_continues_where_the_server_left_it(client: Client, scene: Scene) -> None:
    async with client.get(address(scene.live)) as response:
        _, _, tail = (await response.text()).partition('data-end="')
    cursor = tail.partition('"')[0]
    await scene.engine.write_log(scene.live, b"new line\n")
    async with client.get(address(scene.live) + "/log/events", params={"from": cursor}) as response:
        event = await anext(events(response))
    assert isinstance(event.data, dict)
    assert event.data["lines"].count("<div") == 1
    assert "new line" in event.data["lines"]


async def test_a_position_that_is_none_of_ours_is_refused(client: Client, scene: Scene) -> None:
    for given in ("x", "1.1.<script>", "-1.1."):
        headers = {"Last-Event-ID": given}
        async with client.get(address(scene.live) + "/log/events", headers=headers) as response:
            assert response.status == 400
            assert "<script>alert" not in await response.text()


async def test_readers_that_leave_are_let_go(client: Client, scene: Scene) -> None:
    async with client.get("/events") as response:
        await anext(events(response))
        assert scene.engine.readers == 1
    await scene.engine.set_target(replace(scene.green, subject="one"))
    for number in range(1000):
        if not scene.engine.readers:
            break
        await scene.engine.set_target(replace(scene.green, subject=str(number)))
        await asyncio.sleep(0.01)
    assert scene.engine.readers == 0


async def test_stopping_the_server_does_not_wait_for_open_streams(scene: Scene) -> None:
    runner = web.AppRunner(create_app(scene.engine))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    async with aiohttp.ClientSession(f"http://{host}:{port}") as session:
        changes = await session.get("/events")
        log = await session.get(address(scene.live) + "/log/events")
        assert (await anext(events(changes))).name == "targets"
        assert (await anext(events(log))).name == "lines"
        async with asyncio.timeout(5):
            await runner.cleanup()
        changes.close()
        log.close()
    assert scene.engine.readers == 0
