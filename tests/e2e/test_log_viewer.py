"""A very long log in a real browser: only what is seen is loaded, and yet all of it is at hand."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, BrowserContext, Page, Request, expect

from datakit_ci.dashboard import create_app
from datakit_ci.dashboard.rendering import path_of
from datakit_ci.logtimes import LogTimes
from datakit_ci.state import BuildState, Status
from tests.support.browser import until_keys_are_heard
from tests.support.ci_scene import build_id
from tests.support.fake_engine import FakeEngine
from tests.support.pages import serve_pages

pytestmark = [pytest.mark.foreign, pytest.mark.asyncio(loop_scope="module")]

COUNT = 250_000
"""Lines of the long log, 8 MB: far more than a browser could lay out in time."""

LONG, LIVE, SECTIONS = (build_id("me/app", stage) for stage in ("long", "live", "sections"))
BEGAN = datetime(2026, 3, 5, 12, 0, tzinfo=UTC)
NEEDLES = (7, 120_000, 249_990)
ERRORS = (60_000, 200_000)
SECTIONED = b"".join(
    b"\x1b]133;A\x07+ step %d\n" % step
    + b"".join(b"output %d of %d\n" % (n, step) for n in range(50))
    for step in range(4)
)


def long_log() -> bytes:
    lines = [b"line %d of a long log\n" % number for number in range(1, COUNT + 1)]
    for number in NEEDLES:
        lines[number - 1] = b"line %d has a Needle in it\n" % number
    for number in ERRORS:
        lines[number - 1] = b"src/a.c:%d:1: \x1b[31merror:\x1b[0m no such thing\n" % number
    return b"".join(lines)


@dataclass
class Viewer:
    """A page of a browser with a log, and the engine that writes it."""

    engine: FakeEngine
    url: str
    page: Page
    browser: Browser
    runner: web.AppRunner
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    async def open(self, build: object, tail: str = "") -> None:
        await self.page.goto("about:blank")  # or only the fragment would change
        await self.page.goto(self.address(build) + tail)
        await until_keys_are_heard(self.page)

    def address(self, build: object) -> str:
        return self.url + path_of("build", getattr(build, "path"))  # noqa: B009 - any of the three

    async def lines(self) -> int:
        return await self.page.locator("#log .line").count()

    def noted(self, request: Request) -> None:
        if "/log/lines" in request.url:
            self.asked.append(request.url)


@pytest_asyncio.fixture(loop_scope="module")
async def viewer(browser: Browser) -> AsyncIterator[Viewer]:
    engine = FakeEngine()
    engine.add_build(BuildState(LONG, Status.FAILURE, started=BEGAN), long_log())
    engine.add_build(BuildState(LIVE, Status.RUNNING, started=BEGAN), b"first\n")
    engine.add_build(BuildState(SECTIONS, Status.SUCCESS, started=BEGAN), SECTIONED)
    engine.times[SECTIONS] = LogTimes(BEGAN, (0, len(SECTIONED) // 2), (0, 3_725_000))
    runner, url = await serve_pages(create_app(engine))
    context = await browser.new_context(
        reduced_motion="reduce",
        viewport={"width": 1000, "height": 700},
        permissions=["clipboard-read", "clipboard-write"],
        timezone_id="UTC",
    )
    page = await context.new_page()
    viewer = Viewer(engine, url, page, browser, runner)
    page.on("request", viewer.noted)
    page.on("pageerror", lambda error: viewer.complaints.append(str(error)))
    yield viewer
    await context.close()
    await runner.cleanup()
    assert viewer.complaints == []


async def test_only_what_is_seen_of_a_long_log_is_loaded(viewer: Viewer) -> None:
    await viewer.open(LONG)
    await expect(viewer.page.locator("#log-size")).to_contain_text("250,000 lines")
    assert await viewer.lines() < 5_000
    viewer.asked.clear()
    await viewer.page.evaluate("scrollTo(0, document.documentElement.scrollHeight / 2)")
    middle = viewer.page.locator("#L125000")
    await expect(middle).to_have_text("line 125000 of a long log")
    assert await viewer.lines() < 7_000
    assert len(viewer.asked) < 10


async def test_a_journey_through_all_of_a_log_leaves_few_lines_on_the_page(viewer: Viewer) -> None:
    await viewer.open(LONG, "#L1")
    for place in range(1_000, COUNT, 24_900):
        await viewer.page.evaluate(f"location.hash = '#L{place}'")
        await expect(viewer.page.locator(f"#L{place}")).to_be_in_viewport()
        await expect(viewer.page.locator(f"#L{place}")).to_contain_text(f"line {place} ")
        assert await viewer.lines() < 8_000


async def test_a_link_to_a_line_leads_to_it_however_far_it_is(viewer: Viewer) -> None:
    await viewer.open(LONG, "#L200001")
    await expect(viewer.page.locator("#L200001")).to_be_in_viewport()
    await expect(viewer.page.locator(".picked")).to_have_count(1)
    await viewer.page.reload()
    await expect(viewer.page.locator("#L200001")).to_be_in_viewport()


async def test_a_range_is_copied_as_it_was_written_even_where_it_is_not_loaded(
    viewer: Viewer,
) -> None:
    await viewer.open(LONG, "#L59999-L60001")
    await expect(viewer.page.locator(".picked")).to_have_count(3)
    await viewer.page.get_by_role("button", name="Copy").click()
    await expect(viewer.page.get_by_role("button", name="Copied")).to_be_visible()
    copied = await viewer.page.evaluate("navigator.clipboard.readText()")
    assert copied.splitlines() == [
        "line 59999 of a long log",
        "src/a.c:60000:1: error: no such thing",
        "line 60001 of a long log",
    ]


async def test_what_is_selected_by_hand_has_no_line_numbers(viewer: Viewer) -> None:
    await viewer.open(SECTIONS)
    text = await viewer.page.evaluate(
        "getSelection().setBaseAndExtent(L2, 0, L3, L3.childNodes.length), `${getSelection()}`"
    )
    assert text.split("\n")[:2] == ["output 0 of 0", "output 1 of 0"]


async def test_the_whole_log_is_searched_and_each_match_led_to(viewer: Viewer) -> None:
    page = viewer.page
    await viewer.open(LONG, "#L1")
    await page.keyboard.press("/")
    await page.keyboard.type("needle")
    hits = page.locator("#log-hits")
    await expect(hits).to_have_text("1 of 3")
    for number, place in ((2, 120_000), (3, 249_990), (1, 7)):
        await page.keyboard.press("Enter")
        await expect(hits).to_have_text(f"{number} of 3")
        await expect(page.locator(f"#L{place}")).to_be_in_viewport()
        await expect(page.locator(f"#L{place}")).to_have_class(re.compile(r"\bhere\b"))
    await page.keyboard.press("Shift+Enter")
    await expect(hits).to_have_text("3 of 3")


async def test_a_search_can_mind_capitals_and_be_an_expression(viewer: Viewer) -> None:
    page = viewer.page
    await viewer.open(LONG, "#L1")
    hits, field = page.locator("#log-hits"), page.locator("#log-q")
    await page.get_by_role("button", name="Capitals matter").click()
    await field.fill("needle")
    await expect(hits).to_have_text("no match")
    await field.fill("Needle")
    await expect(hits).to_have_text("1 of 3")
    await page.get_by_role("button", name="Regular expression").click()
    await field.fill(r"line \d{6} has")
    await expect(hits).to_have_text("1 of 2")
    await field.fill("(unclosed")
    await expect(hits).to_contain_text("missing")


async def test_errors_are_found_by_key_in_both_directions(viewer: Viewer) -> None:
    page = viewer.page
    await viewer.open(LONG, "#L1")
    await expect(page.locator("#L1")).to_be_in_viewport()
    for key, place in (("e", 60_000), ("e", 200_000), ("e", 60_000), ("E", 200_000)):
        await page.keyboard.press(key)
        await expect(page.locator("#log .here")).to_contain_text(f"a.c:{place}:")
        await expect(page.locator("#log .here")).to_be_in_viewport()


async def test_sections_fold_and_open_for_who_is_led_into_them(viewer: Viewer) -> None:
    page = viewer.page
    await viewer.open(SECTIONS)
    fold = page.get_by_role("button", name="Lines of step 1")
    await expect(fold).to_have_attribute("aria-expanded", "true")
    await fold.click()
    await expect(fold).to_have_attribute("aria-expanded", "false")
    await expect(page.locator("#L53")).to_be_hidden()
    await expect(page.locator("#L103")).to_be_visible()
    await page.evaluate("location.hash = '#L60'")
    await expect(page.locator("#L60")).to_be_visible()
    await expect(fold).to_have_attribute("aria-expanded", "true")
    await page.keyboard.press("z")
    await expect(page.locator("#log .line:visible")).to_have_count(4)
    await page.keyboard.press("z")
    await expect(page.locator("#log .line:visible")).to_have_count(204)


async def test_a_search_opens_what_is_folded(viewer: Viewer) -> None:
    page = viewer.page
    await viewer.open(SECTIONS)
    await page.keyboard.press("z")
    await expect(page.locator("#L204")).to_be_hidden()
    await page.keyboard.press("/")
    await page.keyboard.type("output 49 of 3")
    await expect(page.locator("#L204")).to_be_visible()
    await expect(page.locator("#L100")).to_be_hidden()


async def test_times_are_shown_since_the_start_and_of_day_and_stay_chosen(viewer: Viewer) -> None:
    page = viewer.page
    shown = "getComputedStyle(document.querySelector('#L204'), '::before').content"
    await viewer.open(SECTIONS)
    await page.keyboard.press("i")
    await expect(page.get_by_role("button", name="Times: since start")).to_be_visible()
    since = await page.locator("#L204").get_attribute("data-t")
    assert since == "1:02:05"
    await page.keyboard.press("i")
    await expect(page.get_by_role("button", name="Times: of day")).to_be_visible()
    assert await page.locator("#L204").get_attribute("data-c") == "13:02:05"
    await page.reload()
    await expect(page.get_by_role("button", name="Times: of day")).to_be_visible()
    assert await page.evaluate(shown) != "none"


async def test_a_reader_at_the_end_is_told_what_is_written_after_a_lost_connection(
    viewer: Viewer,
) -> None:
    page = viewer.page
    await viewer.open(LIVE)
    await viewer.engine.write_log(LIVE, b"second\n")
    await expect(page.locator("#L2")).to_have_text("second")
    port = int(viewer.url.rpartition(":")[2])
    await viewer.runner.cleanup()
    await viewer.engine.write_log(LIVE, b"\x1b[32mwhile away\nand more\n")
    again, _ = await serve_pages(create_app(viewer.engine), port)
    await expect(page.locator("#L4")).to_have_text("and more", timeout=20_000)
    await viewer.engine.write_log(LIVE, b"last\n")
    await expect(page.locator("#L5")).to_have_text("last")
    assert [await page.locator("#log .line").nth(place).inner_text() for place in range(5)] == [
        "first", "second", "while away", "and more", "last",
    ]  # fmt: skip
    await page.goto("about:blank")
    await again.cleanup()


async def test_a_flood_is_followed_to_its_end_and_can_be_read_from_its_start(
    viewer: Viewer,
) -> None:
    page = viewer.page
    await viewer.open(LIVE)
    await page.keyboard.press("f")
    for part in range(5):
        flood = b"".join(b"flood %d.%d\n" % (part, n) for n in range(20_000))
        await viewer.engine.write_log(LIVE, flood)
    await expect(page.locator("#L100001")).to_have_text("flood 4.19999")
    await expect(page.locator("#end")).to_be_in_viewport()
    assert await viewer.lines() < 8_000
    live = await viewer.engine.build(LIVE)
    assert live is not None
    await viewer.engine.set_build(replace(live, status=Status.SUCCESS, exit_status=0))
    await expect(page.locator("#end")).to_contain_text("Passed, exit status 0")
    await page.evaluate("location.hash = '#L50001'")
    await expect(page.locator("#L50001")).to_have_text("flood 2.9999")


async def test_on_a_phone_the_log_fits_and_its_buttons_can_be_touched(viewer: Viewer) -> None:
    page = viewer.page
    await page.set_viewport_size({"width": 360, "height": 640})
    await viewer.open(LONG, "#L120000")
    await expect(page.locator("#L120000")).to_be_in_viewport()
    excess = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await page.evaluate(excess) <= 0
    for name in ("Next error", "Wrap", "Copy"):
        box = await page.get_by_role("button", name=name, exact=True).bounding_box()
        assert box is not None
        assert box["height"] >= 24, name  # WCAG 2.2, 2.5.8
        assert 0 <= box["x"] <= 360 - box["width"], name


async def test_without_scripts_a_log_is_read_page_by_page(viewer: Viewer) -> None:
    context: BrowserContext = await viewer.browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(viewer.address(LONG))
    await page.get_by_role("link", name="From the start").first.click()
    await expect(page.locator("#L1")).to_have_text("line 1 of a long log")
    first = await page.locator("#log .line").count()
    await page.get_by_role("link", name="Later lines").click()
    await expect(page.locator(f"#L{first + 1}")).to_have_text(f"line {first + 1} of a long log")
    await page.get_by_role("link", name="Newest lines").click()
    await expect(page.locator(f"#L{COUNT}")).to_have_text(f"line {COUNT} of a long log")
    await context.close()
