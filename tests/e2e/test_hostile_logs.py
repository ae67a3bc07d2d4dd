"""Hostile logs, from their bytes to the nodes of a page in a real browser: text and nothing else.

Each log is a soup of escape sequences, markup and Unicode. It is written to a build, served, and
looked at in Chromium as part of the page, as lines that a script asks for, and as a stream.
Everywhere the nodes have to be ours, and the text what the renderer says that a terminal shows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.async_api import Page

from datakit_ci.dashboard import create_app
from datakit_ci.dashboard.ansi import plain
from datakit_ci.dashboard.rendering import path_of
from datakit_ci.dashboard.wording import visible
from datakit_ci.state import BuildState, Status
from tests.support.browser import note_complaints, open_browser
from tests.support.ci_scene import build_id
from tests.support.fake_engine import FakeEngine
from tests.support.pages import serving

pytestmark = [pytest.mark.foreign, pytest.mark.asyncio(loop_scope="module")]

MARKUP = [
    "<script>alert(1)</script>",
    "</div></div></span>",
    "<img src=x onerror=alert(1)>",
    "<!--",
    "-->",
    "<svg onload=alert(1)>",
    "\"'><a href=javascript:alert(1)>",
    "&lt;b&gt;",
    "&#x3c;",
    "]]>",
    "<",
    "&",
    "</template>",
    "<style>*{display:none}</style>",
    '" class="hit',
    "{{7*7}}",
    "<div id=main>",
]
CONTROLS = [
    "\x1b[31m",
    "\x1b[1;4;7;9m",
    "\x1b[38;2;1;2;3m",
    "\x1b[48;5;300m",
    "\x1b[0m",
    "\x1b[m",
    "\x1b[2K",
    "\x1b[9999C",
    "\x1b[5D",
    "\x1b[3G",
    "\x1b[",
    "\x1b]8;;javascript:alert(1)\x07link\x1b]8;;\x07",
    "\x1b]133;A\x07+ ",
    "\x1b]0;title\x07",
    "\x1bP",
    "\x1b\\",
    "\x9b31m",
    "\x9d",
    "\r",
    "\x08",
    "\t",
    "\x00",
    "\x0b",
    "\x0c",
    "\x7f",
    "\x85",
    "\x1b[38;5;<script>m",
    '\x1b[31"onclick=x m',
    "::group::",
    "##[group]",
    "::endgroup::",
    "\x1b[?25l",
    "\x1b(B",
]
SCRIPTS = [
    "\u202e",
    "\u2066",
    "\u200f",
    "\ufeff",
    "\u2028",
    "\u2029",
    "e\u0301",
    "\U0001f469\u200d\U0001f52c",
    "\ufdfa",
    "\u0600",
]
BITS = (
    st.sampled_from([*MARKUP, *CONTROLS, *SCRIPTS]).map(lambda bit: bit.encode())
    | st.text(max_size=5).map(lambda text: text.replace("\n", "").encode(errors="replace"))
    | st.binary(max_size=4).map(lambda data: data.replace(b"\n", b""))
)
LINE = st.lists(BITS, max_size=8).map(b"".join)
LOGS = st.lists(LINE, min_size=1, max_size=40)

LOOK = """
(lines) => {
  const strange = [], known = {
    DIV: ["class", "id", "data-t", "data-c"], A: ["href", "data-n", "aria-label"],
    SPAN: ["class"], I: ["class"], BUTTON: ["type", "class", "aria-expanded", "aria-label"],
  };
  for (const line of lines) for (const node of [line, ...line.querySelectorAll("*")]) {
    const allowed = known[node.tagName] ?? [];
    if (!known[node.tagName]) strange.push(node.outerHTML);
    for (const { name, value } of node.attributes) {
      if (!allowed.includes(name)) strange.push(`${name}=${value}`);
      if (name === "href" && !/^#L[0-9]+$/.test(value)) strange.push(value);
      if (name === "class" && !/^[a-z0-9 -]*$/.test(value)) strange.push(value);
      if (name === "id" && !/^L[0-9]+$/.test(value)) strange.push(value);
    }
  }
  const text = (line) => [...line.querySelector(":scope > span").childNodes]
    .filter((node) => node.className !== "cut").map((node) => node.textContent).join("");
  return [strange, lines.map(text)];
}
"""
PAGE = f"() => ({LOOK})([...document.querySelectorAll('#log .line')])"
FETCHED = f"""async () => {{
  const answer = await (await fetch(location.pathname + '/log/lines?from=1&to=1000')).json();
  const template = document.createElement('template');
  template.innerHTML = answer.html;
  const lines = [...template.content.children];
  return [...({LOOK})(lines), JSON.stringify(answer.sections).length];
}}"""


@dataclass
class Site:
    """A served engine, and a page of a browser."""

    engine: FakeEngine
    url: str
    page: Page
    complaints: list[str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site() -> AsyncIterator[Site]:
    engine = FakeEngine()
    async with serving(create_app(engine)) as url, open_browser() as browser:
        page = await browser.new_page()
        complaints: list[str] = []
        note_complaints(page, complaints)
        yield Site(engine, url, page, complaints)


def shown(lines: list[bytes]) -> list[str]:
    """The text of a log's lines, as a page has it."""
    return [visible(plain(line)) for line in lines]


@given(LOGS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
async def test_a_page_has_the_text_of_a_log_and_no_node_that_is_not_ours(
    site: Site, lines: list[bytes]
) -> None:
    build = build_id("acme/shop", "soup", str(lines))
    state = BuildState(build, Status.SUCCESS, started=datetime.now(UTC))
    site.engine.add_build(state, b"".join(line + b"\n" for line in lines))
    await site.page.goto(site.url + path_of("build", build.path))
    assert await site.page.evaluate(PAGE) == [[], shown(lines)]
    strange, text, _ = await site.page.evaluate(FETCHED)
    assert [strange, text] == [[], shown(lines)]
    assert site.complaints == []


async def test_lines_of_a_stream_are_as_safe_as_those_of_a_page(site: Site) -> None:
    build = build_id("acme/shop", "live")
    state = BuildState(build, Status.RUNNING, started=datetime.now(UTC))
    site.engine.add_build(state, b"")
    await site.page.goto(site.url + path_of("build", build.path))
    lines = [bit.encode() for bit in (*MARKUP, *CONTROLS, *SCRIPTS)]
    for start in range(0, len(lines), 10):
        await site.engine.write_log(build, b"\n".join(lines[start : start + 10]) + b"\n")
        await asyncio.sleep(0)
    await site.page.wait_for_selector(f"#L{len(lines)}", state="attached")
    assert await site.page.evaluate(PAGE) == [[], shown(lines)]
    assert site.complaints == []
