"""The ledger's sense of time: commits know whole seconds only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from datakit_ci.ledger import is_before
from datakit_ci.state import TargetState
from datakit_ci.target import Target

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


def test_a_state_of_the_same_second_is_not_taken_for_an_earlier_one() -> None:
    state = TargetState(Target("me/app", "heads", "main"), updated=NOON)
    assert not is_before(state, NOON + timedelta(milliseconds=999))
    assert is_before(state, NOON + timedelta(seconds=1))
    assert not is_before(state, NOON - timedelta(hours=1))
    assert not is_before(state, None)
