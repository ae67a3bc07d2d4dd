"""Counting durations."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from datakit_core.metrics import Histogram

durations = st.integers(min_value=0, max_value=(1 << 63) - 1)


@given(st.lists(durations))
def test_every_bound_has_what_is_below_it(values: list[int]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    rows = list(histogram.cumulative())
    assert [bound for bound, _ in rows] == sorted(bound for bound, _ in rows)
    for bound, below in rows:
        assert below == sum(value < bound * 1e9 for value in values)
    assert rows[-1] == (float("inf"), len(values))
    assert (histogram.count, histogram.total) == (len(values), sum(values))


def test_one_duration_counts_for_several() -> None:
    histogram = Histogram()
    histogram.add(10_000, 3)
    assert (histogram.count, histogram.total) == (3, 30_000)


def test_histograms_are_added_up() -> None:
    one, other = Histogram(), Histogram()
    one.add(10)
    other.add(10**9, 2)
    both = Histogram.sum([one, other])
    assert (both.count, both.total) == (3, 2 * 10**9 + 10)
    assert one.count == 1
