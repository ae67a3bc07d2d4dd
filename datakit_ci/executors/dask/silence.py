"""Noticing that a machine of the cluster is gone without a word, by the settings of Dask."""

from __future__ import annotations

import math

import dask.config

__all__ = ["end_when_silent"]

_LEAST = 11
"""Seconds; Dask counts no less for a connection (``set_tcp_timeout`` in its ``comm/tcp.py``)."""


def end_when_silent(patience: float) -> None:
    """Have Dask's connections of this process end after so many seconds without a sign of life.

    Only those that are made afterwards. Whoever must know sooner than Dask can asks by itself.
    """
    seconds = max(_LEAST, math.ceil(patience))
    dask.config.set({"distributed.comm.timeouts.tcp": f"{seconds}s"})
