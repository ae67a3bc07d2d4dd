"""Which results a rule drops."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from datakit_ci.retention import Retention, superfluous
from datakit_ci.state import BuildId
from datakit_core.errors import ConfigError

NOW = datetime(2024, 5, 6, tzinfo=UTC)
BUILDS = [BuildId("me/app", "unit", "a" * 64, f"{age:064}") for age in range(5)]
FINISHED = {build: NOW - timedelta(days=age) for age, build in enumerate(BUILDS)}


@pytest.mark.parametrize(
    ("rule", "gone"),
    [
        (Retention(), []),
        (Retention(days=2), [3, 4]),
        (Retention(days=1.5), [2, 3, 4]),
        (Retention(keep=3), [3, 4]),
        (Retention(days=3, keep=1), [1, 2, 3, 4]),
        (Retention(days=1, keep=4), [2, 3, 4]),
        (Retention(keep=0), [0, 1, 2, 3, 4]),
    ],
)
def test_a_rule_drops_what_exceeds_either_bound(rule: Retention, gone: list[int]) -> None:
    assert superfluous(FINISHED, rule, (), NOW) == {BUILDS[age] for age in gone}


def test_what_is_wanted_is_kept_however_old_it_is() -> None:
    gone = superfluous(FINISHED, Retention(days=1, keep=1), [BUILDS[4]], NOW)
    assert gone == {BUILDS[1], BUILDS[2], BUILDS[3]}


@pytest.mark.parametrize("field", ["days", "keep"])
@pytest.mark.parametrize("value", [-1, "30", True, float("nan")])
def test_a_bound_is_a_number(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"retention: {field}"):
        Retention(**{field: value})  # type: ignore[arg-type]
