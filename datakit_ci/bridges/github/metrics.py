"""What the bridge counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Metric
from prometheus_client.registry import Collector

__all__ = ["Meter"]


class Meter(Collector):
    """Counters and gauges of one bridge."""

    def __init__(self) -> None:
        """Start at nothing."""
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "datakit_github_requests",
            "Requests to GitHub.",
            ["method", "status"],
            registry=self._registry,
        )
        self._waited = Counter(
            "datakit_github_waited_seconds",
            "Seconds that requests waited because GitHub asked for it.",
            registry=self._registry,
        )
        self._remaining = Gauge(
            "datakit_github_rate_limit_remaining",
            "Requests that the token may still make in this hour.",
            ["resource"],
            registry=self._registry,
        )
        self._events = Counter(
            "datakit_github_webhooks",
            "Webhooks received, by what became of them.",
            ["result"],
            registry=self._registry,
        )
        self._syncs = Counter(
            "datakit_github_syncs",
            "Times that a repository was brought in step, by what came of it.",
            ["result"],
            registry=self._registry,
        )
        self._pushes = Counter(
            "datakit_github_pushes",
            "Changes pushed to GitHub, by kind and what came of it.",
            ["kind", "result"],
            registry=self._registry,
        )

    def collect(self) -> Iterable[Metric]:
        """All of them as they are now."""
        return self._registry.collect()

    def answered(self, method: str, status: int, headers: Mapping[str, str]) -> None:
        """GitHub answered a request."""
        self._requests.labels(method, str(status)).inc()
        remaining = headers.get("x-ratelimit-remaining", "")
        if remaining.isdigit():
            resource = headers.get("x-ratelimit-resource", "core")
            self._remaining.labels(resource).set(int(remaining))

    def waited(self, seconds: float) -> None:
        """A request will wait."""
        self._waited.inc(seconds)

    def received(self, result: str) -> None:
        """A webhook came."""
        self._events.labels(result).inc()

    def synced(self, result: str) -> None:
        """A repository was looked at."""
        self._syncs.labels(result).inc()

    def pushed(self, kind: str, result: str) -> None:
        """Something was pushed."""
        self._pushes.labels(kind, result).inc()
