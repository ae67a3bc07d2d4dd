"""What is counted of requests that are not answered at once."""

from __future__ import annotations

from datakit_core.ninep.codec import codec_for
from datakit_core.ninep.dialect import PLAIN
from datakit_core.ninep.messages import (
    Record,
    Rerror,
    Rread,
    Rwrite,
    Tflush,
    Tread,
    Tversion,
    Twrite,
)
from datakit_core.ninep.traffic import Late, Traffic
from datakit_core.ninep.wire import NO_TAG, Fid, Tag

READ, WRITE = Tread(Fid(1), 0, 10), Twrite(Fid(1), 0, b"commit")


def frame(tag: int, message: Record) -> bytes:
    return codec_for(PLAIN).encode(Tag(tag), message)


def test_a_late_reply_counts_when_it_is_sent() -> None:
    traffic = Traffic()
    late = Late(traffic)
    late.add(frame(7, WRITE), 1_000)
    late.add(frame(8, READ), None)
    assert sum(traffic.answered) == 0
    late.sent(frame(7, Rwrite(6)), 5_000)
    late.sent(frame(8, Rread(b"news")), 9_000)
    assert traffic.answered[Twrite.number] == traffic.answered[Tread.number] == 1
    assert sum(traffic.failed) == 0
    assert [*traffic.by_task] == [Twrite.number]
    shown = traffic.by_task[Twrite.number]
    assert (shown.count, shown.total) == (1, 4_000)


def test_a_batch_counts_for_each_request_by_its_type() -> None:
    traffic = Traffic()
    traffic.add_batch([Tread.number, Twrite.number, Tread.number], 1_000)
    traffic.add_batch([Tread.number], 500)
    shown = {kind: (each.count, each.total) for kind, each in traffic.at_once.items()}
    assert shown == {Tread.number: (3, 2_500), Twrite.number: (1, 1_000)}


def test_an_error_counts_as_failed() -> None:
    traffic = Traffic()
    late = Late(traffic)
    late.add(frame(7, WRITE), 0)
    late.sent(frame(7, Rerror("Merge conflict: a", 0)), 1)
    assert (traffic.answered[Twrite.number], traffic.failed[Twrite.number]) == (1, 1)


def test_a_flushed_request_is_neither_answered_nor_counted_again() -> None:
    traffic = Traffic()
    late = Late(traffic)
    late.add(frame(7, READ), None)
    late.control(frame(9, Tflush(Tag(7))))
    late.control(frame(10, Tflush(Tag(7))))
    late.sent(frame(7, Rread(b"")), 1)
    assert traffic.flushed[Tread.number] == 1
    assert sum(traffic.answered) == 0


def test_a_new_session_forgets_what_was_asked_in_the_old_one() -> None:
    traffic = Traffic()
    late = Late(traffic)
    late.add(frame(7, READ), None)
    late.control(frame(NO_TAG, Tversion(8192, "9P2000")))
    late.control(frame(9, Tflush(Tag(7))))
    assert sum(traffic.flushed) == sum(traffic.answered) == 0
