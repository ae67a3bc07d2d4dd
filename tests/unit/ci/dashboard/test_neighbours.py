"""The line of results around a build, and which of them it is compared with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from datakit_ci.archive import Dossier, Objects
from datakit_ci.dashboard.neighbours import find_neighbours
from datakit_ci.occasion import Occasion
from datakit_ci.state import BuildId, BuildState, Status

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
NONE = cast("Objects", None)  # nothing is read


def result(number: int, status: Status, branch: str) -> Dossier:
    """The ``number``-th result of a stage, for a branch."""
    state = BuildState(
        BuildId("acme/shop", "unit", "0" * 64, f"{number:064x}"),
        status,
        started=NOW + timedelta(minutes=number),
        occasion=Occasion(targets=((f"acme/shop/ref/heads/{branch}", "a" * 40),)),
    )
    return Dossier(state, NONE)


async def newest_first(results: list[Dossier]) -> AsyncIterator[Dossier]:
    for each in reversed(results):
        yield each


@pytest.mark.parametrize(
    ("branches", "expected"),
    [
        (["main", "other", "other"], 0),  # of the same target, though another is newer
        (["other", "other"], 1),  # none of it has passed: the newest at all
        ([], None),
        (["main", *["other"] * 30], 0),  # farther than the line that is shown
    ],
)
async def test_the_last_green_one_is_of_the_same_target_if_there_is_one(
    branches: list[str], expected: int | None
) -> None:
    results = [result(n, Status.SUCCESS, branch) for n, branch in enumerate(branches)]
    red = result(len(results), Status.FAILURE, "main")
    around = await find_neighbours(newest_first([*results, red]), red.state)
    green = None if around.green is None else around.green.dossier
    assert green == (None if expected is None else results[expected])
