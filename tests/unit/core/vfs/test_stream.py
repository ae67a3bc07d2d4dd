"""Streams: offsets, flush markers, waiting, conflation, giving up."""

from __future__ import annotations

import pytest

from datakit_core.errors import InvalidArgument, ReadOnly
from datakit_core.vfs import Deferred, Handle, Kind, Latest, Live, Stat, StreamFile, StreamHandle


def stream(live: Live) -> Handle:
    handle = StreamFile("head.live", live.open).open()
    assert isinstance(handle, Handle)
    return handle


def waiting(handle: Handle, offset: int, count: int = 100) -> Deferred[bytes]:
    answer = handle.read(offset, count)
    assert isinstance(answer, Deferred)
    assert not answer.done
    return answer


def test_a_value_is_read_at_once_and_followed_by_a_flush_marker() -> None:
    handle = stream(Live(b"one\n"))
    assert handle.read(0, 100) == b"one\n"
    assert handle.read(4, 100) == b""
    waiting(handle, 4)


def test_a_blocked_read_wakes_with_the_next_value() -> None:
    live = Live(b"one\n")
    handle = stream(live)
    handle.read(0, 100)
    handle.read(4, 100)
    read = waiting(handle, 4)
    live.publish(b"two\n")
    assert read.result() == b"two\n"
    assert handle.read(8, 100) == b""


def test_without_a_value_the_first_read_waits() -> None:
    live = Live()
    handle = stream(live)
    read = waiting(handle, 0)
    live.publish(b"one\n")
    assert read.result() == b"one\n"


def test_two_values_conflate_to_the_newest() -> None:
    live = Live(b"one\n")
    handle = stream(live)
    live.publish(b"two\n")
    live.publish(b"three\n")
    assert handle.read(0, 100) == b"three\n"
    assert handle.read(6, 100) == b""
    waiting(handle, 6)


def test_a_value_equal_to_the_last_one_sent_is_not_repeated() -> None:
    live = Live(b"one\n")
    handle = stream(live)
    handle.read(0, 100)
    handle.read(4, 100)
    read = waiting(handle, 4)
    live.publish(b"one\n")
    live.publish(b"one\n")
    assert not read.done
    live.publish(b"two\n")
    assert read.result() == b"two\n"


def test_a_line_longer_than_the_count_comes_in_parts_each_with_its_marker() -> None:
    live = Live(b"12345\n")
    handle = stream(live)
    assert [handle.read(0, 4), handle.read(4, 4)] == [b"1234", b""]
    live.publish(b"6\n")
    assert [handle.read(4, 4), handle.read(6, 4)] == [b"5\n", b""]
    assert handle.read(6, 4) == b"6\n"


@pytest.mark.parametrize("offset", [1, 5, 3])
def test_any_other_offset_is_refused(offset: int) -> None:
    handle = stream(Live(b"one\n"))
    handle.read(0, 100)
    with pytest.raises(InvalidArgument, match=r"^Attempt to seek in stream$"):
        handle.read(offset, 100)


def test_a_read_of_nothing_takes_nothing() -> None:
    handle = stream(Live(b"one\n"))
    assert handle.read(0, 0) == b""
    assert handle.read(0, 100) == b"one\n"


def test_a_cancelled_read_loses_no_value() -> None:
    live = Live()
    handle = stream(live)
    waiting(handle, 0).cancel()
    live.publish(b"one\n")
    assert handle.read(0, 100) == b"one\n"


def test_reads_that_wait_together_are_answered_in_turn() -> None:
    live = Live()
    handle = stream(live)
    first, second, third = (waiting(handle, 0) for _ in range(3))
    live.publish(b"one\n")
    assert (first.result(), second.result(), third.done) == (b"one\n", b"", False)
    live.publish(b"two\n")
    assert third.result() == b"two\n"


def test_cancelling_one_of_two_reads_leaves_the_value_to_the_other() -> None:
    live = Live()
    handle = stream(live)
    first, second = waiting(handle, 0), waiting(handle, 0)
    first.cancel()
    live.publish(b"one\n")
    assert second.result() == b"one\n"


def test_each_open_reads_for_itself() -> None:
    live = Live(b"one\n")
    early = stream(live)
    early.read(0, 100)
    late = stream(live)
    assert late.read(0, 100) == b"one\n"


def test_closing_leaves_the_source() -> None:
    live = Live()
    handle = stream(live)
    read = waiting(handle, 0)
    assert live.readers == 1
    handle.close()
    assert live.readers == 0
    live.publish(b"one\n")
    assert not read.done
    read.cancel()


def test_a_reader_may_close_another_while_a_value_is_published() -> None:
    live = Live()
    first, second = stream(live), stream(live)
    waiting(first, 0).on_done(lambda done: second.close())
    waiting(second, 0)
    live.publish(b"one\n")
    assert live.readers == 1


def test_a_stream_is_a_file_of_length_zero_that_cannot_be_written() -> None:
    file = StreamFile("head.live", Live().open, inode=3)
    assert file.stat() == Stat("head.live", Kind.FILE, 3, length=0)
    handle = file.open()
    assert isinstance(handle, StreamHandle)
    with pytest.raises(ReadOnly):
        handle.write(0, b"x")


def test_an_owner_is_told_when_its_reader_closes() -> None:
    told: list[str] = []
    handle = StreamHandle(Latest(b"one\n", on_close=lambda: told.append("closed")))
    handle.close()
    assert told == ["closed"]
