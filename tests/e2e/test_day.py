"""A day with the real service, in a real browser: on a screen, on a phone, by keyboard alone.

The service is a process with a repository, a pipeline and builds that really run. A person sets it
up, finds out why ``main`` fails, tries again what may pass, stops what nobody needs, lets run what
is dangerous, and looks at how it was before. Only the ways in which they get from one thing to the
next differ: by clicks and taps, or by keys.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, expect

from tests.support.browser import open_browser, until_keys_are_heard
from tests.support.day import PROJECT, branch, break_prices, make_day
from tests.support.git import git
from tests.support.service import PASSWORD, RunningService, running_service

pytestmark = [pytest.mark.foreign]

_PATIENCE = 20_000
"""Milliseconds that the machine may need for what a build does at once; nothing waits for long."""

_EXCESS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@dataclass
class Day:
    """A service in which ``main`` has passed, and a page of a browser that has not logged in."""

    service: RunningService
    page: Page
    repository: Path
    server: Path
    is_by_keyboard: bool = False

    def row(self, job: str) -> Locator:
        """A job's row on the page of a target."""
        return self.page.locator(f"#j-{job}")

    async def reach(self, control: Locator) -> None:
        """Press a button or follow a link, as the person does who walks."""
        await expect(control).to_be_visible()
        if not self.is_by_keyboard:
            await control.click()
            return
        for _ in range(120):
            await self.page.keyboard.press("Tab")
            if await control.evaluate("each => each === document.activeElement"):
                await self.page.keyboard.press("Enter")
                return
        raise AssertionError(f"the key Tab does not lead to {control}")

    async def fill(self, **fields: str) -> None:
        """Fill in a form whose first field has the focus, in order, and send it."""
        await expect(self.page.locator("[autofocus]")).to_be_focused()
        for name, value in fields.items():
            field = self.page.locator(f"main input[name={name}]")
            if not self.is_by_keyboard:
                await field.fill(value)
                continue
            await expect(field).to_be_focused()
            await self.page.keyboard.type(value)
            await self.page.keyboard.press("Tab")
        if self.is_by_keyboard:
            await self.page.keyboard.press("Enter")
        else:
            await self.page.locator("main button.main").click()

    async def open_branch(self, name: str) -> None:
        """To the page of a branch, by the list of branches."""
        if self.is_by_keyboard:
            await until_keys_are_heard(self.page)
            await self.page.keyboard.press("g")
            await self.page.keyboard.press("b")
        else:
            await self.page.get_by_role("navigation", name="Main").get_by_text("Branches").click()
        await expect(self.page).to_have_url(re.compile("/branch$"))
        await self.pick(self.page.locator("main").get_by_role("link", name=f"branch {name}"))
        await expect(self.page.locator("h1")).to_contain_text(name)

    async def pick(self, row: Locator) -> None:
        """Follow one of the links that the keys j and k go through."""
        await expect(row).to_be_visible()
        if not self.is_by_keyboard:
            await row.click()
            return
        await until_keys_are_heard(self.page)
        for _ in range(60):
            await self.page.keyboard.press("j")
            if await row.evaluate("each => each === document.activeElement"):
                await self.page.keyboard.press("Enter")
                return
        raise AssertionError(f"the key j does not lead to {row}")

    async def results_of(self, stage: str) -> int:
        """How often a stage has been run to an end."""
        reply = await self.page.request.get(f"/results/{PROJECT}/{stage}")
        return (await reply.text()).count('<tr id="r-')

    async def see(self) -> None:
        """The page that is shown fits the window."""
        assert await self.page.evaluate(_EXCESS) <= 0, self.page.url


@asynccontextmanager
async def _day(directory: Path, width: int, *, by_keyboard: bool = False) -> AsyncIterator[Day]:
    complaints: list[str] = []
    repository, pipeline, server = make_day(directory)
    branch(repository, "soak", "1.00")
    release = branch(repository, "release", "20.00")
    head = git(repository, "rev-parse", "main")
    database = directory / "database.git"
    async with (
        running_service(pipeline, repository, database, PROJECT) as service,
        open_browser() as browser,
    ):
        context = await browser.new_context(
            base_url=service.dashboard,
            has_touch=width < 500,
            reduced_motion="reduce",
            viewport={"width": width, "height": 800},
        )
        context.set_default_timeout(_PATIENCE)
        expect.set_options(timeout=_PATIENCE)
        page = await context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        for job in ("lint", "unit", "browser"):
            await service.until_job("main", job, "success", at=head)
            await service.until_job("release", job, "success", at=release)
        yield Day(service, page, repository, server, by_keyboard)
        await context.close()
    assert complaints == []


@pytest.mark.parametrize("width", [1280, 390], ids=["screen", "phone"])
async def test_a_day_by_clicks(tmp_path: Path, width: int) -> None:
    async with _day(tmp_path, width) as day:
        await _live_through(day)


async def test_a_day_by_keyboard_alone(tmp_path: Path) -> None:
    async with _day(tmp_path, 1280, by_keyboard=True) as day:
        await _live_through(day)


async def _live_through(day: Day) -> None:
    await _set_up(day)
    await _until_next_second(day)
    await _see_what_breaks(day)
    await _find_the_line(day)
    await _compare(day)
    await _try_again(day)
    await _cancel(day)
    await _confirm(day)
    await _travel(day)


async def _set_up(day: Day) -> None:
    page = day.page
    await page.goto(day.service.setup)
    await day.fill(name="ann", password=PASSWORD, again=PASSWORD)
    await day.reach(page.locator(".account"))
    await day.reach(page.get_by_role("button", name="Log out", exact=True))
    await day.fill(name="ann", password=PASSWORD)
    await expect(page.locator(".account")).to_have_attribute("href", "/profile")
    await day.see()


async def _until_next_second(day: Day) -> None:
    """Moments are seconds: what comes next is to be later than what there is."""
    first = (await day.page.request.get("/health")).headers["date"]
    while (await day.page.request.get("/health")).headers["date"] == first:
        pass


async def _see_what_breaks(day: Day) -> None:
    page = day.page
    await page.goto("/")
    await expect(page.locator("#link")).to_have_attribute("data-state", "live")
    await expect(page.locator("#trouble")).to_have_count(0)
    day.server.unlink()
    break_prices(day.repository)
    await expect(page.locator("#trouble")).to_contain_text("Round prices down")
    await expect(page.locator("h1")).to_contain_text("1 of 3")
    await day.see()
    await day.pick(page.locator("#trouble .alarm-name"))
    for job in ("unit", "browser"):
        await expect(day.row(job)).to_contain_text("failed")
    await expect(day.row("lint")).to_contain_text("passed")
    await day.see()


async def _find_the_line(day: Day) -> None:
    page = day.page
    await day.pick(day.row("unit").get_by_role("link"))
    await expect(page.locator("#tests")).to_contain_text("19.98 is not 19.99")
    if day.is_by_keyboard:
        await until_keys_are_heard(page)
        await page.keyboard.press("e")
    else:
        await page.locator("#log-error").click()
    line = page.locator("#log .here")
    await expect(line).to_contain_text("FAILED tests/prices.py::rounded")
    await expect(line).to_be_in_viewport()
    await expect(page.locator("#L303")).to_have_class(re.compile("here"))
    await day.see()


async def _compare(day: Day) -> None:
    page = day.page
    await day.reach(page.get_by_role("link", name="Compare with the last green one"))
    await expect(page.locator("#input .is-old")).to_contain_text("book 19.99")
    await expect(page.locator("#input .is-new")).to_contain_text("book 19.98")
    await expect(page.locator("#log")).to_contain_text("all prices are right")
    await day.see()


async def _try_again(day: Day) -> None:
    page = day.page
    before = {stage: await day.results_of(stage) for stage in ("lint", "unit", "browser")}
    day.server.touch()
    await day.open_branch("main")
    await day.reach(page.get_by_role("button", name="Rebuild what failed"))
    await expect(page.locator("#said")).to_be_visible()
    await expect(day.row("browser")).to_contain_text("passed")
    await expect(day.row("unit")).to_contain_text("failed")
    await expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    after = {stage: await day.results_of(stage) for stage in before}
    assert after == before | {stage: before[stage] + 1 for stage in ("unit", "browser")}
    await day.see()


async def _cancel(day: Day) -> None:
    page = day.page
    await day.open_branch("soak")
    await expect(page.locator("h1")).to_contain_text("running")
    await day.reach(page.get_by_role("button", name="Cancel"))
    await expect(page.locator("h1")).to_contain_text("cancelled")
    await day.see()


async def _confirm(day: Day) -> None:
    page = day.page
    await day.open_branch("release")
    await expect(day.row("deploy")).to_contain_text("confirm")
    await day.reach(page.locator("#confirm summary"))
    await expect(page.locator("#confirm")).to_contain_text("echo deployed to www")
    await day.see()
    await day.reach(page.get_by_role("button", name="Let it run"))
    await expect(day.row("deploy")).to_contain_text("passed")


async def _travel(day: Day) -> None:
    page = day.page
    await day.open_branch("main")
    await expect(page.locator("h1")).to_contain_text("failed")
    await day.reach(page.locator("#history"))
    green = page.locator("#changes tr.s-success .row-link").first
    await expect(green).to_be_visible()
    await day.see()
    await day.pick(green)
    await expect(page.locator("#past")).to_contain_text("As of")
    await expect(page.locator("h1")).to_contain_text("passed")
    await expect(page.get_by_role("button", name=re.compile("Rebuild"))).to_have_count(0)
    await day.see()
    await day.reach(page.locator("#past-now"))
    await expect(page.locator("#past")).to_have_count(0)
    await expect(page.locator("h1")).to_contain_text("failed")
