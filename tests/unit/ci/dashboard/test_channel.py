"""A live log told to many: who leads, who comes late, who is slow, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from datakit_ci.dashboard.ansi import START, Cursor
from datakit_ci.dashboard.channel import Channel, Channels, News
from datakit_ci.state import BuildId, BuildState, Status
from tests.support.ci_scene import build_id
from tests.support.fake_engine import FakeEngine

BUILD = build_id("me/app", "unit")
MEBIBYTE = 1 << 20


def encode(news: News) -> bytes:
    """``FROM-TO`` in bytes, the lines' numbers, and the unfinished line."""
    numbers = ",".join(str(line.number) for line in news.lines)
    partial = f"+{news.partial.number}" if news.partial else ""
    return f"{news.start.offset}-{news.end.offset} {numbers}{partial}".encode()


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine()
    engine.add_build(BuildState(BUILD, Status.RUNNING))
    return engine


@pytest.fixture
def channel() -> Channel:
    return Channel(START, encode)


@asynccontextmanager
async def led(channel: Channel, engine: FakeEngine) -> AsyncIterator[asyncio.Task[None]]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(channel.lead(engine, BUILD))
        yield task
        task.cancel()


async def told(channel: Channel, offset: int) -> None:
    """Wait until the channel has come to byte ``offset``."""
    while True:
        change = channel.pulse.next
        if channel.tail.offset >= offset:
            return
        await change.wait()


async def test_what_is_written_is_told_once_for_all(channel: Channel, engine: FakeEngine) -> None:
    async with led(channel, engine):
        await engine.write_log(BUILD, b"one\ntwo\n")
        await told(channel, 8)
    assert (channel.event(0), channel.next) == (b"0-8 1,2", 1)
    assert (channel.tail.offset, channel.tail.line) == (8, 3)
    assert engine.readers == 0


async def test_an_unfinished_line_is_told_but_not_passed(
    channel: Channel, engine: FakeEngine
) -> None:
    async with led(channel, engine):
        await engine.write_log(BUILD, b"one\nhal")
        await told(channel, 4)
        assert channel.event(0) == b"0-4 1+2"
        assert channel.latest == b"4-4 +2"
        await engine.write_log(BUILD, b"f\n")
        await told(channel, 9)
    assert channel.event(1) == b"4-9 2"


async def test_of_more_than_fits_an_event_only_the_end_is_rendered(
    channel: Channel, engine: FakeEngine
) -> None:
    lines = [b"%06d\n" % number for number in range(10_000)]
    async with led(channel, engine):
        await engine.write_log(BUILD, b"".join(lines))
        await told(channel, 70_000)
    event = channel.event(0)
    assert event is not None
    span, numbers = event.decode().split()
    assert span == "0-70000"
    rendered = [int(number) for number in numbers.split(",")]
    assert rendered == list(range(rendered[0], 10_001))
    assert 4_000 < len(rendered) < 5_000


async def test_who_stands_where_an_event_begins_can_go_on_from_it(
    channel: Channel, engine: FakeEngine
) -> None:
    async with led(channel, engine):
        for piece, end in ((b"one\n", 4), (b"two\n", 8)):
            await engine.write_log(BUILD, piece)
            await told(channel, end)
    assert channel.starting_at(START) == 0
    assert channel.starting_at(Cursor(4, 2)) == 1
    assert channel.starting_at(Cursor(8, 3)) == 2
    assert channel.starting_at(Cursor(5, 2)) is None


async def test_events_that_all_are_expected_to_have_seen_are_let_go(engine: FakeEngine) -> None:
    channel = Channel(START, lambda news: b"x" * 600_000)
    async with led(channel, engine):
        for end in (4, 8, 12):
            await engine.write_log(BUILD, b"abc\n")
            await told(channel, end)
    assert channel.next == 3
    assert [number for number in range(3) if channel.event(number) is not None] == [2]
    assert channel.starting_at(START) is None


async def test_why_a_build_waits_is_told_until_it_starts(
    channel: Channel, engine: FakeEngine
) -> None:
    waiting = BuildState(BUILD, Status.WAITING, reason="pool cpu is full")
    engine.add_build(waiting)
    change = channel.pulse.next
    async with led(channel, engine):
        await change.wait()
        assert channel.reason == "pool cpu is full"
        await engine.set_build(replace(waiting, status=Status.RUNNING, reason=""))
        await engine.write_log(BUILD, b"go\n")
        await told(channel, 3)
        assert channel.reason == ""


async def test_the_end_of_the_log_closes_the_channel(channel: Channel, engine: FakeEngine) -> None:
    async with led(channel, engine) as task:
        await engine.write_log(BUILD, b"one\n")
        await told(channel, 4)
        before = channel.is_closed
        await engine.set_build(BuildState(BUILD, Status.SUCCESS))
        await task
    assert (before, channel.is_closed) == (False, True)
    assert engine.readers == 0


async def test_a_log_that_comes_faster_than_it_is_rendered_is_not_piled_up(
    channel: Channel,
) -> None:
    taken = 0

    class Torrent(FakeEngine):
        async def watch_log(self, build: BuildId, offset: int = 0) -> AsyncIterator[bytes]:
            nonlocal taken
            for _ in range(4):
                yield b"x" * MEBIBYTE + b"\n"
                taken += 1

    async with led(channel, Torrent()) as task:
        await told(channel, MEBIBYTE)
        assert taken == 2  # one is told, one waits, and the third is held back
        await task
    assert channel.tail.offset == 4 * (MEBIBYTE + 1)


async def test_one_who_may_no_longer_read_does_not_close_it_for_others(
    channel: Channel,
) -> None:
    await channel.lead(FakeEngine(), BUILD)
    assert not channel.is_closed


async def test_the_next_leader_goes_on_where_the_first_has_stopped(
    channel: Channel, engine: FakeEngine
) -> None:
    async with led(channel, engine):
        await engine.write_log(BUILD, b"\x1b[31mred\nhalf")
        await told(channel, 9)
    await engine.write_log(BUILD, b" done\n")
    async with led(channel, engine):
        await told(channel, 19)
    assert channel.event(channel.next - 1) == b"9-19 2"
    red = Cursor.parse("0.1.31").style
    assert channel.tail == Cursor(19, 3, red)


async def test_a_channel_lives_as_long_as_somebody_uses_it() -> None:
    channels = Channels()
    made: list[Channel] = []

    def make() -> Channel:
        made.append(Channel(START, encode))
        return made[-1]

    with channels.join("log", make) as first:
        with channels.join("log", make) as second:
            assert second is first
            assert (first.users, len(channels)) == (2, 1)
        with channels.join("other", make) as third:
            assert third is not first
        assert (first.users, len(channels)) == (1, 1)
    assert (len(channels), len(made)) == (0, 2)
