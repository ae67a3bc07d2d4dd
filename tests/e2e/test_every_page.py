"""The pages that lists and builds lead to, and those of accounts: barriers, width and errors.

They are served twice: what builds were given and have made by a scripted engine, with all that can
be on a page, and histories by a real one whose clock was moved.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser

from datakit_ci.accounts import AccountBook
from datakit_ci.acl import Identity, Scope
from datakit_ci.dashboard import create_app
from datakit_ci.dashboard.app import ROUTES, Access
from datakit_ci.dashboard.particulars import Particulars
from datakit_ci.dashboard.providers import Provider
from datakit_ci.dashboard.rendering import path_of
from datakit_ci.explanation import Explanation, Reason, ReasonKind, Verdict
from datakit_ci.past import Past
from datakit_ci.project import Config, Project
from datakit_ci.question import Question, QuestionKind
from datakit_ci.secrets import Secret
from datakit_ci.state import BuildState, GraphNode, JobState, Status, TargetState
from datakit_ci.target import FLOWS, Target
from datakit_ci.trace import Observation
from datakit_ci.webhook import Webhook
from tests.support.artefacts import PNG, add_result
from tests.support.axe import barriers
from tests.support.ci_scene import build_id, fill
from tests.support.fake_engine import FakeEngine
from tests.support.pages import log_in, serving
from tests.support.timed_world import red_then_green, timed_world
from tests.support.visitors import TokenAccounts, everything

pytestmark = [pytest.mark.foreign, pytest.mark.asyncio(loop_scope="module")]

LONG = "a-name-without-any-place-to-break-" * 4
FILES = {
    "README.md": b"# Shop\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n[next](docs/next.md)\n",
    "docs/next.md": b"Next\n",
    "page.html": b"<h1>Coverage</h1>",
    "pixel.png": PNG,
    "data.bin": bytes(range(256)),
    "empty": b"",
    "main.py": b"import os\n\nprint('a' * 3)  " + b"# a long line" * 30 + b"\n",
    LONG: b"long\n",
}
GREEN, RED = (build_id("acme/shop", "artefacts", salt) for salt in ("green", "red"))
TIDY = build_id(FLOWS, "tidy")
GONE = build_id("acme/shop", LONG, "gone")

OF_BUILD = (
    "", "/output", "/output/docs", "/output/README.md", "/output/page.html", "/output/pixel.png",
    "/output/data.bin", "/output/empty", "/output/main.py", f"/output/{LONG}", "/input",
    "/observations", "/tests",
)  # fmt: skip
OF_RED = ("", "/compare", "/observations", "/tests")
OTHERS = (
    "/results/acme/shop/artefacts",
    "/api/v1",
    "/settings",
    "/profile",
    "/",
    "/pr",
    "/pools",
    "/branch",
    "/tag",
    "/acme/shop",
    "/acme/shop/pr",
    "/acme/shop/branch",
    "/acme/shop/tag",
    "/acme/shop/pr/318",
    "/history/acme/shop/pr/318",
    "/acme/shop/ref/heads/rounding",
    "/flows",
    "/flows/published-docs",
    "/flows/public/rates",
    "/results/flows/tidy",
)
OF_FLOW = ("", "/input", "/output/clean.txt", "/compare?with=previous", "/observations")
OF_STRANGERS = ("/login", "/login?next=/pr", "/setup?token=the-link", "/setup?token=wrong")
STATUSES = {
    "/setup?token=wrong": 404,
    "/history/me/app/ref/heads/never": 404,
    "/?at=2000-01-01": 404,
    "/?at=nonsense": 400,
}
PAST = (
    "/history/me/app/ref/heads/main", "/history/me/app/ref/heads/never", "/results/me/app/unit",
    "/me/app/ref/heads/main?at=2026-03-05T08:00:00Z", "/?at=2026-03-05T08:00:00Z",
    "/?at=2000-01-01", "/branch?at=2026-03-05T08:00:00Z", "/?at=nonsense",
)  # fmt: skip
NAMES = (
    *(f"green{below}" for below in OF_BUILD),
    *(f"red{below}" for below in OF_RED),
    *(f"flow{below}" for below in OF_FLOW),
    "long build",
    *OTHERS,
    *OF_STRANGERS,
    *PAST,
    "past build",
    "past commit",
)

_EXCESS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@dataclass(frozen=True)
class Place:
    """Where a page is, and with which cookie it is to be asked for."""

    url: str
    cookie: tuple[str, str] | None = None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def places(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Place]]:
    async with AsyncExitStack() as stack:
        engine = await _scripted()
        app = create_app(
            engine,
            access=_access(),
            controls=engine,
            particulars=Particulars(
                {"--web-ui": "http://127.0.0.1:8080"}, lambda: CONFIG, lambda: {"KEY"},
                database=f"/var/lib/{LONG}.git", trouble=lambda: "The disk is full.",
            ),
        )  # fmt: skip
        url = await stack.enter_async_context(serving(app))
        ann = await log_in(app, url, "github:ann")
        found = {f"green{below}": _of(url, GREEN.path, below, ann) for below in OF_BUILD}
        found |= {f"red{below}": _of(url, RED.path, below, ann) for below in OF_RED}
        found |= {f"flow{below}": _of(url, TIDY.path, below, ann) for below in OF_FLOW}
        found |= {"long build": _of(url, GONE.path, "", ann)}
        found |= {path: Place(url + path, ann) for path in OTHERS}
        found |= await _doors(stack, tmp_path_factory.mktemp("accounts"))
        found |= await _past(stack, tmp_path_factory.mktemp("past"))
        yield found


CONFIG = Config(
    projects=[Project("acme/shop", lambda _: {}), Project(f"acme/{LONG[:90]}", lambda _: {})],
    secrets={"TOKEN": Secret.env("A_TOKEN"), "KEY": Secret.file(f"/none/{LONG}")},
    webhooks=[Webhook("https://hooks.example.org/T0/hunter2", Secret.env("HOOK"))],
)


async def _doors(stack: AsyncExitStack, directory: Path) -> dict[str, Place]:
    """Where strangers come in: with a password, with an account elsewhere, or as the first."""
    book = AccountBook.open(directory / "accounts", lambda: datetime.now(UTC))
    access = replace(_access(), book=book)
    url = await stack.enter_async_context(serving(create_app(FakeEngine(), access=access)))
    return {path: Place(url + path) for path in OF_STRANGERS}


def _access() -> Access:
    accounts = TokenAccounts()
    accounts.tokens["t"] = (Identity("github:ann"), Scope())
    providers = {"github": Provider(name="github", client_id="a", client_secret="b")}
    rules = everything("github:ann")
    return Access(lambda: rules, accounts, setup="the-link", providers=providers)


async def _scripted() -> FakeEngine:
    """A stage that passed and then failed, with artefacts, reports and observations."""
    now = datetime.now(UTC)
    engine = fill(FakeEngine(), now).engine
    seen = tuple(
        Observation(Question(QuestionKind.FILE, path), ["F", letter * 40])
        for path, letter in (("README.md", "1"), (LONG, "2"))
    )
    suite = b'<testsuite><testcase classname="s" name="%s" time="1.5">%s</testcase></testsuite>'
    await add_result(
        engine, GREEN, given=FILES, made=FILES, seen=seen, log=b"all good\n",
        reports={"r.xml": suite % (LONG.encode(), b"")}, finished=now - timedelta(hours=3),
    )  # fmt: skip
    failure = b'<failure message="assert 1 == 2">trace of it</failure>'
    await add_result(
        engine, RED, given={**FILES, "main.py": b"other\n"}, failed="1 failed " + LONG, seen=seen,
        reports={"r.xml": suite % (LONG.encode(), failure)}, log=b"assert 1 == 2\n",
        finished=now - timedelta(hours=1),
    )  # fmt: skip
    reason = Reason(ReasonKind.OBSERVATION, f"{LONG} changed from 1111111 to 3333333")
    engine.whys[RED] = Explanation("artefacts", Verdict.RAN, (reason,), RED, GREEN)
    waiting = BuildState(GONE, Status.WAITING, "pool cpu is full", command="c" * 900, queued=now)
    engine.add_build(waiting)
    await _add_flows(engine, now)
    return engine


async def _add_flows(engine: FakeEngine, now: datetime) -> None:
    """One that has nothing to show yet, and one with two results."""
    seen = (Observation(Question(QuestionKind.FILE, "raw.txt"), ["F", "1" * 40]),)
    for letter in "ab":
        await add_result(
            engine, TIDY, given={"raw.txt": letter.encode()}, made={"clean.txt": b"a\n"},
            seen=seen, log=b"tidied\n", finished=now,
        )  # fmt: skip
    job = JobState("publish", Status.SUCCESS, "holds what main says", (TIDY,))
    graph = (
        GraphNode("h", LONG, "head", Status.SUCCESS),
        GraphNode("s", "tidy", "stage", Status.SUCCESS, inputs=("h",), build=TIDY),
    )
    empty = TargetState(Target(FLOWS, "flow", "published-docs"), jobs=(job,), updated=now)
    rates = replace(empty, target=Target(FLOWS, "flow", "public/rates"), graph=graph)
    engine.flowing = [empty, rates]


async def _past(stack: AsyncExitStack, directory: Path) -> dict[str, Place]:
    """A branch that was red and is green, and the moments between."""
    world = await stack.enter_async_context(timed_world(directory))
    engine, _, _, broken = await stack.enter_async_context(red_then_green(world))
    app = create_app(engine, now=world.clock.now, past=Past(world.database))
    url = await stack.enter_async_context(serving(app))
    (state,) = engine.targets()
    at = "?at=2026-03-05T08:00:00Z"
    return {
        **{path: Place(url + path) for path in PAST},
        "past build": Place(url + path_of("build", broken.path) + at),
        "past commit": Place(f"{url}/me/app/commit/{state.head}"),
    }


def _of(url: str, build: str, below: str, cookie: tuple[str, str]) -> Place:
    return Place(url + path_of("build", build) + below, cookie)


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 1440)])
@pytest.mark.parametrize("name", NAMES)
async def test_every_page_is_free_of_barriers_and_fits_its_window(
    browser: Browser,
    places: dict[str, Place],
    name: str,
    scheme: Literal["light", "dark"],
    width: int,
) -> None:
    place = places[name]
    context = await browser.new_context(
        color_scheme=scheme,
        reduced_motion="reduce",
        viewport={"width": width, "height": 900},
        bypass_csp=True,  # for the checker itself
    )
    if place.cookie is not None:
        cookie_name, value = place.cookie
        await context.add_cookies([{"name": cookie_name, "value": value, "url": place.url}])
    page = await context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    answer = await page.goto(place.url)
    excess = await page.evaluate(_EXCESS)
    found = await barriers(page)
    title = await page.title()
    await context.close()
    assert (found, excess, errors) == ([], 0, [])
    assert title.endswith("DataKit")
    assert answer is not None
    assert answer.status == STATUSES.get(name, 200)


NO_PAGES = (
    "/api/v1/.+", ".*/db.git/.+", "/health", "/cc.xml", ".*/?feed.atom", ".+/badge.svg", "/metrics",
    "/events", ".+/log.txt", ".+/log/(events|lines|search|text)", "/log/(live|saved)/.+",
    "/login/{provider}.*",
)  # fmt: skip
"""Addresses that send no page, or lead on to one."""


async def test_no_page_is_left_out(places: dict[str, Place]) -> None:
    app = web.Application()
    paths = {urlsplit(place.url).path for place in places.values()}
    for route in ROUTES:
        canonical = app.router.add_resource(route.path).canonical
        if route.method != "GET" or any(re.fullmatch(each, canonical) for each in NO_PAGES):
            continue
        if canonical.startswith("/build/{flows}"):
            continue  # made from those of projects
        pattern = re.sub(r"\\{\w+\\}", ".+", re.escape(canonical))
        assert any(re.fullmatch(pattern, path) for path in paths), canonical
