"""Bars of builds lie on one scale, in order."""

from __future__ import annotations

from datetime import timedelta

from datakit_ci.dashboard.timeline import timeline
from datakit_ci.state import BuildState, Status
from tests.support.ci_scene import NOW, build_id


def build(name: str, queued: float | None, started: float | None, end: float | None) -> BuildState:
    """A build with moments in seconds after NOW."""
    moments = [None if at is None else NOW + timedelta(seconds=at) for at in (queued, started, end)]
    status = Status.RUNNING if end is None else Status.SUCCESS
    return BuildState(
        build_id("acme/shop", name),
        status,
        queued=moments[0],
        started=moments[1],
        finished=moments[2],
    )


def test_bars_are_parts_of_the_whole_time() -> None:
    drawn = timeline([build("b", 20, 50, 100), build("a", 0, 0, 50)], NOW)
    assert drawn is not None
    assert [(bar.build.id.stage, bar.wait, bar.start, bar.end) for bar in drawn.bars] == [
        ("a", 0, 0, 500),
        ("b", 200, 500, 1000),
    ]


def test_a_running_build_reaches_to_now() -> None:
    drawn = timeline([build("a", -10, -10, -5), build("b", -5, -5, None)], NOW)
    assert drawn is not None
    assert drawn.bars[1].end == 1000


def test_builds_that_never_began_have_no_bar() -> None:
    assert timeline([build("a", 0, None, None)], NOW) is None
    assert timeline([], NOW) is None


def test_a_result_from_the_cache_does_not_squeeze_the_others() -> None:
    day = -86400
    drawn = timeline([build("old", day, day, day + 5), build("new", 0, 0, 5)], NOW)
    assert drawn is not None
    assert [bar.build.id.stage for bar in drawn.bars] == ["new"]


def test_even_an_instant_can_be_seen() -> None:
    drawn = timeline([build("a", 0, 0, 1000), build("b", 1000, 1000, 1000)], NOW)
    assert drawn is not None
    assert all(bar.end - bar.start >= 4 for bar in drawn.bars)


def test_ticks_are_round_and_few() -> None:
    for seconds in (0.2, 3, 41, 200, 5000, 90_000, 10_000_000):
        drawn = timeline([build("a", 0, 0, seconds)], NOW)
        assert drawn is not None
        assert 1 <= len(drawn.ticks) <= 7
        assert drawn.ticks[0] == (0, 0)
        assert all(0 <= place <= 1000 for place, _ in drawn.ticks)
