"""Counting, and that it stays within bounds whatever a pipeline does."""

from __future__ import annotations

from datetime import timedelta

import pytest

from datakit_ci.state import BuildId
from datakit_ci.tally import OTHERS, Fate, Found, Tally

SECOND = timedelta(seconds=1)


def build(stage: str, project: str = "me/app") -> BuildId:
    return BuildId(project, stage, "0" * 64, "1" * 64)


def test_runs_count_by_stage_and_outcome() -> None:
    tally = Tally()
    tally.ran(build("unit"), "cpu", Fate.PASSED, SECOND, 2 * SECOND)
    tally.ran(build("unit"), "cpu", Fate.LOST, SECOND, 3 * SECOND)
    stage = tally.stages["me/app", "unit"]
    assert dict(stage.runs) == {Fate.PASSED: 1, Fate.LOST: 1}
    assert stage.nanoseconds == 5_000_000_000
    assert (tally.pools["cpu"].waited.count, tally.pools["cpu"].waited.total) == (2, 2 * 10**9)
    assert (tally.pools["cpu"].ran.count, tally.pools["cpu"].ran.total) == (2, 5 * 10**9)


def test_a_pipeline_that_makes_up_names_for_ever_is_counted_together() -> None:
    tally = Tally()
    for number in range(2000):
        tally.ran(build(f"s{number}"), f"p{number}", Fate.PASSED, SECOND, SECOND)
    tally.ran(build("s0"), "p0", Fate.FAILED, SECOND, SECOND)
    assert len(tally.stages) == 501
    assert len(tally.pools) == 101
    assert tally.stages[OTHERS, OTHERS].runs[Fate.PASSED] == 1500
    assert tally.stages["me/app", "s0"].runs == {Fate.PASSED: 1, Fate.FAILED: 1}


def test_a_clock_that_was_set_back_counts_as_no_time() -> None:
    tally = Tally()
    tally.ran(build("unit"), "cpu", Fate.PASSED, -SECOND, -SECOND)
    assert tally.pools["cpu"].ran.total == 0


def test_a_look_up_that_raises_is_an_error() -> None:
    tally = Tally()
    with tally.lookup() as found:
        found.append(Found.HIT)
    with pytest.raises(ValueError, match="broken"), tally.lookup():
        raise ValueError("broken")
    counts = {found: shown.count for found, shown in tally.lookups.items()}
    assert counts == {Found.HIT: 1, Found.MISS: 0, Found.ERROR: 1}
