"""A real Chromium for tests of pages; they skip where there is none."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

__all__ = ["note_complaints", "open_browser", "until_keys_are_heard", "watched"]

# Two browsers, a kernel and a container engine may share two processors: be patient, never wrong.
expect.set_options(timeout=20_000)

_FLAGS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)


@asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    """Start Debian's Chromium, or the one that ``$CHROMIUM`` names."""
    path = _executable()
    sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()  # Chromium's cannot work as root
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=path, args=[*_FLAGS, *sandbox], timeout=30_000
        )
        try:
            yield browser
        finally:
            await browser.close()


async def until_keys_are_heard(page: Page) -> None:
    """Wait for the scripts of a page that has just been led to; before, its keys do nothing."""
    await expect(page.locator("html[data-scripted]")).to_be_attached()


async def watched(context: BrowserContext, complaints: list[str]) -> Page:
    """A page whose errors, also those of the Content-Security-Policy, are collected."""
    page = await context.new_page()
    note_complaints(page, complaints)
    return page


def note_complaints(page: Page, complaints: list[str]) -> None:
    """Collect what goes wrong on a page: errors, what its policy forbids, and dialogs."""
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("dialog", lambda dialog: complaints.append(f"a dialog: {dialog.message}"))


def _executable() -> str:
    path = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    if not Path(path).exists():
        pytest.skip(f"{path} is missing; install Debian's package chromium, or set CHROMIUM")
    return path
