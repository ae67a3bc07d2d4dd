"""Parts of logs, searches and streams over HTTP: bounded, shared, and the same for all who look."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from datakit_ci.dashboard import create_app
from datakit_ci.dashboard.channel import CHANNELS
from datakit_ci.dashboard.logpage import PAGE_LINES
from datakit_ci.dashboard.rendering import path_of
from datakit_ci.logtimes import LogTimes
from datakit_ci.state import BuildId, BuildState, Status
from tests.support.ci_scene import NOW, Scene, build_id, fill
from tests.support.fake_engine import FakeEngine
from tests.support.html import read_page

LOG = (
    b"$ set -x\n\x1b]133;A\x07+ make\n"
    + b"".join(b"\x1b[32mok\x1b[0m %d <b>\n" % number for number in range(3, 3001))
    + b"a.c:1:1: \x1b[31merror:\x1b[0m one\nmake: *** [all] Error 1\nfine\nerror: two\n"
)


class Bench:
    """A served build with a long log."""

    def __init__(self, client: TestClient, scene: Scene) -> None:  # type: ignore[type-arg]
        self.client, self.scene = client, scene
        self.build = build_id("acme/shop", "long")
        state = BuildState(self.build, Status.FAILURE, started=NOW)
        scene.engine.add_build(state, LOG)
        scene.engine.times[self.build] = LogTimes(NOW, (0, len(LOG) - 11), (0, 3_725_000))

    def path(self, tail: str, build: BuildId | None = None) -> str:
        return path_of("build", (build or self.build).path) + "/log" + tail

    async def lines(self, first: int, last: int) -> dict[str, object]:
        async with self.client.get(self.path(f"/lines?from={first}&to={last}")) as response:
            assert response.status == 200
            answer: dict[str, object] = await response.json()
            return answer

    async def matches(self, query: str) -> tuple[list[int], str]:
        async with self.client.get(self.path(f"/search?{query}")) as response:
            assert response.status == 200, await response.text()
            parts = [json.loads(line) async for line in response.content]
        assert [part for part in parts if "done" in part] == parts[-1:]
        return [number for part in parts for number in part["lines"]], parts[-1]["done"]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    scene = fill(FakeEngine())
    async with TestClient(TestServer(create_app(scene.engine, now=lambda: NOW))) as client:
        yield Bench(client, scene)


async def test_any_lines_can_be_asked_for(bench: Bench) -> None:
    answer = await bench.lines(2001, 2002)
    page = read_page(str(answer["html"]))
    assert page.ids == ["L2001", "L2002"]
    assert page.words == "ok 2001 <b> ok 2002 <b>"
    assert (answer["first"], answer["last"], answer["total"]) == (2001, 2002, 3004)
    assert answer["sections"] == [[1, None, "set -x", 0], [2, None, "make", 1]]
    assert 'data-t="0:00.0"' in str(answer["html"])
    assert 'data-t="1:02:05"' in str((await bench.lines(3004, 3004))["html"])


async def test_no_more_lines_are_sent_than_a_page_has(bench: Bench) -> None:
    answer = await bench.lines(1, 999_999_999)
    assert answer["last"] == PAGE_LINES
    assert (await bench.lines(5000, 6000))["html"] == ""
    assert (await bench.lines(9, 3))["html"] == ""


@pytest.mark.parametrize("query", ["", "from=1", "from=x&to=2", "from=-1&to=2", "from=1&to=9e9"])
async def test_what_is_no_line_is_refused(bench: Bench, query: str) -> None:
    for what in ("/lines", "/text"):
        async with bench.client.get(bench.path(f"{what}?{query}")) as response:
            assert response.status == 400


async def test_the_whole_log_is_searched(bench: Bench) -> None:
    assert await bench.matches("q=OK%20200&case") == ([], "end")
    assert await bench.matches("q=OK%202001") == ([2001], "end")
    assert await bench.matches("q=%5Eok%2029%5Cd0%20&regex") == (
        [2900, 2910, 2920, 2930, 2940, 2950, 2960, 2970, 2980, 2990],
        "end",
    )


async def test_failures_are_found_twice_as_well_as_once(bench: Bench) -> None:
    assert await bench.matches("failures") == ([3001, 3004], "end")
    assert await bench.matches("failures") == ([3001, 3004], "end")


async def test_failures_that_are_written_later_are_found_too(bench: Bench) -> None:
    assert await bench.matches("failures") == ([3001, 3004], "end")
    await bench.scene.engine.write_log(bench.build, b"fine\nfatal: three\n")
    assert await bench.matches("failures") == ([3001, 3004, 3006], "end")


async def test_of_very_many_matches_the_first_are_told(bench: Bench) -> None:
    await bench.scene.engine.write_log(bench.build, b"x\n" * 20_000)
    found, done = await bench.matches("q=.&regex")
    assert done == "many"
    assert found == list(range(1, 10_001))


@pytest.mark.parametrize("query", ["", "q=", "q=(&regex", "q=" + "x" * 1001])
async def test_what_cannot_be_searched_for_is_refused_with_a_reason(
    bench: Bench, query: str
) -> None:
    async with bench.client.get(bench.path(f"/search?{query}")) as response:
        assert response.status == 400
        assert "Nothing can be looked for" in await response.text()


async def test_lines_can_be_had_as_text_and_the_log_as_a_file(bench: Bench) -> None:
    async with bench.client.get(bench.path("/text?from=3000&to=3001")) as response:
        assert await response.text() == "ok 3000 <b>\na.c:1:1: error: one\n"
        assert response.headers["Content-Type"].startswith("text/plain")
        assert "sandbox" in response.headers["Content-Security-Policy"]
    async with bench.client.get(bench.path(".txt?download")) as response:
        assert await response.read() == LOG
        assert response.headers["Content-Disposition"] == 'attachment; filename="log.txt"'


@pytest.mark.parametrize("tail", ["/lines?from=1&to=2", "/text?from=1&to=2", "/search?q=x"])
async def test_of_an_unknown_build_there_is_nothing(bench: Bench, tail: str) -> None:
    unknown = build_id("acme/shop", "unknown")
    async with bench.client.get(bench.path(tail, unknown)) as response:
        assert response.status == 404


async def read_until(response: aiohttp.ClientResponse, text: bytes) -> bytes:
    data = b""
    while text not in data:
        more = await response.content.readany()
        assert more, data[-500:]
        data += more
    return data


async def test_a_hundred_who_watch_a_log_are_one_reader_of_it(bench: Bench) -> None:
    live, engine = bench.scene.live, bench.scene.engine
    path = bench.path("/events", live)
    answers = [await bench.client.get(path) for _ in range(100)]
    for answer in answers:
        await read_until(answer, b'id=\\"L19\\"')
    await engine.write_log(live, b"first news\n")
    for answer in answers:
        await read_until(answer, b"first news")
    assert engine.readers == 1
    assert len(bench.client.app[CHANNELS]) == 1
    for leader in answers[:50]:  # among them the one whose request reads the log
        leader.close()
    rest = answers[50:]
    for number in range(200):
        await engine.write_log(live, b"tick %d\n" % number)
        await read_until(rest[0], b"tick %d" % number)
        if len(bench.client.app[CHANNELS]) == 1 and engine.readers == 1:
            break
    await engine.write_log(live, b"last news\n")
    for answer in rest:
        await read_until(answer, b"last news")
    state = await engine.build(live)
    assert state is not None
    await engine.set_build(replace(state, status=Status.SUCCESS))
    for answer in rest:
        await read_until(answer, b"event: end")
    async with asyncio.timeout(10):
        while len(bench.client.app[CHANNELS]):  # noqa: ASYNC110 - the requests end by themselves
            await asyncio.sleep(0.01)
    assert engine.readers == 0


async def test_hundreds_who_watch_a_log_cost_no_more_reads_than_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, engine = bench.scene.live, bench.scene.engine
    pieces, follow = 0, engine.follow_log

    async def counted(build: BuildId, offset: int = 0) -> AsyncIterator[bytes]:
        nonlocal pieces
        async for piece in follow(build, offset):
            pieces += 1
            yield piece

    async with bench.client.get(bench.path("/events", live)) as first:
        data = await read_until(first, b'id=\\"L19\\"')
        tail = data.rpartition(b"id: ")[2].partition(b"\n")[0].decode()
    monkeypatch.setattr(engine, "follow_log", counted)
    head = f"GET {bench.path('/events', live)} HTTP/1.1\r\nHost: x\r\nLast-Event-ID: {tail}\r\n\r\n"
    async with AsyncExitStack() as stack:
        viewers = []
        for _ in range(300):
            reader, writer = await asyncio.open_connection(bench.client.host, bench.client.port)
            stack.callback(writer.close)
            writer.write(head.encode())
            viewers.append(reader)
        for reader in viewers:
            await reader.readuntil(b"retry: 1000\n\n")
        for number in range(3):
            await engine.write_log(live, b"tick %d\n" % number)
            for reader in viewers:
                await reader.readuntil(b"tick %d" % number)
    assert pieces == 3


async def test_who_comes_late_or_comes_back_misses_no_line_and_gets_none_twice(
    bench: Bench,
) -> None:
    live, engine = bench.scene.live, bench.scene.engine
    async with bench.client.get(bench.path("/events", live)) as steady:
        await read_until(steady, b'id=\\"L19\\"')
        seen, last = [19], ""
        for number in range(20, 40):
            await engine.write_log(live, b"line %d\n" % number)
            if number % 3:
                continue
            headers = {"Last-Event-ID": last} if last else {}
            async with bench.client.get(bench.path("/events", live), headers=headers) as late:
                data = (await read_until(late, b'id=\\"L%d\\"' % number)).decode()
            numbers = [int(part.partition("\\")[0]) for part in data.split('id=\\"L')[1:]]
            assert numbers == list(range(seen[-1] + 1 if last else 1, number + 1))
            seen.append(number)
            last = data.rpartition("\nid: ")[2].partition("\n")[0]


async def test_all_who_watch_are_told_now_and_then_that_we_are_still_there(bench: Bench) -> None:
    live, engine = bench.scene.live, bench.scene.engine
    answers = [await bench.client.get(bench.path("/events", live)) for _ in range(3)]
    for answer in answers:
        await read_until(answer, b'id=\\"L19\\"')
    (channel,) = bench.client.app[CHANNELS]
    for word in (b"one", b"two"):
        channel.beat()
        for answer in answers:
            await read_until(answer, b"event: ping")
        await engine.write_log(live, word + b"\n")
        for answer in answers:
            assert b"event: ping" not in await read_until(answer, word)


async def test_a_log_that_is_written_very_fast_is_told_in_short(bench: Bench) -> None:
    live, engine = bench.scene.live, bench.scene.engine
    async with bench.client.get(bench.path("/events", live)) as response:
        await read_until(response, b'id=\\"L19\\"')
        await engine.write_log(live, b"x\n" * 200_000 + b"the end\n")
        data = await read_until(response, b"the end")
    assert len(data) < 5_000_000
    assert b'id=\\"L200020\\"' in data
