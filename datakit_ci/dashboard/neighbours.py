"""A result among the others of its stage: what came before and after it, and the last green one.

The cells of a matrix are one stage. A result stands among those of its own cell: another one that
passed with other parameters says nothing about it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from datakit_ci.archive import Dossier
from datakit_ci.dashboard.naming import known_label
from datakit_ci.dashboard.rendering import path_of
from datakit_ci.dashboard.source import finish
from datakit_ci.state import BuildState, Status

__all__ = ["Neighbours", "Step", "find_neighbours", "is_result_of"]

_FAR = 400
"""Results among which a build is looked for."""

_AFTER, _BEFORE = 12, 12
"""Results that are shown on either side."""

_FARTHER = 60
"""Results before it among which the last green one, and one of the same target, is looked for."""

_PASSED_OVER = 400
"""Results of other cells that are passed over meanwhile."""


@dataclass(frozen=True, slots=True)
class Step:
    """One result in the line.

    Attributes:
        dossier: Which.
        address: Of its page; of one that was replaced, as of then.
        is_here: Whether it is the one that is looked at.
    """

    dossier: Dossier
    address: str
    is_here: bool

    @property
    def state(self) -> BuildState:
        """Where it stands."""
        return self.dossier.state

    @property
    def name(self) -> str:
        """What names it in a comparison."""
        return f"{self.state.id.path}@{self.dossier.commit or ''}"


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The line of results around a build.

    Attributes:
        line: The newest first.
        older, newer: Beside it.
        older_here, newer_here: Beside it among those that ran for the same target.
        green: The last one before it that passed: of the same target, if one is near; with other
            parameters only if none is there with the same ones.
        is_other_cell: Whether ``green`` has other parameters.
    """

    line: tuple[Step, ...] = ()
    older: Step | None = None
    newer: Step | None = None
    older_here: Step | None = None
    newer_here: Step | None = None
    green: Step | None = None
    is_other_cell: bool = False


def is_result_of(dossier: Dossier, state: BuildState) -> bool:
    """Whether a dossier is of this very run: a build may have been made several times."""
    return dossier.state.id == state.id and dossier.state.started == state.started


async def find_neighbours(
    results: AsyncIterator[Dossier], state: BuildState, label: str | None = None
) -> Neighbours:
    """Find ``state`` in the ``results`` of its stage, and what is around it.

    Args:
        results: The newest first.
        state: What is looked at.
        label: What it is called with its parameters; none: nobody knows, and results with any
            parameters count.
    """
    found: list[Dossier] = []
    others: list[Dossier] = []
    here: int | None = None if state.status.is_final else -1
    try:
        async for dossier in results:
            if label not in (None, known_label(dossier.state) or label):
                others.append(dossier)
                if len(others) >= _PASSED_OVER:
                    break
                continue
            found.append(dossier)
            if here is None and is_result_of(dossier, state):
                here = len(found) - 1
                others.clear()  # those are newer
            if _is_enough(found, here, state):
                break
    finally:
        await finish(results)
    return Neighbours() if here is None else _around(found, here, state, others)


def _is_enough(found: Sequence[Dossier], here: int | None, state: BuildState) -> bool:
    if here is None:
        return len(found) >= _FAR
    before = found[here + 1 :]
    if len(before) >= _FARTHER:
        return True
    targets = _targets(state if here < 0 else found[here].state)
    return len(before) >= _BEFORE and _green(before, targets) is not None


def _green(before: Sequence[Dossier], targets: frozenset[str]) -> int | None:
    """Where the newest is that passed for one of ``targets``."""
    passed = (
        number
        for number, each in enumerate(before)
        if each.state.status is Status.SUCCESS and targets & _targets(each.state)
    )
    return next(passed, None)


def _any_green(before: Sequence[Dossier]) -> int | None:
    passed = (n for n, each in enumerate(before) if each.state.status is Status.SUCCESS)
    return next(passed, None)


def _around(
    found: Sequence[Dossier], here: int, state: BuildState, others: Sequence[Dossier]
) -> Neighbours:
    newest: dict[object, int] = {}
    for number, dossier in enumerate(found):
        newest.setdefault(dossier.state.id, number)
    steps = [
        Step(dossier, _address(dossier, is_newest=newest[dossier.state.id] == n), n == here)
        for n, dossier in enumerate(found)
    ]
    before, after = steps[here + 1 :], steps[: max(here, 0)][::-1]
    targets = _targets(state if here < 0 else found[here].state)
    green = _last_green(before, targets)
    elsewhere = None if green else _last_green([_step(each) for each in others], targets)
    return Neighbours(
        line=tuple(steps[max(0, here - _AFTER) : here + 1 + _BEFORE]),
        older=before[0] if before else None,
        newer=after[0] if after else None,
        older_here=_first_of(before, targets),
        newer_here=_first_of(after, targets),
        green=green or elsewhere,
        is_other_cell=elsewhere is not None,
    )


def _last_green(before: Sequence[Step], targets: frozenset[str]) -> Step | None:
    dossiers = [step.dossier for step in before]
    number = _green(dossiers, targets)
    if number is None:
        number = _any_green(dossiers)
    return None if number is None else before[number]


def _step(dossier: Dossier) -> Step:
    """A result of another cell; nobody knows whether it was replaced."""
    return Step(dossier, _address(dossier, is_newest=False), is_here=False)


def _address(dossier: Dossier, *, is_newest: bool) -> str:
    page = path_of("build", dossier.state.id.path)
    return page if is_newest or dossier.commit is None else f"{page}?at={dossier.commit}"


def _targets(state: BuildState) -> frozenset[str]:
    return frozenset(path for path, _ in state.occasion.targets) if state.occasion else frozenset()


def _first_of(steps: Sequence[Step], targets: frozenset[str]) -> Step | None:
    return next((step for step in steps if targets & _targets(step.state)), None)
