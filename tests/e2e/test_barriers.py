"""Every page, in light and dark, wide and narrow, before the accessibility checker axe."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from datakit_ci.dashboard import create_app
from datakit_ci.dashboard.rendering import path_of
from datakit_ci.pools import LockState, PoolState
from datakit_ci.target import Target
from tests.support.axe import barriers
from tests.support.ci_scene import fill, matrix_graph, target_state
from tests.support.fake_engine import FakeEngine
from tests.support.pages import serving

pytestmark = [pytest.mark.foreign, pytest.mark.asyncio(loop_scope="module")]

_FULL = (
    "/", "/pr", "/branch", "/tag", "/branch?q=none", "/pools", "/nothing", "/acme/shop",
    "/acme/shop/branch", "/acme/shop/ref/heads/rounding", "/acme/shop/pr/318",
    "/acme/storefront/ref/heads/trial/stages", "/acme/new/ref/heads/main",
    "/acme/shop/ref/heads/large", "/acme/shop/ref/heads/large?expand=unit",
)  # fmt: skip
_EMPTY = ("/", "/pr", "/pools")
_BUILDS = ("failed build", "running build")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pages() -> AsyncIterator[dict[str, str]]:
    """Two services, one with all there can be and one with nothing; their pages by name."""
    scene = fill(FakeEngine(), datetime.now(UTC))
    engine = scene.engine
    waiting = scene.busy.graph[5].build
    assert waiting is not None
    engine.busy_pools = {
        "cpu": PoolState(2, (scene.live,), (waiting,)),
        "net": PoolState(1, (), ()),
    }
    engine.held_locks = {"staging": LockState(scene.live, (waiting,))}
    large = Target("acme/shop", "heads", "large")
    about = ("Many", "First Author", 9)
    engine.add(target_state(large, matrix_graph("acme/shop"), about, datetime.now(UTC)))
    engine.add(replace(scene.green, target=Target("acme/new", "heads", "main"), jobs=(), graph=()))
    failed, live = path_of("build", scene.failed.path), path_of("build", scene.live.path)
    async with serving(create_app(engine)) as full, serving(create_app(FakeEngine())) as empty:
        yield {
            **{path: full + path for path in _FULL},
            "failed build": full + failed,
            "running build": full + live,
            **{f"empty {path}": empty + path for path in _EMPTY},
        }


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 360)])
@pytest.mark.parametrize("name", [*_FULL, *_BUILDS, *(f"empty {path}" for path in _EMPTY)])
async def test_no_page_has_a_serious_barrier(
    browser: Browser, pages: dict[str, str], name: str, scheme: Literal["light", "dark"], width: int
) -> None:
    context = await browser.new_context(
        color_scheme=scheme,
        reduced_motion="reduce",
        viewport={"width": width, "height": 900},
        bypass_csp=True,  # for the checker itself
    )
    page = await context.new_page()
    await page.goto(pages[name])
    found = await barriers(page)
    await context.close()
    assert found == []


async def test_the_checker_finds_what_is_wrong(browser: Browser, pages: dict[str, str]) -> None:
    context = await browser.new_context(bypass_csp=True)
    page = await context.new_page()
    await page.goto(pages["/"])
    await page.evaluate("document.documentElement.removeAttribute('lang')")
    assert any(each.startswith("html-has-lang: ") for each in await barriers(page))
    await context.close()
