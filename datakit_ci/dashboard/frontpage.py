"""What the front page says beside the targets: the branches to look at first, and what waits.

Pure. A branch that a project names in ``dashboards=`` is shown even before anything is known of it,
since that it is missing is news as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from datakit_ci.dashboard.catalogue import Entry
from datakit_ci.dashboard.offers import offers_of_target
from datakit_ci.dashboard.views import summary
from datakit_ci.pools import PoolState
from datakit_ci.project import Project
from datakit_ci.rulings import Ruling
from datakit_ci.state import GraphNode, TargetState
from datakit_ci.target import Target, TargetKind

__all__ = ["Ask", "Board", "Front", "PoolUse", "front"]

_MOST_BOARDS, _MOST_ASKS = 24, 12
"""Branches, and targets that wait for a person, that are shown."""


@dataclass(frozen=True, slots=True)
class Board:
    """A branch that its project wants to be looked at.

    Attributes:
        target: Which.
        state: Where it stands; none: it is not known.
        summary: That in a sentence.
    """

    target: Target
    state: TargetState | None
    summary: str


@dataclass(frozen=True, slots=True)
class Ask:
    """A target that does not go on before a person has said something.

    Attributes:
        state: The target.
        confirm: The builds that have to be confirmed.
        approve: Whether it is a fork's pull request that has to be approved.
    """

    state: TargetState
    confirm: tuple[GraphNode, ...]
    approve: bool


@dataclass(frozen=True, slots=True)
class PoolUse:
    """How full a pool is."""

    name: str
    busy: int
    capacity: int | None
    waiting: int


@dataclass(frozen=True, slots=True)
class Front:
    """The front page, but for the list of targets.

    Attributes:
        boards: In the pipeline's order.
        asks: The longest waiting first; not all if there are many.
        more_asks: How many more.
        pools: Those that are in use.
        flows: How each of them stands, in the pipeline's order.
        paused: Projects in which nothing new is started, and who has decided so; sorted.
    """

    boards: tuple[Board, ...]
    asks: tuple[Ask, ...]
    more_asks: int
    pools: tuple[PoolUse, ...]
    flows: tuple[Board, ...]
    paused: tuple[tuple[str, Ruling], ...]


def front(
    asking: Iterable[Entry],
    find: Callable[[Target], TargetState | None],
    projects: Sequence[Project],
    pools: Mapping[str, PoolState],
    paused: Mapping[str, Ruling],
    flows: Iterable[TargetState] = (),
) -> Front:
    """What the front page says of these projects, pools and flows.

    Args:
        asking: The targets that wait for a person, in any order.
        find: Where a target stands; none: it is not known.
        projects: In the pipeline's order.
        pools: What is busy, and with what.
        paused: Projects in which nothing new is started.
        flows: In the pipeline's order.
    """
    wanted = [
        Target(project.id, TargetKind.BRANCH.value, name)
        for project in projects
        for name in project.dashboards
    ][:_MOST_BOARDS]
    asks = sorted(asking, key=lambda entry: entry.age, reverse=True)
    return Front(
        tuple(_board(target, find(target)) for target in wanted),
        tuple(_ask(entry.state) for entry in asks[:_MOST_ASKS]),
        max(0, len(asks) - _MOST_ASKS),
        _in_use(pools),
        tuple(_board(state.target, state) for state in flows),
        tuple(sorted(paused.items())),
    )


def _board(target: Target, state: TargetState | None) -> Board:
    return Board(target, state, "Not known yet" if state is None else summary(state))


def _ask(state: TargetState) -> Ask:
    offers = offers_of_target(state)
    return Ask(state, offers.confirm, offers.approve)


def _in_use(pools: Mapping[str, PoolState]) -> tuple[PoolUse, ...]:
    return tuple(
        PoolUse(name, len(pool.busy), pool.capacity, len(pool.queue))
        for name, pool in sorted(pools.items())
        if pool.busy or pool.queue
    )
