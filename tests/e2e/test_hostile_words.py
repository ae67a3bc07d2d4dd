"""Hostile words wherever strangers have their say, in a real browser: text and nothing else.

Names of branches, stages, jobs and files, titles, subjects, authors, commands, reasons and
parameters are a soup of markup and Unicode. A page that shows them has to have the very nodes, with
the very attributes, that it has with harmless words of the same length; and the address of whatever
has such a name has to lead to it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.async_api import Page

from datakit_ci.archive import Dossier
from datakit_ci.dashboard import create_app
from datakit_ci.dashboard.rendering import path_of
from datakit_ci.dashboard.wording import visible
from datakit_ci.occasion import Occasion
from datakit_ci.pools import PoolState
from datakit_ci.state import (
    BuildId,
    BuildState,
    GraphNode,
    JobState,
    Status,
    TargetState,
    stage_path,
)
from datakit_ci.target import FLOWS, Target
from datakit_core.client.api import CommitId, ObjectId
from tests.support.browser import note_complaints, open_browser
from tests.support.ci_scene import digest
from tests.support.fake_engine import FakeEngine
from tests.support.pages import serving

pytestmark = [
    pytest.mark.foreign,
    pytest.mark.timeout(180),  # forty pages for each word
    pytest.mark.asyncio(loop_scope="module"),
]

BITS = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</title></h1></bdi>", "<!--",
    "\"'><a href=javascript:alert(1)>", "' onfocus=alert(1) autofocus '", "&lt;b&gt;", "&#x3c;",
    "</textarea></style>", "{{7*7}}", "{% raw %}", "javascript:alert(1)", "\\", "%2e%2e", "%00",
    "?q=#x",
    ";", "\u202e", "\u2066", "\ufeff", "\u2028", "e\u0301", "\U0001f469\u200d\U0001f52c",
    "\x1b[31m",
    "\x7f", "\x85", "\udcff", "\xa0", "a b", "+",
)  # fmt: skip
SOUP = st.lists(st.sampled_from(BITS), min_size=1, max_size=4).map("".join)
NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
HEAD = CommitId(ObjectId("ab" * 20))

SKELETON = """() => [...document.querySelectorAll("*")].map((node) =>
  `${node.tagName} ${[...node.attributes].map((each) => each.name).sort()}`)"""
SCRIPTLESS = """() => [...document.querySelectorAll("a")]
  .map((node) => new URL(node.getAttribute("href"), location.href).protocol)
  .filter((each) => each !== "http:")"""


@dataclass
class Site:
    """A page of a browser, and what went wrong on it."""

    page: Page
    complaints: list[str]

    async def skeleton(self, url: str) -> list[str]:
        """The nodes of a page with the names of their attributes."""
        response = await self.page.goto(url, wait_until="domcontentloaded")
        assert response is not None
        assert response.status == 200, url
        assert await self.page.evaluate(SCRIPTLESS) == [], url
        found: list[str] = await self.page.evaluate(SKELETON)
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site() -> AsyncIterator[Site]:
    """Without scripts of ours, so that nodes are those that were sent; others are complained of."""
    async with open_browser() as browser:
        page = await browser.new_page()
        complaints: list[str] = []
        note_complaints(page, complaints)
        await page.route(
            "**/static/**",
            lambda route: route.fulfill(body="", content_type=_type_of(route.request.url)),
        )
        yield Site(page, complaints)


def _type_of(url: str) -> str:
    return "text/javascript" if url.endswith(".js") else "text/css"


def scene(word: str) -> tuple[FakeEngine, Mapping[str, str]]:
    """An engine in which everything is called ``word``, and its pages by name."""
    engine = FakeEngine()
    stage = f"s{word}".encode(errors="ignore").decode()  # is from a pipeline: always text
    build = BuildId("acme/shop", stage, digest("static"), digest("key"))
    stuck = replace(build, key=digest("stuck"))
    tidy = replace(build, project=FLOWS)
    make = engine.database.objects.make
    text = word.encode(errors="replace").decode()
    files = {f"f{word}": f"{text}\n", f"d{word}/x.md": f"# {text}\n"}
    parameters = Occasion(identity={"parameters": {"P": word}})
    made = BuildState(
        build, Status.FAILURE, word, command=word, input=make(files), output=make(files),
        queued=NOW, started=NOW, finished=NOW, details={word: word}, occasion=parameters,
    )  # fmt: skip
    engine.record(Dossier(made, engine.database, commit=HEAD))
    engine.record(Dossier(replace(made, id=tidy), engine.database, commit=HEAD))
    engine.add_build(BuildState(stuck, Status.WAITING, word, command=word, queued=NOW))
    graph = (
        GraphNode("h", word, "head", Status.SUCCESS, word),
        GraphNode("n", f"s{word}", "stage", Status.FAILURE, word, ("h",), build, (word,)),
        GraphNode("w", f"w{word}", "stage", Status.WAITING, word, ("h",), stuck),
    )
    branch = TargetState(
        Target("acme/shop", "heads", f"b{word}"), HEAD, word, word, NOW, NOW,
        (JobState(word, Status.FAILURE, word, (build,)),), graph,
    )  # fmt: skip
    pull = replace(branch, target=Target("acme/shop", "pr", "7"), title=word)
    broken = replace(branch, target=Target("acme/shop", "tags", word), problem=word)
    flow = Target(FLOWS, "flow", f"f{stage}")
    flowing = replace(branch, target=flow, graph=(graph[0], replace(graph[1], build=tidy)))
    engine.add(branch, pull, broken)
    engine.flowing = [flowing]
    engine.busy_pools = {word: PoolState(2, (build,), (stuck,))}
    page = path_of("build", build.path)
    return engine, {
        "overview": "/", "pull requests": "/pr", "branches": "/branch", "tags": "/tag",
        "project": "/acme/shop", "branch": path_of(branch.target.path), "pull": "/acme/shop/pr/7",
        "broken": path_of(broken.target.path), "build": page,
        "waiting": path_of("build", stuck.path),
        "tree": f"{page}/output", "file": f"{page}/output{path_of(f'f{word}')}",
        "directory": f"{page}/input{path_of(f'd{word}')}",
        "results": path_of("results", "acme/shop", build.stage),
        "commit": f"/acme/shop/commit/{HEAD}", "pools": "/pools", "flows": "/flows",
        "flow": path_of(flow.path), "flow's build": path_of("build", tidy.path),
        "flow's results": path_of("results", stage_path(FLOWS, stage)),
    }  # fmt: skip


async def skeletons(site: Site, word: str) -> dict[str, list[str]]:
    """The nodes of every page where everything is called ``word``."""
    engine, paths = scene(word)
    async with serving(create_app(engine, now=lambda: NOW)) as url:
        found = {}
        for name, path in paths.items():
            found[name] = await site.skeleton(url + path)
            if name == "branch":
                told = await site.page.locator("h1 bdi").first.text_content()
                assert told == visible(f"b{word}")
        await site.page.goto("about:blank")
        return found


async def compare(site: Site, word: str) -> None:
    """What is called ``word`` has the pages of what has a harmless name with the same slashes."""
    harmless = await skeletons(site, re.sub("[^/]", "x", word))
    assert await skeletons(site, word) == harmless
    assert site.complaints == []


@given(SOUP)
@settings(max_examples=2, derandomize=True, suppress_health_check=list(HealthCheck))
async def test_words_of_strangers_are_text_and_their_addresses_lead_to_them(
    site: Site, word: str
) -> None:
    await compare(site, word)


async def test_every_bit_of_it_is_only_text(site: Site) -> None:
    await compare(site, "".join(BITS))


async def test_a_page_with_another_node_would_be_found_out(site: Site) -> None:
    await site.page.set_content("<h1>x<b>bold</b></h1>")
    found: list[str] = await site.page.evaluate(SKELETON)
    assert "B " in found
