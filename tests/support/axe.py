"""The accessibility checker axe (tests/vendor), run on a page of a browser."""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import Page

__all__ = ["barriers"]

_AXE = Path(__file__).parent.parent / "vendor" / "axe.min.js"

_CHECK = """async () => {
  const found = await axe.run(document, {resultTypes: ["violations"]});
  return found.violations
    .filter((each) => ["serious", "critical"].includes(each.impact))
    .flatMap((each) => each.nodes.map((node) => `${each.id}: ${node.html.slice(0, 200)}`));
}"""


async def barriers(page: Page) -> list[str]:
    """What is seriously wrong with a page whose context bypasses the Content-Security-Policy."""
    await page.add_script_tag(path=_AXE)
    found: list[str] = await page.evaluate(_CHECK)
    return found
