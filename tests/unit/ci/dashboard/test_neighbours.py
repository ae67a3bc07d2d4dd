"""The line of results around a build, and which of them it is compared with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from datakit_ci.archive import Dossier, Objects
from datakit_ci.canonical import JsonValue
from datakit_ci.dashboard.naming import known_label
from datakit_ci.dashboard.neighbours import Neighbours, find_neighbours
from datakit_ci.occasion import Occasion
from datakit_ci.state import BuildId, BuildState, Status

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
NONE = cast("Objects", None)  # nothing is read


def result(number: int, status: Status, branch: str, cell: str | None = None) -> Dossier:
    """The ``number``-th result of a stage, for a branch, with a parameter if it has one."""
    parameters: JsonValue = {} if cell is None else {"DB": cell}
    state = BuildState(
        BuildId("acme/shop", "unit", "0" * 64, f"{number:064x}"),
        status,
        started=NOW + timedelta(minutes=number),
        occasion=Occasion(
            targets=((f"acme/shop/ref/heads/{branch}", "a" * 40),),
            identity={"parameters": parameters},
        ),
    )
    return Dossier(state, NONE)


async def newest_first(results: list[Dossier]) -> AsyncIterator[Dossier]:
    for each in reversed(results):
        yield each


async def around(results: list[Dossier], state: BuildState) -> Neighbours:
    return await find_neighbours(newest_first(results), state, known_label(state))


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
    found = await around([*results, red], red.state)
    green = None if found.green is None else found.green.dossier
    assert green == (None if expected is None else results[expected])


async def test_a_cell_of_a_matrix_stands_among_results_of_the_same_cell() -> None:
    old = result(0, Status.SUCCESS, "main", "sqlite")
    red = result(2, Status.FAILURE, "main", "sqlite")
    later = result(4, Status.SUCCESS, "main", "sqlite")
    cells = [result(n, Status.SUCCESS, "main", "postgres") for n in (1, 3)]
    found = await around([old, cells[0], red, cells[1], later], red.state)
    assert [step.dossier for step in found.line] == [later, red, old]
    assert found.older is not None
    assert found.older.dossier == old
    assert found.green == found.older
    assert not found.is_other_cell


async def test_another_cell_is_only_offered_where_there_is_no_other_result() -> None:
    newer = result(2, Status.SUCCESS, "main", "postgres")
    passed = [result(n, Status.SUCCESS, "main", "postgres") for n in (0, 1)]
    red = result(1, Status.FAILURE, "main", "sqlite")
    found = await around([*passed, red, newer], red.state)
    assert [step.dossier for step in found.line] == [red]
    assert found.older is None
    assert found.green is not None
    assert found.green.dossier == passed[1]  # and not one that is newer
    assert found.is_other_cell


async def test_other_cells_are_not_looked_through_for_ever() -> None:
    red = result(500, Status.FAILURE, "main", "sqlite")
    first = result(0, Status.SUCCESS, "main", "sqlite")
    others = [result(n, Status.FAILURE, "main", "postgres") for n in range(1, 500)]
    found = await around([first, *others, red], red.state)
    assert found.green is None
    assert [step.dossier for step in found.line] == [red]


async def test_where_parameters_are_not_known_all_results_count() -> None:
    unknown = BuildState(BuildId("acme/shop", "unit", "1" * 64, "2" * 64), Status.RUNNING)
    green = result(0, Status.SUCCESS, "main", "sqlite")
    found = await around([green], unknown)
    assert found.green is not None
    assert found.green.dossier == green
    assert not found.is_other_cell
