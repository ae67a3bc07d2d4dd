"""What Prometheus is told about a server: names, meanings, and where each figure comes from.

Everything is counted in plain integers by the part that does the work; this reads them when it is
asked. Each server has a registry of its own, so that two servers in a process do not mix; only
what is said about the process is said by both. ``docs/metrics.md`` has the list.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from datakit_core.dbfs import DatabaseFiles
from datakit_core.metrics import Address, Histogram
from datakit_core.metrics.families import buckets, counter, gauge, histogram, loop_lag, registry_of
from datakit_core.metrics.loop import measure_lag
from datakit_core.metrics.page import serve_page
from datakit_core.ninep import Server
from datakit_core.ninep.linux_messages import LINUX_MESSAGES
from datakit_core.ninep.messages import CLASSIC
from datakit_core.store import Store
from datakit_core.store.maintenance import MaintenanceStatus

__all__ = ["Sources", "serve_metrics", "serve_process_metrics"]

_TYPES = {number: kind.__name__ for number, kind in (CLASSIC | LINUX_MESSAGES).items()}


@dataclass(frozen=True, slots=True)
class Sources:
    """Whose figures are shown together.

    Attributes:
        server: The 9P server.
        files: What it serves.
        store: The database.
        auto_push_lag: Tells for how many seconds the oldest commit has waited that a mirror does
            not have; 0 if none waits. None where nothing is mirrored.
        maintenance: What maintenance has found and done; none where there is none.
        loop_lag: How late the event loop is.
    """

    server: Server
    files: DatabaseFiles
    store: Store
    auto_push_lag: Callable[[], float] | None = None
    maintenance: MaintenanceStatus | None = None
    loop_lag: Histogram = field(default_factory=Histogram)


@asynccontextmanager
async def serve_metrics(
    sources: Sources, address: Address, *more: Collector
) -> AsyncIterator[Address]:
    """Measure the event loop, and serve the metrics until the context is left.

    Args:
        sources: What the server's figures come from.
        address: Where to listen.
        more: Further figures, of whoever has the server in his process.

    Yields:
        Where, with the port that the system has chosen if it was 0.

    Raises:
        ConfigError: The address cannot be listened on.
    """
    with measure_lag(sources.loop_lag):
        async with serve_page(registry_of(_Figures(sources), *more), address) as bound:
            yield bound


@asynccontextmanager
async def serve_process_metrics(address: Address, *figures: Collector) -> AsyncIterator[Address]:
    """The same for a process without a server: ``figures``, and what it says of itself."""
    lag = Histogram()
    with measure_lag(lag):
        async with serve_page(registry_of(_Process(lag), *figures), address) as bound:
            yield bound


class _Process(Collector):
    """Tells how late the event loop is."""

    def __init__(self, lag: Histogram) -> None:
        self._lag = lag

    def collect(self) -> Iterable[Metric]:
        """The one metric."""
        yield loop_lag(self._lag)


class _Figures(Collector):
    """Reads the sources when it is asked."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> Iterable[Metric]:
        """Every metric with its present value."""
        yield from _connections(self._sources.server)
        yield from _requests(self._sources.server)
        yield from _database(self._sources)
        yield from _writes(self._sources.store)
        if self._sources.maintenance is not None:
            yield from _maintenance(self._sources.maintenance)
        yield loop_lag(self._sources.loop_lag)
        if self._sources.auto_push_lag is not None:
            yield gauge(
                "datakit_auto_push_lag_seconds",
                "For how long the oldest commit has waited that the mirror does not have.",
                self._sources.auto_push_lag(),
            )


def _connections(server: Server) -> Iterator[Metric]:
    traffic = server.traffic
    yield gauge("datakit_9p_connections", "Clients that are connected.", server.connections)
    yield counter(
        "datakit_9p_connections_opened_total", "Clients that have connected.", server.opened
    )
    yield counter(
        "datakit_9p_connections_broken_total",
        "Connections that were dropped because the client broke the protocol.",
        traffic.broken,
    )
    yield counter(
        "datakit_9p_connections_refused_total",
        "Clients that were turned away because there were too many.",
        traffic.refused,
    )
    yield gauge(
        "datakit_9p_memory_bytes",
        "What clients make the server hold, roughly: edits, fids, requests that wait.",
        server.memory,
    )
    yield counter("datakit_9p_received_bytes_total", "Bytes from clients.", traffic.bytes_in)
    yield counter("datakit_9p_sent_bytes_total", "Bytes to clients.", traffic.bytes_out)
    yield gauge("datakit_9p_fids", "Fids that clients have bound.", server.fids)


def _requests(server: Server) -> Iterator[Metric]:
    traffic = server.traffic
    requests = CounterMetricFamily(
        "datakit_9p_requests",
        "Requests by type, and by what became of them: ok, error, or flushed by the client.",
        labels=["type", "outcome"],
    )
    for number, answered in enumerate(traffic.answered):
        failed, flushed = traffic.failed[number], traffic.flushed[number]
        outcomes = {"ok": answered - failed, "error": failed, "flushed": flushed}
        for outcome, count in outcomes.items():
            if count:
                requests.add_metric([_TYPES.get(number, "unknown"), outcome], count)
    yield requests
    yield gauge(
        "datakit_9p_requests_waiting",
        "Requests without a reply so far, most of them readers of streams.",
        server.waiting,
    )
    seconds = HistogramMetricFamily(
        "datakit_9p_request_seconds",
        "Time until a request had its reply, if it was answered at once, or by a task such as "
        "a commit. Readers of streams do not count.",
        labels=["type", "answered"],
    )
    for way, by_type in (("at_once", traffic.at_once), ("by_task", traffic.by_task)):
        for number, shown in sorted(by_type.items()):
            kind = _TYPES.get(number, "unknown")
            seconds.add_metric([kind, way], buckets(shown), shown.total / 1e9)
    yield seconds


def _database(sources: Sources) -> Iterator[Metric]:
    store, activity = sources.store, sources.store.activity
    outcomes = {
        "moved": activity.moved,
        "merged": activity.merged,
        "conflict": activity.conflicts,
        "overtaken": activity.overtaken,
    }
    yield gauge("datakit_branches", "Branches that have a head.", len(store.heads()))
    yield gauge("datakit_transactions", "Transactions that are open.", sources.files.transactions)
    yield gauge("datakit_watchers", "Subscriptions to branches and paths.", store.subscribers)
    commits = CounterMetricFamily(
        "datakit_commits",
        "Commits by outcome: moved the branch, merged with what others had committed, refused "
        "for a conflict, or, if conditional, overtaken by another commit.",
        labels=["outcome"],
    )
    for outcome, count in outcomes.items():
        commits.add_metric([outcome], count)
    yield commits


def _writes(store: Store) -> Iterator[Metric]:
    yield counter(
        "datakit_write_requests_total",
        "Requests that the writers have carried out; divided by the count of batches, their size.",
        sum(batches.requests for batches in store.batches),
    )
    yield histogram(
        "datakit_write_batch_seconds",
        "Time in which all that had come together was written and on disk.",
        Histogram.sum(batches.synced for batches in store.batches),
    )
    yield gauge(
        "datakit_journal_bytes",
        "Length of the journal: what a start after a crash would carry out again.",
        sum(batches.journal.size for batches in store.batches),
    )
    yield gauge(
        "datakit_journal_records",
        "Records in the journal, one for each batch.",
        sum(batches.journal.records for batches in store.batches),
    )


def _maintenance(status: MaintenanceStatus) -> Iterator[Metric]:
    facts = status.facts
    yield gauge("datakit_loose_objects", "Objects in files of their own, about.", facts.loose)
    yield gauge("datakit_packs", "Packs of objects.", facts.packs)
    yield gauge("datakit_disk_free_bytes", "What the disk of the repository has left.", status.free)
    runs = CounterMetricFamily(
        "datakit_maintenance_runs",
        "Maintenance by step (objects packed, refs packed, unused objects collected) and outcome.",
        labels=["step", "outcome"],
    )
    seconds = GaugeMetricFamily(
        "datakit_maintenance_last_duration_seconds",
        "How long the last run of a step took.",
        labels=["step"],
    )
    finished = GaugeMetricFamily(
        "datakit_maintenance_last_success_timestamp_seconds",
        "When a step last went well, in seconds since 1970; 0 if it has not since the start.",
        labels=["step"],
    )
    for step, outcomes in status.steps.items():
        runs.add_metric([step.value, "done"], outcomes.done)
        runs.add_metric([step.value, "failed"], outcomes.failed)
        seconds.add_metric([step.value], outcomes.seconds)
        finished.add_metric([step.value], outcomes.finished)
    yield from (runs, seconds, finished)
