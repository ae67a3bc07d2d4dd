"""A live log: readers from any offset, late comers, the end, and the limit."""

from __future__ import annotations

import asyncio
from pathlib import Path

from datakit_ci.livelog import LiveLog, RedactedLog
from datakit_ci.redaction import Redaction


async def collect(log: LiveLog, offset: int = 0) -> bytes:
    return b"".join([piece async for piece in log.follow(offset)])


async def test_a_late_reader_gets_everything_from_byte_0(tmp_path: Path) -> None:
    with LiveLog(tmp_path / "log") as log:
        log.write(b"one\n")
        log.write(b"two\n")
    assert await collect(log) == b"one\ntwo\n"


async def test_a_reader_starts_at_any_offset(tmp_path: Path) -> None:
    with LiveLog(tmp_path / "log") as log:
        log.write(b"one\ntwo\n")
    assert await collect(log, 4) == b"two\n"
    assert await collect(log, 100) == b""


async def test_a_reader_waits_for_what_comes_and_stops_at_the_end(tmp_path: Path) -> None:
    with LiveLog(tmp_path / "log") as log:
        log.write(b"first")
        reader = log.follow()
        assert await anext(reader) == b"first"
        async with asyncio.TaskGroup() as group:
            second = group.create_task(anext(reader, b"end"))
            await asyncio.sleep(0)
            assert not second.done()
            log.write(b"second")
        assert second.result() == b"second"
    assert await anext(reader, b"end") == b"end"


async def test_many_readers_see_the_same(tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as group:
        with LiveLog(tmp_path / "log") as log:
            readers = [group.create_task(collect(log, offset)) for offset in range(20)]
            for number in range(100):
                log.write(b"%d\n" % number)
                await asyncio.sleep(0)
    whole = (tmp_path / "log").read_bytes()
    assert [reader.result() for reader in readers] == [whole[offset:] for offset in range(20)]


async def test_a_reader_outlives_the_file(tmp_path: Path) -> None:
    with LiveLog(tmp_path / "log") as log:
        log.write(b"a" * 100_000)
        reader = log.follow()
        start = await anext(reader)
    log.path.unlink()
    rest = [piece async for piece in reader]
    assert start + b"".join(rest) == b"a" * 100_000


async def test_a_log_over_the_limit_is_cut_with_a_line_that_says_so(tmp_path: Path) -> None:
    with LiveLog(tmp_path / "log", limit=10) as log:
        log.write(b"12345678")
        log.write(b"9abc")
        log.write(b"never")
    text = (tmp_path / "log").read_text()
    assert text == "123456789a\n[datakit-ci] log cut here: it is longer than 10 bytes\n"
    assert log.size == len(text)


async def test_a_log_of_exactly_the_limit_is_whole(tmp_path: Path) -> None:
    with LiveLog(tmp_path / "log", limit=4) as log:
        log.write(b"1234")
        log.write(b"")
    assert (tmp_path / "log").read_bytes() == b"1234"


async def test_a_note_starts_on_a_line_of_its_own(tmp_path: Path) -> None:
    with LiveLog(tmp_path / "log") as log:
        log.note("start")
        log.write(b"no newline")
        log.note("end")
    assert (tmp_path / "log").read_text() == "[datakit-ci] start\nno newline\n[datakit-ci] end\n"


def test_a_redacted_log_holds_back_what_could_become_a_secret(tmp_path: Path) -> None:
    with LiveLog(tmp_path / "log") as spooled:
        log = RedactedLog(spooled, Redaction({"TOKEN": b"12345678"}))
        log.write(b"a 1234")
        assert log.path.read_bytes() == b"a "
        log.write(b"5678 b 12")
        assert log.path.read_bytes() == b"a *** b "
        log.finish()
        assert log.path.read_bytes() == b"a *** b 12"
        assert log.size == len(b"a *** b 12")


def test_our_own_lines_are_redacted_and_come_after_what_was_held_back(tmp_path: Path) -> None:
    with LiveLog(tmp_path / "log") as spooled:
        log = RedactedLog(spooled, Redaction({"TOKEN": b"12345678"}))
        log.write(b"1234")
        log.note("no 12345678")
    assert log.path.read_bytes() == b"1234\n[datakit-ci] no ***\n"


async def test_a_hundred_readers_at_the_end_share_a_descriptor_and_what_is_read(
    tmp_path: Path,
) -> None:
    def descriptors() -> int:
        opened = [fd.readlink() for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
        return opened.count(tmp_path / "log")

    with LiveLog(tmp_path / "log") as log:
        written = descriptors()
        readers = [log.follow() for _ in range(100)]
        for number in range(3):
            log.write(b"line %d\n" % number)
            first, *others = [await anext(reader) for reader in readers]
            assert first == b"line %d\n" % number
            assert all(piece is first for piece in others)
        assert descriptors() == written + 1
        late = log.follow()
        assert await anext(late) == b"line 0\nline 1\nline 2\n"
        for reader in (*readers, late):
            await reader.aclose()
        assert descriptors() == written
