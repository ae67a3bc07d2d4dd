"""Any part of a log is near, and is shown as it is in the whole log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datakit_ci.dashboard.ansi import LogRenderer
from datakit_ci.dashboard.logbook import LogBook, LogWindow
from datakit_ci.logtimes import LogTimes
from datakit_ci.state import BuildId, BuildState, Status
from tests.support.ci_scene import build_id
from tests.support.fake_engine import FakeEngine

OPEN: list[LogBook] = []
"""The books of a test, to be closed after it."""

START = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _closed_books() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


def numbered(count: int) -> bytes:
    return b"".join(b"line %d\n" % number for number in range(1, count + 1))


class Desk:
    """A build with a log, and a book to look it up in."""

    def __init__(self, log: bytes, status: Status = Status.SUCCESS) -> None:
        self.engine = FakeEngine()
        self.build: BuildId = build_id("acme/shop", "unit")
        self.engine.add_build(BuildState(self.build, status, started=START), log)
        self.book = LogBook()
        OPEN.append(self.book)

    async def state(self) -> BuildState:
        state = await self.engine.build(self.build)
        assert state is not None
        return state

    async def window(self, first: int, count: int = 1000) -> LogWindow:
        async with self.book.open(self.engine, await self.state()) as log:
            return await log.window(first, count)

    async def last(self, count: int = 1000) -> LogWindow:
        async with self.book.open(self.engine, await self.state()) as log:
            return await log.last(count)


async def test_a_short_log_is_shown_whole() -> None:
    desk = Desk(numbered(3) + b"and a half")
    window = await desk.last()
    assert [line.html for line in window.lines] == ["line 1", "line 2", "line 3", "and a half"]
    assert (window.first, window.last, window.end.offset, window.total) == (1, 4, 21, 4)
    assert window.at_end


async def test_an_empty_log_has_no_lines() -> None:
    window = await Desk(b"").last()
    assert (window.lines, window.first, window.last, window.total) == ((), 1, 0, 0)
    assert window.at_end


async def test_of_a_long_log_the_last_lines_are_shown() -> None:
    window = await Desk(numbered(30_000)).last()
    assert len(window.lines) == 1000
    assert all(line.html == f"line {line.number}" for line in window.lines)
    assert (window.last, window.end.line, window.at_end) == (30_000, 30_001, True)


async def test_any_part_can_be_asked_for_and_says_where_it_is() -> None:
    log = numbered(30_000)
    window = await Desk(log).window(23_456, 3)
    assert [line.html for line in window.lines] == ["line 23456", "line 23457", "line 23458"]
    assert log[window.lines[0].offset :].startswith(b"line 23456\n")
    assert (window.total, window.at_end) == (30_000, False)


async def test_a_line_beyond_the_end_shows_nothing() -> None:
    window = await Desk(numbered(10)).window(99)
    assert (window.lines, window.total) == ((), 10)


async def test_colours_set_long_ago_still_hold() -> None:
    window = await Desk(b"\x1b[31mred from here\n" + numbered(20_000)).window(15_000, 1)
    assert window.lines[0].html == '<span class="f1">line 14999</span>'


async def test_few_but_very_long_lines_are_bounded_and_the_last_are_shown() -> None:
    desk = Desk((b"y" * 99_999 + b"\n") * 100)
    assert 1 < len((await desk.window(1)).lines) < 100
    last = await desk.last()
    assert 1 < len(last.lines) < 100
    assert (last.last, last.at_end) == (100, True)


async def test_a_line_without_an_end_takes_bounded_time_and_memory() -> None:
    window = await Desk(b"x" * 9_000_000 + b"\nend\n").window(1)
    assert len(window.lines[0].html) < 10_000
    assert "cut here" in window.lines[0].html
    assert window.lines[1].html == "end"


async def test_a_log_that_grows_is_copied_further_and_read_once() -> None:
    desk = Desk(numbered(3) + b"li", Status.RUNNING)
    assert (await desk.window(1)).total == 4
    await desk.engine.write_log(desk.build, b"ne 4\nline 5\n")
    window = await desk.window(4)
    assert [line.html for line in window.lines] == ["line 4", "line 5"]
    assert len(desk.book) == 1
    assert desk.engine.readers == 0


async def test_another_run_of_a_build_is_another_log() -> None:
    desk = Desk(b"old\n")
    await desk.window(1)
    again = BuildState(desk.build, Status.SUCCESS, started=START.replace(hour=13))
    desk.engine.add_build(again, b"new, longer\n")
    assert [line.html for line in (await desk.window(1)).lines] == ["new, longer"]


async def test_a_log_as_of_another_moment_is_another_log() -> None:
    desk = Desk(b"later\n")
    state = await desk.state()
    async with desk.book.open(desk.engine, state) as log:
        assert log.size == 6
    async with desk.book.open(desk.engine, replace(state, log_size=0), "2026-03-04") as log:
        assert log.size == 0


async def test_copies_give_their_room_back_but_not_under_a_reader() -> None:
    engine, book = FakeEngine(), LogBook(room=2500)
    OPEN.append(book)
    states: list[BuildState] = []
    for number in range(4):
        state = BuildState(build_id("acme/shop", "unit", str(number)), Status.SUCCESS)
        engine.add_build(state, b"x" * 999 + b"\n")
        states.append(replace(state, log_size=1000))
    async with book.open(engine, states[0]) as first:
        for state in states[1:]:
            async with book.open(engine, state):
                pass
        assert len(book) == 2
        assert (await first.window(1, 1)).last == 1
    async with book.open(engine, states[3]) as kept:
        assert kept.size == 1000


async def test_times_come_with_the_log() -> None:
    desk = Desk(numbered(3))
    desk.engine.times[desk.build] = LogTimes(START, (0, 7), (0, 1500))
    async with desk.book.open(desk.engine, await desk.state()) as log:
        assert log.times is not None
        assert [log.times.at(line.offset) for line in (await log.window(1, 3)).lines] == [
            0,
            1500,
            1500,
        ]


@pytest.mark.parametrize(
    ("first", "last", "text"),
    [
        (1, 1, b"line 1\n"),
        (19_999, 20_000, b"line 19999\nline 20000\n"),
        (20_001, 99_999, b"red\n\nhalf"),
        (30_000, 30_001, b""),
    ],
)
async def test_lines_can_be_had_as_text(first: int, last: int, text: bytes) -> None:
    desk = Desk(numbered(20_000) + b"\x1b[31mred\x1b[0m\r\n\nhalf")
    async with desk.book.open(desk.engine, await desk.state()) as log:
        assert b"".join([piece async for piece in log.text(first, last)]) == text


BITS = [b"a", b"\n", b"\r", b"\x1b[1m", b"\x1b[31m", b"\x1b[0m", b"\xff", b"x" * 40_000]
SOUP = st.lists(st.sampled_from(BITS), max_size=25).map(b"".join)


@given(SOUP, st.integers(1, 30), st.integers(1, 30))
async def test_any_window_shows_what_the_whole_log_shows_there(
    soup: bytes, first: int, count: int
) -> None:
    renderer = LogRenderer()
    whole = renderer.feed(soup)
    if (partial := renderer.partial()) is not None:
        whole.append(partial)
    desk = Desk(soup)
    window = await desk.window(first, count)
    desk.book.close()
    assert window.total == len(whole)
    shown = list(window.lines)
    assert shown == whole[first - 1 : first - 1 + len(shown)]
    assert len(shown) == min(count, max(0, len(whole) - first + 1))
