"""Hostile artefacts in a real browser: nothing in them runs, and nothing gets out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Request, expect

from datakit_ci.dashboard import create_app
from datakit_ci.dashboard.rendering import path_of
from tests.support.artefacts import PNG, add_result
from tests.support.ci_scene import fill
from tests.support.fake_engine import FakeEngine
from tests.support.pages import serve_pages

pytestmark = [pytest.mark.foreign, pytest.mark.asyncio(loop_scope="module")]

_RUN = "document.title='owned';fetch('/owned');alert('owned')"

HOSTILE = {
    "page.html": f"""<!doctype html><meta http-equiv="refresh" content="0; url=/owned-by-refresh">
<link rel="stylesheet" href="/owned.css"><base href="https://example.org/">
<script>{_RUN}</script><img src="/owned.png" onerror="{_RUN}"><svg onload="{_RUN}"></svg>
<iframe src="/owned-frame"></iframe><object data="/owned-object"></object>
<form action="/owned-form" method="post"><button id="go" autofocus>go</button></form>
<a id="top" target="_top" href="/owned-top">top</a><p id="shown">shown</p>""".encode(),
    "evil.svg": f"""<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9" onload="{_RUN}">
<script>{_RUN}</script><foreignObject><body onload="{_RUN}"></body></foreignObject>
<image href="/owned-image"/></svg>""".encode(),
    "notes.md": f"""<script>{_RUN}</script>

[here](javascript:{_RUN.replace("(", "%28").replace(")", "%29")}) <img src=x onerror="{_RUN}">

![x](https://example.org/owned.png) and ![pixel](pixel.png)
""".encode(),
    "text.txt": f"</span><script>{_RUN}</script>\x1b]0;owned\x07\u202e".encode(),
    "pixel.png": PNG,
    f'"><img src=x onerror="{_RUN.replace("/", "")}">\n\u202egnp.txt': b"name",
    "<script>alert('owned')<": b"name",
}


@dataclass
class Site:
    """Hostile trees, served, and a page that notes all that it does."""

    url: str
    page: Page
    requests: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)

    def note(self, request: Request) -> None:
        self.requests.append(request.url)

    async def settle(self) -> None:
        """What was going to run has run: the page and its frames are loaded, and it has drawn."""
        await self.page.wait_for_load_state("load")
        await self.page.evaluate(
            "new Promise(done => requestAnimationFrame(() => setTimeout(done)))"
        )

    def check(self) -> None:
        """Nothing has run, and nothing was asked of anybody that should not have been."""
        assert self.requests
        assert [each for each in self.requests if "/owned" in each or "example" in each] == []
        assert self.events == []


@pytest_asyncio.fixture(loop_scope="module")
async def site(browser: Browser) -> AsyncIterator[Site]:
    engine = fill(FakeEngine(), datetime.now(UTC)).engine
    made = await add_result(engine, made=HOSTILE, reports={"r.xml": HOSTILE["page.html"]})
    runner, address = await serve_pages(create_app(engine))
    context = await browser.new_context(reduced_motion="reduce")
    context.set_default_timeout(10_000)
    page = await context.new_page()
    url = address + path_of("build", made.state.id.path)
    found = Site(url, page)
    page.on("requestfinished", found.note)
    page.on("dialog", lambda dialog: found.events.append(f"a dialog: {dialog.message}"))
    page.on("pageerror", lambda error: found.events.append(str(error)))
    context.on("page", lambda _: found.events.append("a new window"))
    yield found
    await context.close()
    await runner.cleanup()


@pytest.mark.parametrize("name", sorted(HOSTILE))
async def test_no_artefact_runs_anything(site: Site, name: str) -> None:
    for below in (path_of(name), f"{path_of(name)}?source"):
        await site.page.goto(f"{site.url}/output{below}")
        await site.settle()
        assert await site.page.title() != "owned"
        site.check()


@pytest.mark.parametrize("name", ["page.html", "evil.svg", "text.txt", "notes.md"])
async def test_nothing_runs_when_it_is_opened_by_itself(site: Site, name: str) -> None:
    await site.page.goto(f"{site.url}/output/{name}?raw")
    await site.page.wait_for_load_state("networkidle")  # a page without scripts cannot be asked
    site.check()
    assert site.page.url.endswith("?raw")


async def test_names_in_a_listing_are_only_names(site: Site) -> None:
    await site.page.goto(f"{site.url}/output")
    await site.settle()
    await expect(site.page.locator(".files tbody tr")).to_have_count(len(HOSTILE))
    assert await site.page.locator(".files img, .files script").count() == 0
    site.check()


async def test_a_page_in_its_frame_is_seen_but_goes_nowhere(site: Site) -> None:
    await site.page.goto(f"{site.url}/output/page.html")
    frame = site.page.frame_locator("iframe.frame")
    await expect(frame.locator("#shown")).to_have_text("shown")
    await frame.locator("#go").click()
    await frame.locator("#top").click()
    await site.settle()
    assert site.page.url == f"{site.url}/output/page.html"
    site.check()


async def test_a_picture_of_the_tree_is_shown_in_markdown(site: Site) -> None:
    await site.page.goto(f"{site.url}/output/notes.md")
    await expect(site.page.locator(".prose img")).to_have_count(1)
    await site.settle()
    assert await site.page.locator(".prose img").evaluate("image => image.naturalWidth") == 1
    site.check()
