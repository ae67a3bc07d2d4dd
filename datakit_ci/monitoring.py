"""What Prometheus is told about an engine: names, meanings, and where each figure comes from.

Labels have few values: projects, pools and stages are the pipeline's, and what a pipeline makes up
without end is counted together. Targets and jobs are only counted, never named. ``docs/metrics.md``
has the list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Protocol

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from datakit_ci.crew import Crew
from datakit_ci.pools import LockState, PoolState
from datakit_ci.state import Status, TargetState
from datakit_ci.tally import Fate, Tally
from datakit_ci.target import Target
from datakit_core.metrics.families import buckets, counter, gauge, histogram

__all__ = ["Figures", "Monitored"]

_BUILDS = 10
"""Builds take longer than requests: their bounds are from 8 milliseconds to 5 hours."""


class Monitored(Protocol):
    """What is read of an engine when the figures are asked for."""

    def target(self, target: Target, /) -> TargetState | None:
        """One target; none if it is gone."""
        ...

    def changes(self) -> AsyncIterator[frozenset[Target]]:
        """All targets at once, then, each time, those that changed since."""
        ...

    def pools(self) -> Mapping[str, PoolState]:
        """What each pool is busy with, and what waits for it."""
        ...

    def locks(self) -> Mapping[str, LockState]:
        """What has each lock, and what waits for it."""
        ...

    def crew(self) -> Crew:
        """Who runs the builds, where they do not run beside the engine."""
        ...


class Figures(Collector):
    """Tells what has been counted; and where targets stand, once it follows an engine."""

    def __init__(self, tally: Tally) -> None:
        """Tell what is in ``tally``."""
        self._tally = tally
        self._engine: Monitored | None = None
        self._away: Callable[[], float] = lambda: 0.0
        self._census = _Census()

    async def follow(self, engine: Monitored, away: Callable[[], float]) -> None:
        """Keep count of the targets of ``engine`` until cancelled; the cost follows the changes.

        Args:
            engine: The engine.
            away: Says for how many seconds its database has been away.
        """
        self._engine, self._away = engine, away
        async for targets in engine.changes():
            for target in targets:
                self._census.note(target, engine.target(target))

    def collect(self) -> Iterable[Metric]:
        """Every metric with its present value."""
        yield from self._census.collect()
        yield from _work(self._tally)
        yield from _builds(self._tally)
        if self._engine is not None:
            yield from _queues(self._engine)
        yield gauge(
            "datakit_ci_database_away_seconds",
            "For how long the server that has the database has been away; 0 if it is there.",
            self._away(),
        )


class _Census:
    """How many targets and jobs there are of each kind."""

    def __init__(self) -> None:
        self._known: dict[Target, tuple[Status, Counter[Status]]] = {}
        self._targets: Counter[tuple[str, Status]] = Counter()
        self._jobs: Counter[Status] = Counter()

    def note(self, target: Target, state: TargetState | None) -> None:
        """``target`` is in another state; none: it is gone."""
        if (old := self._known.pop(target, None)) is not None:
            self._targets[target.project, old[0]] -= 1
            self._jobs.subtract(old[1])
        if state is not None:
            new = state.status, Counter(job.status for job in state.jobs)
            self._known[target] = new
            self._targets[target.project, new[0]] += 1
            self._jobs.update(new[1])

    def collect(self) -> Iterator[Metric]:
        """The counts."""
        targets = GaugeMetricFamily(
            "datakit_ci_targets",
            "Branches, tags, pull requests and flows, by project and the worst of their jobs.",
            labels=["project", "status"],
        )
        for (project, status), count in sorted(
            self._targets.items(), key=lambda item: (item[0][0], item[0][1].value)
        ):
            targets.add_metric([project, status.value], count)
        yield targets
        jobs = GaugeMetricFamily(
            "datakit_ci_jobs", "Jobs of all targets, by status.", labels=["status"]
        )
        for status in Status:
            jobs.add_metric([status.value], self._jobs[status])
        yield jobs


def _work(tally: Tally) -> Iterator[Metric]:
    yield histogram(
        "datakit_ci_evaluation_seconds",
        "Time to work out what a target's jobs have come to, each time that there was news.",
        tally.evaluations,
    )
    lookups = HistogramMetricFamily(
        "datakit_ci_lookup_seconds",
        "Time to look a build up in the cache, by what came of it: hit, miss or error.",
        labels=["outcome"],
    )
    for found, shown in tally.lookups.items():
        lookups.add_metric([found.value], buckets(shown), shown.total / 1e9)
    yield lookups
    yield counter(
        "datakit_ci_published_total",
        "Commits of targets' histories; their statuses are published with them.",
        tally.published,
    )
    yield counter(
        "datakit_ci_results_dropped_total", "Results that retention has dropped.", tally.dropped
    )


def _builds(tally: Tally) -> Iterator[Metric]:
    runs = CounterMetricFamily(
        "datakit_ci_builds",
        "Runs of a stage by what came of them; only passed and failed are results.",
        labels=["project", "stage", "outcome"],
    )
    seconds = CounterMetricFamily(
        "datakit_ci_stage_seconds",
        "Time that the runs of a stage have taken, all told.",
        labels=["project", "stage"],
    )
    for (project, stage), counted in tally.stages.items():
        for fate in Fate:
            if counted.runs[fate]:
                runs.add_metric([project, stage, fate.value], counted.runs[fate])
        seconds.add_metric([project, stage], counted.nanoseconds / 1e9)
    yield from (runs, seconds)
    waited = HistogramMetricFamily(
        "datakit_ci_build_wait_seconds",
        "Time from when a build was first wanted until it started.",
        labels=["pool"],
    )
    ran = HistogramMetricFamily(
        "datakit_ci_build_seconds",
        "Time from the start of a build until its result was recorded, or it was clear that "
        "there is none.",
        labels=["pool"],
    )
    for pool, times in tally.pools.items():
        for family, shown in (waited, times.waited), (ran, times.ran):
            family.add_metric([pool], buckets(shown, _BUILDS), shown.total / 1e9)
    yield from (waited, ran)
    yield counter(
        "datakit_ci_retries_total", "Runs that were attempts after the first.", tally.retries
    )
    yield counter("datakit_ci_log_bytes_total", "Bytes of builds' logs.", tally.log_bytes)


def _workers(crew: Crew) -> Iterator[Metric]:
    """Workers of a cluster; without one, nothing."""
    if not crew.where:
        return
    workers = GaugeMetricFamily(
        "datakit_ci_workers",
        "Workers of the cluster by state: idle, busy, or refused, as they do not fit.",
        labels=["state"],
    )
    states = Counter(
        "refused" if each.refusal else "busy" if each.running else "idle" for each in crew.workers
    )
    for state in ("idle", "busy", "refused"):
        workers.add_metric([state], states[state])
    units = GaugeMetricFamily(
        "datakit_ci_worker_units", "Units of a pool that all workers announce.", labels=["pool"]
    )
    for pool, number in crew.units.items():
        units.add_metric([pool], number)
    yield from (workers, units)
    yield gauge(
        "datakit_ci_worker_builds",
        "Builds that the workers run, as they last said.",
        sum(len(each.running) for each in crew.workers),
    )
    yield gauge(
        "datakit_ci_worker_cache_bytes",
        "Bytes of inputs that all workers keep.",
        sum(each.cache for each in crew.workers),
    )
    yield counter(
        "datakit_ci_builds_interrupted_total",
        "Builds that the cluster did not end, and that were begun again.",
        crew.interrupted,
    )


def _queues(engine: Monitored) -> Iterator[Metric]:
    capacity = GaugeMetricFamily(
        "datakit_ci_pool_capacity", "Units of a pool; 0 if it was never declared.", labels=["pool"]
    )
    busy = GaugeMetricFamily(
        "datakit_ci_pool_busy", "Builds that hold a unit of a pool.", labels=["pool"]
    )
    queue = GaugeMetricFamily(
        "datakit_ci_pool_queue", "Builds that wait for a unit of a pool.", labels=["pool"]
    )
    for name, pool in engine.pools().items():
        capacity.add_metric([name], pool.capacity or 0)
        busy.add_metric([name], len(pool.busy))
        queue.add_metric([name], len(pool.queue))
    yield from (capacity, busy, queue)
    yield from _workers(engine.crew())
    locks = engine.locks().values()
    held = sum(1 for lock in locks if lock.holder)
    yield gauge("datakit_ci_locks_held", "Locks that a build holds.", held)
    yield gauge(
        "datakit_ci_locks_queue",
        "Builds that wait for a lock, once for each lock.",
        sum(len(lock.queue) for lock in locks),
    )
