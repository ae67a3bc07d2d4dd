"""Who works on a cluster, as its scheduler tells it: pools, load, versions, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from datakit_ci.executors.dask.pools import pool_of
from datakit_ci.executors.dask.versions import Versions

__all__ = ["METRIC", "Crew", "WorkerState", "read_crew"]

METRIC = "datakit"
"""What our workers tell with each heartbeat, among the metrics that Dask collects."""


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker, for people.

    Attributes:
        name: As it was started, or made up by Dask.
        address: Where the scheduler reaches it.
        pools: Units by pool.
        running: The stages of builds that run there.
        load: The machine's load average over a minute.
        processors: Of the machine.
        cache: Bytes of inputs that are kept there.
        versions: Its versions; none: it is a worker of somebody else's.
        refusal: Why no build is sent there; empty: they are.
        seen: When it was last heard of.
    """

    name: str
    address: str
    pools: Mapping[str, int] = field(default_factory=dict)
    running: tuple[str, ...] = ()
    load: float = 0.0
    processors: int = 0
    cache: int = 0
    versions: Versions | None = None
    refusal: str = ""
    seen: datetime | None = None


@dataclass(frozen=True, slots=True)
class Crew:
    """All workers of a cluster, sorted by name.

    Attributes:
        workers: Also those to which no build is sent.
        dashboard: Dask's own pages about them; empty: there are none.
    """

    workers: tuple[WorkerState, ...] = ()
    dashboard: str = ""

    @property
    def units(self) -> Mapping[str, int]:
        """How many units each pool has, over all workers that builds are sent to."""
        found: dict[str, int] = {}
        for worker in self.workers:
            if not worker.refusal:
                for pool, units in worker.pools.items():
                    found[pool] = found.get(pool, 0) + units
        return found


def read_crew(identity: Mapping[str, Any], own: Versions, now: float) -> Crew:
    """Read what a scheduler says of itself.

    Args:
        identity: Its answer, as Dask's ``Scheduler.identity`` makes it.
        own: The versions that workers must have.
        now: In seconds since 1970, for who has never been heard of.
    """
    workers = [_read(address, worker, own, now) for address, worker in identity["workers"].items()]
    port = identity.get("services", {}).get("dashboard")
    host = str(identity.get("address", "")).rpartition("://")[2].rpartition(":")[0]
    dashboard = f"http://{host}:{port}/status" if port and host else ""
    return Crew(tuple(sorted(workers, key=lambda each: each.name)), dashboard)


def _read(address: str, told: Mapping[str, Any], own: Versions, now: float) -> WorkerState:
    metrics = told.get("metrics", {}).get(METRIC)
    resources = told.get("resources", {})
    pools = {
        pool: int(units)
        for resource, units in resources.items()
        if (pool := pool_of(resource)) is not None
    }
    ours = metrics if isinstance(metrics, Mapping) else {}
    versions = Versions.read(ours.get("versions"))
    return WorkerState(
        name=str(told.get("name", address)),
        address=address,
        pools=dict(sorted(pools.items())),
        running=tuple(str(each) for each in ours.get("running", ())),
        load=float(ours.get("load", 0.0)),
        processors=int(ours.get("processors", 0)),
        cache=int(ours.get("cache", 0)),
        versions=versions,
        refusal=_refusal(resources, versions, own),
        seen=datetime.fromtimestamp(float(told.get("last_seen") or now), UTC),
    )


def _refusal(resources: Mapping[str, float], versions: Versions | None, own: Versions) -> str:
    """Why a worker gets no builds; what counts is what the scheduler goes by."""
    if own.resource in resources:
        return ""
    if versions is None:
        return "it was not started by datakit-ci worker"
    return f"it has {own.misfit(versions)}"
