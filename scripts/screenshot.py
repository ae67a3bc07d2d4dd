"""Take a picture of a page: scripts/screenshot.py URL OUTPUT [--width N] [--height N] [--dark].

Uses Debian's Chromium (or the one that $CHROMIUM names) by way of Playwright, headless. The
picture is of what fits the window; with --full, of the whole page.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path

from playwright.async_api import async_playwright

_FLAGS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Take a picture of a page.")
    parser.add_argument("url")
    parser.add_argument("output", type=Path)
    parser.add_argument("--width", type=int, default=1440, help="of the window, in pixels")
    parser.add_argument("--height", type=int, default=900, help="of the window, in pixels")
    parser.add_argument("--scale", type=float, default=1, help="device pixels per pixel")
    parser.add_argument("--dark", action="store_true", help="prefer the dark theme")
    parser.add_argument("--full", action="store_true", help="the whole page, not only the window")
    parser.add_argument("--wait", default="main", help="CSS selector of what has to be there")
    return parser.parse_args()


async def _take(wanted: argparse.Namespace) -> None:
    flags = [*_FLAGS, "--no-sandbox"] if os.geteuid() == 0 else _FLAGS
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=flags
        )
        page = await browser.new_page(
            viewport={"width": wanted.width, "height": wanted.height},
            device_scale_factor=wanted.scale,
            color_scheme="dark" if wanted.dark else "light",
            reduced_motion="reduce",
        )
        await page.goto(wanted.url)
        await page.locator(wanted.wait).first.wait_for()
        await page.evaluate("document.fonts.ready.then(() => null)")
        await page.screenshot(path=wanted.output, full_page=wanted.full)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(_take(_arguments()))
