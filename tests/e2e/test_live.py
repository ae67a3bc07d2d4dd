"""Pages that follow changes, when that goes wrong: they say so, heal, and keep no secrets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, BrowserContext, Page, Route, expect

from datakit_ci.acl import Rights, Rules, username
from datakit_ci.dashboard import create_app, live
from datakit_ci.dashboard.app import Access
from tests.support.browser import until_keys_are_heard
from tests.support.ci_scene import Scene, fill
from tests.support.fake_engine import FakeEngine
from tests.support.pages import log_in, serve_pages

pytestmark = [pytest.mark.foreign, pytest.mark.asyncio(loop_scope="module")]

NOTE_WHEN_STALE = """() => {
  const stale = document.getElementById("stale");
  window.wasStale = !stale.hidden;
  new MutationObserver(() => { window.wasStale ||= !stale.hidden; })
    .observe(stale, { attributes: true });
}"""

RIGHTS = Rights(read=username("github:ann"))


@dataclass
class Site:
    """A dashboard that only one person may see, and a page of hers."""

    scene: Scene
    url: str
    app: web.Application
    context: BrowserContext
    page: Page
    streams: list[str] = field(default_factory=list)

    async def open(self) -> None:
        await self.page.goto(self.url)
        await until_keys_are_heard(self.page)
        await self.until_live()

    async def until_live(self) -> None:
        await expect(self.page.locator("#link")).to_have_attribute("data-state", "live")

    async def log_in(self) -> None:
        name, cookie = await log_in(self.app, self.url, "github:ann")
        await self.context.add_cookies([{"name": name, "value": cookie, "url": self.url}])


@pytest_asyncio.fixture(loop_scope="module")
async def site(browser: Browser) -> AsyncIterator[Site]:
    scene = fill(FakeEngine(), datetime.now(UTC))
    app = create_app(scene.engine, access=Access(lambda: Rules(RIGHTS, {}, RIGHTS)))
    runner, url = await serve_pages(app)
    context = await browser.new_context(reduced_motion="reduce")
    page = await context.new_page()
    site = Site(scene, f"{url}/", app, context, page)
    page.on("request", lambda r: site.streams.append(r.url) if "/events" in r.url else None)
    await site.log_in()
    yield site
    await context.close()
    await runner.cleanup()


async def test_a_page_whose_owner_has_logged_out_in_another_tab_leads_to_the_login(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "HEARTBEAT", 0.05)
    await site.open()
    await expect(site.page.get_by_text("acme/shop").first).to_be_visible()
    other = await site.context.new_page()
    await other.goto(f"{site.url}profile")
    await other.get_by_role("button", name="Log out everywhere").click()
    await expect(other.get_by_role("heading", name="Log in")).to_be_visible()
    await expect(site.page.get_by_role("heading", name="Log in")).to_be_visible()
    await expect(site.page.get_by_text("acme/shop")).to_have_count(0)


async def test_a_proxy_that_answers_instead_of_the_service_is_told_and_heals(site: Site) -> None:
    async def refuse(route: Route) -> None:
        await route.fulfill(status=502, body="bad gateway")

    await site.page.route("**/events", refuse)
    await site.page.goto(site.url)
    await expect(site.page.locator("#stale")).to_be_visible()
    site.scene.engine.add(replace(site.scene.green, subject="Changed while away"))
    await site.page.unroute("**/events")
    await expect(site.page.locator("#stale")).to_be_hidden()
    await expect(site.page.get_by_text("Changed while away")).to_be_attached()


async def test_a_page_that_wakes_from_a_sleep_connects_anew_at_once(site: Site) -> None:
    await site.page.clock.install()
    await site.open()
    assert len(site.streams) == 1
    site.scene.engine.add(replace(site.scene.green, subject="Changed while asleep"))  # not told
    await site.page.evaluate(NOTE_WHEN_STALE)
    async with site.page.expect_request("**/events"):
        await site.page.clock.fast_forward(3_600_000)
    await expect(site.page.get_by_text("Changed while asleep")).to_be_attached()
    assert await site.page.evaluate("window.wasStale") is False


async def test_another_network_is_another_connection(site: Site) -> None:
    await site.open()
    async with site.page.expect_request("**/events"):
        await site.page.evaluate("dispatchEvent(new Event('online'))")
    await site.until_live()


async def test_a_page_that_one_goes_back_to_is_brought_up_to_date(site: Site) -> None:
    """As browsers do that keep pages whole when they are left (the back/forward cache)."""
    await site.open()
    leave = "name => dispatchEvent(new PageTransitionEvent(name, {persisted: true}))"
    await site.page.evaluate(leave, "pagehide")
    site.scene.engine.add(replace(site.scene.green, subject="Changed meanwhile"))
    async with site.page.expect_request("**/events"):
        await site.page.evaluate(leave, "pageshow")
    await expect(site.page.get_by_text("Changed meanwhile")).to_be_attached()
