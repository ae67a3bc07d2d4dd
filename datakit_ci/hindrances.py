"""Hindrances: what a build that has no result waits for. Pure, like :mod:`datakit_ci.why`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from datakit_ci.explanation import Explanation, Reason, ReasonKind, Verdict
from datakit_ci.pools import LockState, PoolState
from datakit_ci.rulings import UNCONFIRMED, Rulings
from datakit_ci.state import BuildId, GraphNode, Status

__all__ = ["Waiting", "chain", "why_it_waits"]

_MOST = 3
"""Builds that are named of those that are busy."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A build that has not come to a result, and what stands in its way.

    Attributes:
        build: Which.
        status: Where it stands.
        reason: What the engine says of it.
        pool: What it takes a unit of.
        pools: All pools.
        wanted_locks: The locks that it takes.
        locks: All locks.
        rulings: What people have decided.
        is_resting: Whether it is tried again after a while.
        trouble: What is wrong with the database; empty: nothing.
    """

    build: BuildId
    status: Status
    reason: str
    pool: str
    pools: Mapping[str, PoolState]
    wanted_locks: Sequence[str]
    locks: Mapping[str, LockState]
    rulings: Rulings
    is_resting: bool = False
    trouble: str = ""


def why_it_waits(waiting: Waiting) -> Explanation:
    """What a build waits for, or why it came to no result."""
    verdict = Verdict.WAITS
    if waiting.status is Status.RUNNING:
        verdict = Verdict.RUNS
    elif waiting.status.is_final:
        verdict = Verdict.ENDED
    reasons = tuple(_hindrances(waiting))
    if not reasons:
        reasons = (Reason(ReasonKind.OTHER, waiting.reason or waiting.status.value),)
    return Explanation(waiting.build.stage, verdict, reasons, waiting.build)


def _hindrances(waiting: Waiting) -> Iterator[Reason]:
    if waiting.trouble:
        yield Reason(ReasonKind.DATABASE, waiting.trouble)
    if waiting.status is Status.CANCELLED:
        ruling = waiting.rulings.cancelled.get(waiting.build)
        user = "" if ruling is None else ruling.user
        yield Reason(ReasonKind.CANCELLED, waiting.reason or "cancelled", user=user)
    elif waiting.status is not Status.WAITING:
        return
    elif waiting.is_resting:
        yield Reason(ReasonKind.RETRY, waiting.reason)
    elif waiting.reason == UNCONFIRMED:
        yield Reason(ReasonKind.CONFIRMATION, UNCONFIRMED)
    elif waiting.reason.startswith("paused by"):
        ruling = waiting.rulings.paused.get(waiting.build.project)
        since = "" if ruling is None else f" since {ruling.time:%Y-%m-%d %H:%M} UTC"
        user = "" if ruling is None else ruling.user
        yield Reason(ReasonKind.PAUSE, f"{waiting.reason}{since}", waiting.build.project, user=user)
    else:
        yield from _queues(waiting)


def _queues(waiting: Waiting) -> Iterator[Reason]:
    for name in waiting.wanted_locks:
        lock = waiting.locks.get(name)
        if lock is not None and lock.holder not in (None, waiting.build):
            assert lock.holder is not None
            text = f"lock {name}, which {_title(lock.holder)} has"
            yield Reason(ReasonKind.LOCK, text, name, builds=(lock.holder,))
        elif lock is not None and lock.queue and lock.queue[0] != waiting.build:
            text = f"lock {name}, for which {_title(lock.queue[0])} comes first"
            yield Reason(ReasonKind.LOCK, text, name, builds=lock.queue[:1])
    pool = waiting.pools.get(waiting.pool)
    if pool is not None and (pool.capacity is None or len(pool.busy) >= pool.capacity):
        is_known = pool.capacity is not None
        units = f"{len(pool.busy)} of {pool.capacity} busy" if is_known else "which is not declared"
        who = ", ".join(_title(build) for build in pool.busy[:_MOST])
        more = f" and {len(pool.busy) - _MOST} more" if len(pool.busy) > _MOST else ""
        text = f"pool {waiting.pool} ({units}{': ' + who + more if who else ''})"
        yield Reason(ReasonKind.POOL, text, waiting.pool, builds=pool.busy)


def _title(build: BuildId) -> str:
    return f"{build.stage} of {build.project}"


def chain(graph: Iterable[GraphNode], job: str) -> Sequence[GraphNode]:
    """The nodes from a job's own to the one that decides about it.

    That is one with a build, or one whose inputs have all succeeded: it can only be waited for, or
    has failed by itself.
    """
    nodes = {node.id: node for node in graph}
    found: list[GraphNode] = []
    node = next((each for each in nodes.values() if job in each.jobs), None)
    while node is not None:
        found.append(node)
        if node.build is not None:
            break
        inputs = [nodes[id_] for id_ in node.inputs if id_ in nodes]
        is_done = node.status is Status.SUCCESS
        better = [each for each in inputs if is_done or each.status is not Status.SUCCESS]
        node = min(better, key=_urgency, default=None)
    return found


def _urgency(node: GraphNode) -> int:
    """What failed explains more than what waits, and a build more than a source."""
    order = [Status.FAILURE, Status.ERROR, Status.CANCELLED, Status.BLOCKED, Status.RUNNING]
    place = order.index(node.status) if node.status in order else len(order)
    return place * 2 + (node.build is None)
