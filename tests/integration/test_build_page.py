"""A build's page and those below it: tests, history, what it looked at, and comparisons."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from datakit_ci.acl import Rights, Rules, everyone
from datakit_ci.archive import Dossier
from datakit_ci.dashboard import create_app
from datakit_ci.dashboard.app import Access
from datakit_ci.dashboard.rendering import path_of
from datakit_ci.explanation import Explanation, Reason, ReasonKind, Verdict
from datakit_ci.question import Question, QuestionKind
from datakit_ci.state import BuildId, BuildState, Status
from datakit_ci.trace import Observation
from tests.support.artefacts import add_result
from tests.support.ci_scene import NOW, build_id, fill
from tests.support.fake_engine import FakeEngine
from tests.support.html import Page, read_page

Client = TestClient[web.Request, web.Application]

HOSTILE = "</pre><script>alert(1)</script>"
LONG = quote(HOSTILE)


def junit(*failing: str, passing: Iterable[str] = ()) -> bytes:
    """A JUnit file with these tests."""
    bad = "".join(
        f'<testcase classname="suite" name="{name}" time="1.5"><failure message="assert {name}">'
        f"trace of {name} &lt;/pre&gt;&lt;script&gt;</failure></testcase>"
        for name in failing
    )
    good = "".join(f'<testcase classname="suite" name="{name}" time="0.5"/>' for name in passing)
    return f"<testsuite>{good}{bad}</testsuite>".encode()


def observation(path: str, content: str) -> Observation:
    return Observation(Question(QuestionKind.FILE, path), ["F", content * 40])


@dataclass
class Story:
    """A stage that passed, then failed twice, each time on other input."""

    engine: FakeEngine
    green: Dossier
    red: Dossier
    now: Dossier


def name(salt: str) -> BuildId:
    return build_id("acme/shop", "unit", salt)


@pytest.fixture
async def story() -> Story:
    engine = fill(FakeEngine()).engine
    green = await add_result(
        engine,
        name("green"),
        given={"a.py": b"one\n", "same": b"s"},
        made={"out": b"1\n"},
        reports={"r.xml": junit(passing=["a", "b", "c"])},
        log=b"hello in 1.5s\nall good\n",
        finished=NOW - timedelta(hours=3),
        seen=(observation("a.py", "1"), observation("same", "5")),
    )
    red = await add_result(
        engine,
        name("red"),
        given={"a.py": b"two\n", "same": b"s"},
        reports={"r.xml": junit("b", passing=["a", "c"])},
        failed="1 failed",
        log=b"hello in 2 s\nassert b\n",
        finished=NOW - timedelta(hours=2),
    )
    now = await add_result(
        engine,
        name("now"),
        given={"a.py": b"three\n", "same": b"s"},
        reports={"r.xml": junit("a", "b", passing=["c"]), "bad.xml": b"<testsuite"},
        failed="2 failed",
        log=b"hello in 3 s\nassert a\nassert b\n",
        finished=NOW - timedelta(hours=1),
        seen=(observation("a.py", "3"), observation("same", "5")),
    )
    reason = Reason(ReasonKind.OBSERVATION, "a.py changed from 1111111 to 3333333")
    engine.whys[now.state.id] = Explanation(
        "unit", Verdict.RAN, (reason,), now.state.id, green.state.id
    )
    return Story(engine, green, red, now)


@pytest.fixture
async def client(story: Story) -> AsyncIterator[Client]:
    server = TestServer(create_app(story.engine, now=lambda: NOW))
    async with TestClient(server) as client:
        yield client


def address(dossier: Dossier, below: str = "") -> str:
    return path_of("build", dossier.state.id.path) + below


async def look(client: Client, path: str, status: int = 200) -> Page:
    async with client.get(path) as response:
        text = await response.text()
        assert response.status == status, text
        page = read_page(text)
    assert page.broken == []
    assert page.scripted == []
    assert sorted(page.ids) == sorted(set(page.ids))
    assert all(link.startswith(("/", "?", "#")) and link[:2] != "//" for link in page.links)
    return page


async def test_a_build_shows_its_failed_tests_on_top(client: Client, story: Story) -> None:
    page = await look(client, address(story.now))
    assert "Tests 2 failed, 1 passed" in page.words
    assert "failed: a new suite" in page.words
    assert "failed: b failed before suite" in page.words
    assert "trace of a </pre><script>" in page.words
    assert "bad.xml cannot be read as a test report: it is no XML" in page.words
    assert page.words.index("Tests 2 failed") < page.words.index("Raw")
    assert address(story.now, "/tests") in page.links
    assert address(story.now, "/reports/bad.xml") in page.links


async def test_a_build_has_neighbours_and_comparisons(client: Client, story: Story) -> None:
    page = await look(client, address(story.red))
    assert address(story.green) in page.links
    assert address(story.now) in page.links
    green = f"{story.green.state.id.path}@{story.green.commit}"
    assert f"{address(story.red, '/compare')}?with={quote(green, safe='/')}" in page.links
    assert "Compare with the last green one" in page.words
    page = await look(client, address(story.green))
    assert "Compare with" not in page.words


async def test_a_build_says_what_it_looked_at(client: Client, story: Story) -> None:
    page = await look(client, address(story.now))
    assert "Looked at 2 files" in page.words
    assert "file a.py was 1111111111, is 3333333333" in page.words
    page = await look(client, address(story.now, "/observations"))
    assert "1 has changed since" in page.words
    assert address(story.now, "/input/a.py") in page.links
    found = await look(client, address(story.now, "/observations?q=SAME"))
    assert "a.py" not in found.words
    assert (
        "has that in its name"
        in (await look(client, address(story.now, "/observations?q=zz"))).words
    )
    assert "not recorded" in (await look(client, address(story.red, "/observations"), 404)).words


async def test_all_tests_are_listed_failures_first_or_slowest(client: Client, story: Story) -> None:
    page = await look(client, address(story.now, "/tests"))
    assert page.words.index("failed: a") < page.words.index("passed: c")
    page = await look(client, address(story.now, "/tests?q=passed"))
    assert "passed: c" in page.words
    assert "failed: a" not in page.words
    page = await look(client, address(story.green, "/tests?sort=time"))
    assert "passed: a" in page.words
    await look(client, address(story.green, "/tests?page=x"), 400)
    bare = await add_result(story.engine, name("bare"))
    assert "no test report" in (await look(client, address(bare, "/tests"), 404)).words


async def test_tests_that_end_differently_on_the_same_input_are_flaky(
    client: Client, story: Story
) -> None:
    again = await add_result(
        story.engine,
        name("now"),
        reports={"r.xml": junit("b", passing=["a", "c"])},
        failed="1 failed",
        finished=NOW,
    )
    page = await look(client, address(again, "/tests"))
    assert "Flaky in this stage a suite failed 1 of 2 times" in page.words
    page = await look(client, address(story.green, "/tests"))
    assert "failed 1 of 2 times" in page.words
    page = await look(client, address(again))
    assert f"{address(story.now)}?at={story.now.commit}" in page.links


async def test_a_comparison_shows_facts_inputs_logs_and_outputs(
    client: Client, story: Story
) -> None:
    page = await look(client, address(story.now, f"/compare?with={story.green.state.id.path}"))
    assert "status success failure" in page.words
    assert "reason none 2 failed" in page.words
    assert "What they were given 1 file differs" in page.words
    assert "-one" in page.words.replace(" ", "")
    assert "+three" in page.words.replace(" ", "")
    assert "-all good" in page.words
    assert "+assert a" in page.words
    assert "hello in 3 s" in page.words
    assert "Only one of the two builds has such a tree" in page.words
    same = await look(client, address(story.now, f"/compare?with={story.now.state.id.path}"))
    assert "Recorded the same" in same.words


async def test_one_click_leads_to_the_last_green_one_or_the_one_before(
    client: Client, story: Story
) -> None:
    for word, other in (("green", story.green), ("previous", story.red)):
        url = address(story.now, f"/compare?with={word}")
        async with client.get(url, allow_redirects=False) as response:
            assert response.status == 303
            location = response.headers["Location"]
        assert f"{other.state.id.path}@{other.commit}" in location
        assert "What is different" in (await look(client, location)).words
    page = await look(client, address(story.green, "/compare"), 404)
    assert "no result before it that passed" in page.words


async def test_attempts_of_one_build_are_compared_by_their_commits(
    client: Client, story: Story
) -> None:
    again = await add_result(story.engine, name("now"), log=b"fine\n", finished=NOW)
    other = f"{story.now.state.id.path}@{story.now.commit}"
    page = await look(client, address(again, f"/compare?with={other}"))
    assert "status failure success" in page.words
    assert "+fine" in page.words


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ("x", 400),
        ("", 400),
        (f"acme/shop/unit/{'0' * 64}/{'0' * 64}", 404),
        (f"acme/shop/unit/{'0' * 64}/{'0' * 64}@{'1' * 40}", 404),
        (f"acme/shop/unit/{'0' * 64}/{'0' * 64}@zz", 400),
        (LONG, 400),
    ],
)
async def test_a_comparison_with_nothing_says_so(
    client: Client, story: Story, wanted: str, status: int
) -> None:
    await look(client, address(story.now, f"/compare?with={wanted}"), status)


async def test_a_hostile_report_is_only_text(client: Client, story: Story) -> None:
    bad = HOSTILE.replace("<", "&lt;").replace(">", "&gt;")
    content = (
        f'<testsuite><testcase classname="{bad}" name="{bad}"><failure message="{bad}">'
        f"{bad}</failure><system-out>{bad}</system-out></testcase></testsuite>"
    ).encode()
    evil = await add_result(
        story.engine,
        name("evil"),
        reports={f"{HOSTILE.replace('/', '')}.xml": content, "b<i>.xml": b"<"},
        failed=HOSTILE,
        log=HOSTILE.encode(),
        given={HOSTILE.replace("/", ""): HOSTILE.encode()},
        seen=(observation(HOSTILE, "1"),),
    )
    for below in ("", "/tests", "/observations", f"/compare?with={story.now.state.id.path}"):
        page = await look(client, address(evil, below))
        assert "alert(1)" in page.text


async def test_entities_in_a_report_are_refused_in_words(client: Client, story: Story) -> None:
    bomb = b'<!DOCTYPE t [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><testsuite>&b;</testsuite>'
    made = await add_result(story.engine, name("bomb"), reports={"r.xml": bomb}, failed="no")
    page = await look(client, address(made))
    assert "it declares entities" in page.words


async def test_a_running_build_has_a_history_but_no_result_yet(
    client: Client, story: Story
) -> None:
    live = name("live")
    given = story.now.state.input
    story.engine.add_build(BuildState(live, Status.RUNNING, started=NOW, input=given))
    page = await look(client, path_of("build", live.path))
    assert "History" in page.words
    assert address(story.now) in page.links
    assert f"{path_of('build', live.path)}/input" in page.links
    comparison = await look(
        client, f"{path_of('build', live.path)}/compare?with={story.green.state.id.path}"
    )
    assert "Only builds that have ended" in comparison.words


async def test_a_report_is_read_once(client: Client, story: Story) -> None:
    await look(client, address(story.now))
    story.engine.database.objects.reads.clear()
    await look(client, address(story.now, "/tests"))
    assert story.engine.database.objects.reads == []


async def test_nothing_of_a_closed_project_is_shown_or_compared(story: Story) -> None:
    hidden = build_id("secret/vault", "unit", "x")
    reports = {"r.xml": junit("password")}
    secret = await add_result(
        story.engine, hidden, made={"key": b"hunter2"}, reports=reports, log=b"hunter2"
    )
    rules = Rules(projects={"acme/shop": Rights(read=everyone)})
    app = create_app(story.engine, access=Access(lambda: rules))
    other = f"{hidden.path}@{secret.commit}"
    async with TestClient(TestServer(app)) as client:
        for path in (
            *(address(secret, below) for below in ("", "/output", "/output/key?raw", "/tests")),
            *(address(secret, below) for below in ("/output?zip", "/observations", "/compare")),
            address(story.now, f"/compare?with={hidden.path}"),
            address(story.now, f"/compare?with={other}"),
            address(story.now, f"/input/key?tree={secret.state.output}"),
        ):
            page = await look(client, path, 404)
            assert "hunter2" not in page.text
        assert "Tests" in (await look(client, address(story.now))).words
