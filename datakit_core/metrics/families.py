"""Figures in Prometheus' words, and what every process says of itself."""

from __future__ import annotations

from math import isinf

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from datakit_core.metrics.histogram import Histogram

__all__ = ["buckets", "counter", "gauge", "histogram", "loop_lag", "registry_of"]


def registry_of(*collectors: Collector) -> CollectorRegistry:
    """A registry with the metrics of ``collectors``, and those of the process."""
    registry = CollectorRegistry(auto_describe=False)
    for collector in collectors:
        registry.register(collector)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def gauge(name: str, text: str, value: float) -> Metric:
    """Something that goes up and down."""
    return GaugeMetricFamily(name, text, value=value)


def counter(name: str, text: str, value: float) -> Metric:
    """Something that only grows; ``name`` ends with ``_total``."""
    return CounterMetricFamily(name.removesuffix("_total"), text, value=value)


def histogram(name: str, text: str, shown: Histogram) -> Metric:
    """Times, without labels."""
    family = HistogramMetricFamily(name, text)
    family.add_metric([], buckets(shown), shown.total / 1e9)
    return family


def buckets(shown: Histogram, first: int = 0) -> list[tuple[str, float]]:
    """The buckets of a histogram that has labels; ``first`` as for ``Histogram.cumulative``."""
    rows = shown.cumulative(first)
    return [("+Inf" if isinf(bound) else repr(bound), float(count)) for bound, count in rows]


def loop_lag(lag: Histogram) -> Metric:
    """How late the event loop is."""
    return histogram(
        "datakit_event_loop_lag_seconds",
        "How late a timer of the event loop fired, looked at ten times a second.",
        lag,
    )
