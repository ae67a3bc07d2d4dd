"""Who works on a cluster, as its scheduler tells it: pools, load, versions, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from datakit_ci.crew import Crew, WorkerState
from datakit_ci.executors.dask.pools import pool_of
from datakit_ci.executors.dask.versions import Versions
from datakit_ci.state import BuildId

__all__ = ["METRIC", "read_crew"]

METRIC = "datakit"
"""What our workers tell with each heartbeat, among the metrics that Dask collects."""


_CUT_OFF = "it cannot reach the database"


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
    by_name = sorted(workers, key=lambda each: each.name)
    return Crew(tuple(by_name), dashboard, str(identity.get("address", "")))


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
    is_cut_off = ours.get("cut off") is True
    return WorkerState(
        name=str(told.get("name", address)),
        address=address,
        pools=dict(sorted(pools.items())),
        running=tuple(
            build
            for each in ours.get("running", ())
            if (build := BuildId.parse(str(each))) is not None
        ),
        load=float(ours.get("load", 0.0)),
        processors=int(ours.get("processors", 0)),
        cache=int(ours.get("cache", 0)),
        versions="" if versions is None else str(versions),
        refusal=_CUT_OFF if is_cut_off else _refusal(resources, versions, own),
        is_cut_off=is_cut_off,
        seen=datetime.fromtimestamp(float(told.get("last_seen") or now), UTC),
    )


def _refusal(resources: Mapping[str, float], versions: Versions | None, own: Versions) -> str:
    """Why a worker gets no builds; what counts is what the scheduler goes by."""
    if own.resource in resources:
        return ""
    if versions is None:
        return "it was not started by datakit-ci worker"
    return f"it has {own.misfit(versions)}"
