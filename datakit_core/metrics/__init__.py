"""Figures about a running server, and the page from which Prometheus reads them.

Whoever does the work counts in plain integers, which costs next to nothing; what they mean in
Prometheus' words is worked out when the page is read.
"""

from datakit_core.metrics.address import Address
from datakit_core.metrics.histogram import Histogram

__all__ = ["Address", "Histogram"]
