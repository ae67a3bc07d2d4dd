"""Take the pictures of README and docs/dashboard.md anew: `make pictures`.

What they show is made up by the tests' support (`tests/support/showcase.py`), at a moment of its
own, so that a picture changes only where a page does. Look at each before it is committed.
Uses Debian's Chromium, or the one that $CHROMIUM names. With names, only those are taken:
`python -m scripts.pictures phone build`.

With --all DIRECTORY, every page of the scene is taken, wide and narrow, light and dark.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playwright.async_api import Browser, expect

from tests.support.browser import open_browser
from tests.support.ci_scene import NOW
from tests.support.pages import log_in, serving
from tests.support.showcase import PAGES, USER, showcase

DOCS = Path(__file__).parents[1] / "docs"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture to be taken: of which page of the showcase, and in what window, in pixels."""

    file: str
    page: str
    width: int
    height: int
    theme: Literal["light", "dark"] = "light"
    is_whole: bool = False


PICTURES = (
    Picture("dashboard.png", "branch", 1200, 980),
    Picture("pictures/overview.png", "overview", 1200, 900),
    Picture("pictures/lists.png", "pull requests", 1200, 470),
    Picture("pictures/build.png", "build", 1100, 1240),
    Picture("pictures/phone.png", "branch", 390, 844, "dark"),
    Picture("pictures/compare.png", "compare", 1200, 760, "dark"),
    Picture("pictures/pools.png", "pools", 1200, 760),
)


def every_page() -> Iterable[Picture]:
    """All pages in all four combinations, to their end."""
    for page in PAGES:
        for width, height in ((1440, 900), (360, 740)):
            for theme in ("light", "dark"):
                name = f"{page.replace(' ', '-')}-{width}-{theme}.png"
                yield Picture(name, page, width, height, theme, is_whole=True)


async def take(pictures: Iterable[Picture], directory: Path) -> None:
    """Take pictures of the showcase and write them below ``directory``."""
    app = await showcase()
    async with serving(app) as url, open_browser() as browser:
        cookie = await log_in(app, url, USER)
        for each in pictures:
            await _take(browser, each, url, cookie, directory / each.file)
            print(each.file)  # noqa: T201 - a script's progress


async def _take(
    browser: Browser, what: Picture, url: str, cookie: tuple[str, str], path: Path
) -> None:
    context = await browser.new_context(
        viewport={"width": what.width, "height": what.height},
        color_scheme=what.theme,
        reduced_motion="reduce",
    )
    name, value = cookie
    await context.add_cookies([{"name": name, "value": value, "url": url}])
    page = await context.new_page()
    await page.clock.set_fixed_time(NOW)
    await page.goto(url + PAGES[what.page])
    await expect(page.locator("html[data-scripted]")).to_be_attached()
    if await page.locator("[data-live]").count():
        await expect(page.locator("#link")).to_have_attribute("data-state", "live")
    await page.evaluate("document.fonts.ready.then(() => null)")
    path.parent.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=path, full_page=what.is_whole)
    await context.close()


def main() -> None:
    """Take those that are asked for."""
    parser = argparse.ArgumentParser(description="Take the pictures of the documents anew.")
    parser.add_argument("names", nargs="*", help="of pictures, without .png; default: all")
    parser.add_argument("--all", type=Path, metavar="DIRECTORY", help="every page, put there")
    wanted = parser.parse_args()
    if wanted.all:
        asyncio.run(
            take(
                [e for e in every_page() if not wanted.names or e.page in wanted.names], wanted.all
            )
        )
        return
    known = {Path(each.file).stem: each for each in PICTURES}
    unknown = set(wanted.names) - set(known)
    if unknown:
        parser.error(
            f"no picture is called {', '.join(sorted(unknown))}; there are {', '.join(known)}"
        )
    asyncio.run(take([known[name] for name in wanted.names or known], DOCS))


if __name__ == "__main__":
    main()
