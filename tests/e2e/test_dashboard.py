"""The dashboard in a real browser: it lives, keeps its place, and nothing can be injected."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, Page, expect

from datakit_ci.dashboard import create_app
from datakit_ci.dashboard.rendering import path_of
from datakit_ci.state import BuildId, BuildState, Status
from datakit_ci.target import Target
from tests.support.browser import until_keys_are_heard, watched
from tests.support.ci_scene import (
    Scene,
    build_id,
    fill,
    matrix_graph,
    pipeline,
    target_state,
    wide_graph,
)
from tests.support.fake_engine import FakeEngine
from tests.support.pages import serve_pages

pytestmark = [pytest.mark.foreign, pytest.mark.asyncio(loop_scope="module")]


@dataclass
class Site:
    """A served scene and a page of a browser that looks at it."""

    scene: Scene
    url: str
    page: Page
    browser: Browser
    complaints: list[str]
    runner: web.AppRunner

    async def open(self, path: str) -> None:
        await self.page.goto(self.url + path)

    async def wait_until_live(self) -> None:
        await expect(self.page.locator("#link")).to_have_attribute("data-state", "live")


@pytest_asyncio.fixture(loop_scope="module")
async def site(browser: Browser) -> AsyncIterator[Site]:
    scene = fill(FakeEngine(), datetime.now(UTC))
    runner, url = await serve_pages(create_app(scene.engine))
    context = await browser.new_context(reduced_motion="reduce")
    complaints: list[str] = []
    page = await watched(context, complaints)
    yield Site(scene, url, page, browser, complaints, runner)
    await context.close()
    await runner.cleanup()
    assert complaints == []


def address(build: BuildId) -> str:
    return path_of("build", build.path)


async def build_of(site: Site, build: BuildId) -> BuildState:
    state = await site.scene.engine.build(build)
    assert state is not None
    return state


async def test_a_state_changes_on_the_page_without_reload(site: Site) -> None:
    await site.open("/acme/shop/pr/318")
    await site.wait_until_live()
    await site.page.evaluate("window.mark = 'same page'")
    live = await build_of(site, site.scene.live)
    await site.scene.engine.set_build(
        replace(live, status=Status.FAILURE, reason="the basket is empty", exit_status=1)
    )
    await expect(site.page.locator("#j-browser")).to_contain_text("the basket is empty")
    await expect(site.page.locator("h1")).to_contain_text("failed")
    await expect(site.page).to_have_title("failed: #318 \u00b7 acme/shop \u00b7 DataKit")
    await expect(site.page.locator("#favicon")).to_have_attribute("href", re.compile("failure"))
    await expect(site.page.locator("#news")).to_contain_text("1 failed")
    assert await site.page.evaluate("window.mark") == "same page"


async def test_an_update_keeps_scroll_focus_and_what_is_being_typed(site: Site) -> None:
    await site.page.set_viewport_size({"width": 900, "height": 400})
    await site.open("/")
    await site.wait_until_live()
    link = site.page.get_by_role("link", name="tag v2.4.0")
    await link.focus()
    scroll = await site.page.evaluate("scrollY")
    assert scroll > 0
    await site.scene.engine.set_target(replace(site.scene.green, subject="A new subject"))
    await expect(site.page.get_by_text("A new subject")).to_be_attached()
    await expect(link).to_be_focused()
    assert await site.page.evaluate("scrollY") == scroll
    await site.page.locator("#q").type("second foot")
    await expect(site.page.get_by_text("Use the smaller picture")).to_have_count(0)
    await expect(site.page.get_by_text("Fix the links in the footer")).to_be_visible()
    await expect(site.page.locator("#q")).to_be_focused()
    await expect(site.page.locator("#q")).to_have_value("second foot")
    assert site.page.url.endswith("?q=second+foot")


async def test_a_list_keeps_focus_and_what_is_being_typed_when_it_changes(site: Site) -> None:
    await site.page.set_viewport_size({"width": 900, "height": 300})
    await site.open("/branch?state=failing")
    await site.wait_until_live()
    link = site.page.locator("#list .target-name").first
    await link.focus()
    scroll = await site.page.evaluate("scrollY")
    await site.scene.engine.set_target(replace(site.scene.red, subject="A newer subject"))
    await expect(site.page.get_by_text("A newer subject")).to_be_attached()
    await expect(link).to_be_focused()
    assert await site.page.evaluate("scrollY") == scroll
    await site.page.locator("#q").type("newer")
    await site.scene.engine.set_target(replace(site.scene.red, subject="The newer one"))
    await expect(site.page.get_by_text("The newer one")).to_be_attached()
    await expect(site.page.locator("#q")).to_be_focused()
    await expect(site.page.locator("#q")).to_have_value("newer")


async def test_what_was_opened_stays_open_when_the_page_changes(site: Site) -> None:
    await site.open("/acme/shop/pr/318")
    await site.wait_until_live()
    await site.page.locator("#graph-text summary").click()
    await expect(site.page.locator("#graph-text table")).to_be_visible()
    await site.scene.engine.set_target(replace(site.scene.busy, subject="Seen by now"))
    await expect(site.page.get_by_text("Seen by now")).to_be_visible()
    await expect(site.page.locator("#graph-text table")).to_be_visible()


async def test_a_log_grows_while_it_is_watched_and_then_ends(site: Site) -> None:
    await site.open(address(site.scene.live))
    lines = site.page.locator("#log .line")
    await expect(lines).to_have_count(19)
    await site.scene.engine.write_log(site.scene.live, b"\x1b[31mred\x1b[0m & <b>\n10%")
    await expect(site.page.locator("#L20")).to_have_text("red & <b>")
    await expect(site.page.locator("#L20 .f1")).to_have_text("red")
    await expect(site.page.locator("#L21")).to_have_text("10%")
    await site.scene.engine.write_log(site.scene.live, b"\r100%\n")
    await expect(site.page.locator("#L21")).to_have_text("100%")
    live = await build_of(site, site.scene.live)
    await site.scene.engine.set_build(replace(live, status=Status.SUCCESS, exit_status=0))
    await expect(site.page.locator("h1")).to_contain_text("passed")
    await expect(site.page.locator("#end")).to_contain_text("Passed, exit status 0")
    await expect(lines).to_have_count(21)


async def test_following_a_log_keeps_its_end_in_sight(site: Site) -> None:
    await site.page.set_viewport_size({"width": 900, "height": 500})
    await site.open(address(site.scene.live))
    follow = site.page.get_by_role("button", name="Follow")
    await site.page.keyboard.press("f")
    await expect(follow).to_have_attribute("aria-pressed", "true")
    await site.scene.engine.write_log(site.scene.live, b"more\n" * 100)
    await expect(site.page.locator("#L119")).to_be_in_viewport()
    await expect(site.page.locator("#end")).to_be_in_viewport()
    await site.page.mouse.move(400, 300)
    await site.page.mouse.wheel(0, -300)
    await expect(follow).to_have_attribute("aria-pressed", "false")


async def test_a_line_has_an_address_and_a_range_too(site: Site) -> None:
    await site.open(address(site.scene.failed) + "#L20")
    await expect(site.page.locator("#L20")).to_be_in_viewport()
    await expect(site.page.locator(".picked")).to_have_count(1)
    await site.page.locator("#L24 > a").click(modifiers=["Shift"])
    await expect(site.page.locator(".picked")).to_have_count(5)
    assert site.page.url.endswith("#L20-L24")


async def test_a_log_can_be_searched_and_errors_found_by_key(site: Site) -> None:
    await site.open(address(site.scene.failed))
    await site.page.keyboard.press("/")
    await site.page.keyboard.type("rounding[")
    await expect(site.page.locator("#log-hits")).to_have_text("1 of 3")
    await site.page.keyboard.press("Enter")
    await expect(site.page.locator("#log-hits")).to_have_text("2 of 3")
    await site.page.keyboard.press("Escape")
    await expect(site.page.locator(".hit")).to_have_count(0)
    await site.page.keyboard.press("n")
    await expect(site.page.locator(".here")).to_contain_text("FAILURES")
    await site.page.keyboard.press("n")
    await expect(site.page.locator(".here")).to_contain_text("AssertionError")


async def test_a_lost_connection_is_told_and_heals(site: Site) -> None:
    await site.open("/")
    await site.wait_until_live()
    port = int(site.url.rpartition(":")[2])
    await site.runner.cleanup()
    await expect(site.page.locator("#stale")).to_be_visible(timeout=15_000)
    again, _ = await serve_pages(create_app(site.scene.engine), port)
    site.scene.engine.add(replace(site.scene.green, subject="Changed while away"))
    await expect(site.page.locator("#stale")).to_be_hidden(timeout=15_000)
    await expect(site.page.get_by_text("Changed while away")).to_be_attached()
    await site.page.goto("about:blank")
    await again.cleanup()
    site.complaints[:] = [text for text in site.complaints if "Failed to load" not in text]


async def test_the_tab_of_a_page_is_in_sight_on_a_phone(site: Site) -> None:
    await site.page.set_viewport_size({"width": 320, "height": 640})
    for path in ("/pools", "/", "/tag"):
        await site.open(path)
        await expect(site.page.locator(".tabs [aria-current]")).to_be_in_viewport(ratio=1)


async def test_a_group_opens_in_place_and_a_picture_keeps_its_size(site: Site) -> None:
    large = Target("acme/shop", "heads", "large")
    graph = matrix_graph("acme/shop")
    about = ("Many", "First Author", 1.0)
    site.scene.engine.add(target_state(large, graph, about, datetime.now(UTC)))
    await site.open("/acme/shop/ref/heads/large")
    await site.wait_until_live()
    await site.page.evaluate("window.mark = 'same page'")
    group = site.page.locator("#graph a[data-in-place]")
    wide = await group.bounding_box()
    await site.page.get_by_role("button", name="Smaller").click()
    small = await group.bounding_box()
    assert wide is not None
    assert small is not None
    assert small["width"] < wide["width"]
    await group.focus()
    await site.page.keyboard.press("Enter")
    await expect(site.page.get_by_role("link", name="Fold unit")).to_be_visible()
    await expect(site.page).to_have_url(site.url + "/acme/shop/ref/heads/large?expand=unit")
    await site.page.go_back()
    await expect(group).to_be_visible()
    assert await site.page.evaluate("window.mark") == "same page"
    assert await site.page.evaluate("document.documentElement.dataset.zoom") == "-1"


async def test_the_theme_is_switched_and_kept(site: Site) -> None:
    await site.open("/")
    background = "getComputedStyle(document.body).backgroundColor"
    light = await site.page.evaluate(background)
    await site.page.get_by_role("button", name="Light or dark").click()
    dark = await site.page.evaluate(background)
    assert dark != light
    await site.page.reload()
    assert await site.page.evaluate(background) == dark


async def test_the_keyboard_alone_leads_through_a_list_and_a_target_to_a_build(site: Site) -> None:
    await site.open("/")
    await site.page.keyboard.press("g")
    await site.page.keyboard.press("b")
    await expect(site.page).to_have_url(site.url + "/branch")
    await until_keys_are_heard(site.page)
    await site.page.keyboard.press("/")
    await site.page.keyboard.type("rounding")
    await expect(site.page.locator("#list .target")).to_have_count(1)
    await site.page.keyboard.press("Tab")
    await expect(site.page.locator("#list .target-name")).to_be_focused()
    await site.page.keyboard.press("Enter")
    await expect(site.page.locator("h1")).to_contain_text("rounding")
    await until_keys_are_heard(site.page)
    await site.page.keyboard.press("j")
    await expect(site.page.locator(".row-link").first).to_be_focused()
    await site.page.keyboard.press("Enter")
    await expect(site.page).to_have_url(re.compile("/build/acme/shop/"))


async def test_the_keyboard_alone_leads_to_a_failure(site: Site) -> None:
    await site.open("/")
    await site.page.keyboard.press("Tab")
    await expect(site.page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await site.page.keyboard.press("j")
    await expect(site.page.locator(".alarm-name").first).to_be_focused()
    await site.page.keyboard.press("j")
    await site.page.keyboard.press("k")
    await site.page.keyboard.press("Enter")
    await expect(site.page.locator("h1")).to_contain_text("rounding")
    await until_keys_are_heard(site.page)
    await site.page.keyboard.press("u")
    await expect(site.page).to_have_url(site.url + "/acme/shop")
    await until_keys_are_heard(site.page)
    await site.page.keyboard.press("?")
    await expect(site.page.get_by_role("dialog")).to_be_visible()


async def test_hostile_text_does_nothing_in_a_browser(site: Site) -> None:
    bad = "\"><script>alert(1)</script>'><img src=x onerror=alert(1)><svg onload=alert(1)>"
    target = Target("acme/shop", "heads", bad)
    graph = pipeline("acme/shop", bad, {bad: (Status.RUNNING, bad, ())})
    state = target_state(target, graph, (bad, bad, 1), datetime.now(UTC))
    build = graph[1].build
    assert build is not None
    site.scene.engine.add(state)
    site.scene.engine.add_build(
        BuildState(build, Status.RUNNING, bad, bad, started=datetime.now(UTC)), bad.encode()
    )
    for path in ("/", path_of(target.path), address(build)):
        await site.open(path)
        await site.wait_until_live()
        await expect(site.page.locator("main")).to_contain_text("onerror=alert(1)")
        await expect(site.page.locator("main img")).to_have_count(0)
    await site.scene.engine.write_log(build, b"\n\x1b[31m" + bad.encode() + b"\n")
    await expect(site.page.locator("#L2")).to_contain_text("onload=alert(1)")
    await expect(site.page.locator("#log img, #log svg, #log script")).to_have_count(0)


@pytest.mark.parametrize("width", [360, 768, 1440])
async def test_no_page_is_wider_than_its_window(site: Site, width: int) -> None:
    project = "acme/" + "a-very-long-name-" * 5
    target = Target(project, "heads", "x" * 150)
    graph = wide_graph(project)
    long = target_state(target, graph, ("word " * 60, "A" * 90, 1), datetime.now(UTC))
    site.scene.engine.add(long)
    build = BuildState(build_id(project, "s" * 120), Status.SUCCESS, command="c" * 900)
    site.scene.engine.add_build(build, b"l" * 3000)
    await site.page.set_viewport_size({"width": width, "height": 800})
    for path in ("/", path_of(target.path), address(build.id), address(site.scene.failed)):
        await site.open(path)
        excess = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert await site.page.evaluate(excess) <= 0, path


async def test_everything_can_be_read_without_scripts(site: Site) -> None:
    context = await site.browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(site.url)
    await page.get_by_role("link", name="branch rounding").click()
    await page.get_by_role("link", name="Open its log").click()
    await expect(page.locator("#L20")).to_contain_text("AssertionError")
    await expect(page.get_by_role("link", name="Raw")).to_be_visible()
    await expect(page.get_by_role("button", name="Follow")).to_have_count(0)
    await context.close()
