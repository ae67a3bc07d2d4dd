"""Time travel in a real browser: there by the header, from change to change, and back."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from datakit_ci.dashboard import create_app
from datakit_ci.past import Past
from tests.support.browser import open_browser
from tests.support.pages import serving
from tests.support.timed_world import red_then_green, timed_world

pytestmark = [pytest.mark.foreign]


@pytest_asyncio.fixture(params=[True, False], ids=["scripts", "no-scripts"])
async def page(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Page]:
    """A browser, with scripts or without, at a site whose main branch was red and is green."""
    complaints: list[str] = []
    async with timed_world(tmp_path) as world, red_then_green(world) as (engine, *_):
        app = create_app(engine, now=world.clock.now, past=Past(world.database))
        async with serving(app) as url, open_browser() as browser:
            context = await browser.new_context(
                java_script_enabled=request.param,
                base_url=url,
                reduced_motion="reduce",
                viewport={"width": 1100, "height": 800},
            )
            page = await context.new_page()
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
            yield page
            await context.close()
    assert complaints == []


async def test_one_travels_back_and_looks_around_there(page: Page) -> None:
    await page.goto("/me/app/ref/heads/main")
    await expect(page.locator("h1")).to_contain_text("passed")
    await expect(page.locator("#past")).to_have_count(0)
    await page.locator("#travel summary").click()
    await page.get_by_label("See everything as of").fill("2026-03-05T08:00")
    await page.get_by_role("button", name="Go there").click()
    await expect(page.locator("#past")).to_contain_text("As of 2026-03-05 08:00:00 UTC, 2 days ago")
    await expect(page.locator("h1")).to_contain_text("failed")
    await page.locator("#j-unit a").click()
    await expect(page).to_have_url(re.compile(r"/build/.*at=2026-03-05T08:00:00Z"))
    await expect(page.locator("#log")).to_contain_text("unit runs")
    await expect(page.locator("#past")).to_be_visible()
    await page.locator(".brand").click()
    await expect(page.locator("#trouble")).to_contain_text("2 tests failed")
    await page.locator("#past-now").click()
    await expect(page.locator("#trouble")).to_have_count(0)
    await expect(page.locator("#past")).to_have_count(0)


async def test_one_steps_from_change_to_change(page: Page) -> None:
    await page.goto("/me/app/ref/heads/main")
    await page.locator("#history").click()
    await page.locator("#changes .row-link").first.click()
    await expect(page.locator("h1")).to_contain_text("passed")
    for _ in range(10):
        if "failed" in await page.locator("h1").inner_text():
            break
        await page.locator("#past-earlier").click()
    await expect(page.locator("h1")).to_contain_text("failed")
    await page.locator("#past-later").click()
    await expect(page.locator("#past")).to_contain_text("As of 2026-03-07")
