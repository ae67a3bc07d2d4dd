"""When the lines of a log were written: exact while it is short, and bounded when it is long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datakit_ci.logtimes import MOST, LogTimes, Timekeeper
from datakit_core.errors import StoreError

START = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)


class Watch:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.moment = START

    def now(self) -> datetime:
        return self.moment

    def pass_by(self, milliseconds: int) -> None:
        self.moment += timedelta(milliseconds=milliseconds)


def kept(*writes: tuple[int, int]) -> LogTimes:
    """Times of a log with writes of so many bytes, each after so many milliseconds."""
    watch = Watch()
    keeper, size = Timekeeper(watch.now), 0
    for wait, octets in writes:
        watch.pass_by(wait)
        keeper.growing(size)
        size += octets
    return keeper.times()


def test_a_byte_has_the_moment_of_the_write_that_brought_it() -> None:
    times = kept((0, 10), (1000, 5), (500, 5))
    assert [times.at(offset) for offset in (0, 9, 10, 14, 15, 99)] == [0, 0, 1000, 1000, 1500, 1500]


def test_writes_in_quick_succession_are_one() -> None:
    assert kept((0, 1), (10, 1), (10, 1), (40, 1)).offsets == (0, 3)


def test_a_clock_that_is_set_back_makes_no_time_run_backwards() -> None:
    times = kept((1000, 1), (-5000, 1), (4500, 1), (2000, 1))
    assert times.moments == (1000, 2500)


def test_of_a_log_that_is_written_for_long_the_record_stays_small() -> None:
    times = kept(*[(60, 10)] * (MOST * 3))
    assert MOST // 2 <= len(times.offsets) <= MOST
    assert times.at(10 * (MOST * 2)) == pytest.approx(60 * MOST * 2, abs=400)


def test_nothing_is_known_of_a_log_without_times() -> None:
    assert LogTimes(START, (), ()).at(5) is None


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), max_size=20))
def test_what_was_written_is_read_back(writes: list[tuple[int, int]]) -> None:
    times = kept(*writes)
    assert LogTimes.from_bytes(times.to_bytes()) == times


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"version":1}',
        b'{"version":1,"started":"never","bytes":[],"milliseconds":[]}',
        b'{"version":1,"started":"2026-03-04T12:00:00+00:00","bytes":[1],"milliseconds":[]}',
        b'{"version":1,"started":"2026-03-04T12:00:00+00:00","bytes":[-1],"milliseconds":[0]}',
        b'{"version":1,"started":"2026-03-04T12:00:00+00:00","bytes":["x"],"milliseconds":[0]}',
    ],
)
def test_a_damaged_record_is_refused(content: bytes) -> None:
    with pytest.raises(StoreError, match=r"times\.json"):
        LogTimes.from_bytes(content)
