"""Who works: the machines that run builds for an engine, where builds run elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from datakit_ci.state import BuildId

__all__ = ["Crew", "WorkerState"]


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker, for people.

    Attributes:
        name: As it was started, or made up by its cluster.
        address: Where it is reached within the cluster.
        pools: Units by pool.
        running: The builds that run there.
        load: The machine's load average over a minute.
        processors: Of the machine.
        cache: Bytes of inputs that are kept there.
        versions: Of what it consists; empty: it is no worker of ours.
        refusal: Why no build is sent there; empty: they are.
        seen: When it was last heard of, UTC.
        is_cut_off: Whether it cannot reach the database.
    """

    name: str
    address: str = ""
    pools: Mapping[str, int] = field(default_factory=dict)
    running: tuple[BuildId, ...] = ()
    load: float = 0.0
    processors: int = 0
    cache: int = 0
    versions: str = ""
    refusal: str = ""
    seen: datetime | None = None
    is_cut_off: bool = False


@dataclass(frozen=True, slots=True)
class Crew:
    """All workers of a cluster, sorted by name.

    Attributes:
        workers: Also those to which no build is sent.
        dashboard: The cluster's own pages about them; empty: there are none.
        where: The cluster, for people; empty: builds run beside the engine.
        interrupted: Builds that the cluster did not end, and that were begun again for that.
    """

    workers: tuple[WorkerState, ...] = ()
    dashboard: str = ""
    where: str = ""
    interrupted: int = 0

    @property
    def units(self) -> Mapping[str, int]:
        """How many units each pool has, over all workers that builds are sent to."""
        found: dict[str, int] = {}
        for worker in self.workers:
            if not worker.refusal:
                for pool, units in worker.pools.items():
                    found[pool] = found.get(pool, 0) + units
        return found
