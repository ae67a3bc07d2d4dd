"""The page of resource pools and locks: what they are busy with, for whom, and what waits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from datakit_ci.dashboard.catalogue import Entry
from datakit_ci.dashboard.rendering import PAGES
from datakit_ci.dashboard.routes import read
from datakit_ci.dashboard.scope import source_of
from datakit_ci.dashboard.shelf import SHELVES
from datakit_ci.dashboard.source import Source
from datakit_ci.dashboard.visitor import visitor_of
from datakit_ci.pools import LockState, PoolState
from datakit_ci.state import BuildId, BuildState
from datakit_ci.target import Target

__all__ = ["ROUTES", "PoolRow", "Use", "rows", "users"]

_MOST_QUEUED = 100
"""Builds of a queue that are shown; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Use:
    """A build that holds a unit of a pool or a lock, or waits for it.

    Attributes:
        build: Which.
        label: What people call it.
        targets: For whom it is.
    """

    build: BuildId
    label: str
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class PoolRow:
    """A pool or a lock.

    Attributes:
        name: Its name.
        capacity: Its units; none if it was never declared.
        busy: What holds one.
        queue: What waits, the next first; not all if there are many.
        more: How many more wait.
    """

    name: str
    capacity: int | None
    busy: tuple[Use, ...]
    queue: tuple[Use, ...]
    more: int


async def show_pools(request: web.Request) -> web.Response:
    """Pools, locks, and who works."""
    source = source_of(request)
    pools, locks = source.pools(), source.locks()
    known = users(request.app[SHELVES].of(source.targets()).busy.values())
    view, held = rows(pools, known), rows(_as_pools(locks), known)
    shown = (use for row in (*view, *held) for use in (*row.busy, *row.queue))
    return request.app[PAGES].page(
        "pools.html",
        pools=view,
        locks=held,
        crew=source.crew(),
        known=known,
        runs_service=visitor_of(request).runs_service,
        builds=await _builds(source, dict.fromkeys(use.build for use in shown)),
    )


def users(entries: Iterable[Entry]) -> Mapping[BuildId, Use]:
    """The builds that run or wait, each with the targets that they are for, by name."""
    found: dict[BuildId, tuple[str, list[Target]]] = {}
    for entry in sorted(entries, key=lambda entry: entry.age[1]):
        for node in entry.underway:
            if node.build is None:
                continue
            targets = found.setdefault(node.build, (node.label, []))[1]
            if not targets or targets[-1] is not entry.target:  # thousands may share a build
                targets.append(entry.target)
    return {build: Use(build, label, tuple(targets)) for build, (label, targets) in found.items()}


def rows(pools: Mapping[str, PoolState], known: Mapping[BuildId, Use]) -> tuple[PoolRow, ...]:
    """The pools, those that are in use first, then by name."""

    def uses(builds: Sequence[BuildId]) -> tuple[Use, ...]:
        return tuple(known.get(build) or Use(build, build.stage, ()) for build in builds)

    ordered = sorted(pools.items(), key=lambda item: (not (item[1].busy or item[1].queue), item[0]))
    return tuple(
        PoolRow(
            name,
            pool.capacity,
            uses(pool.busy),
            uses(pool.queue[:_MOST_QUEUED]),
            max(0, len(pool.queue) - _MOST_QUEUED),
        )
        for name, pool in ordered
    )


def _as_pools(locks: Mapping[str, LockState]) -> Mapping[str, PoolState]:
    return {
        name: PoolState(1, () if lock.holder is None else (lock.holder,), lock.queue)
        for name, lock in locks.items()
    }


async def _builds(source: Source, wanted: Iterable[BuildId]) -> Mapping[BuildId, BuildState]:
    found = {build: await source.build(build) for build in wanted}
    return {build: state for build, state in found.items() if state is not None}


ROUTES: Final = (read("/pools", show_pools),)
