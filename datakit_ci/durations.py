"""Lengths of time, as authors of pipelines write them."""

from __future__ import annotations

import re

from datakit_core.errors import ConfigError

__all__ = ["parse_duration"]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|)\Z")
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(value: float | str) -> float:
    """Seconds from a number, or from text such as ``90s``, ``5m``, ``1h`` or ``1d``.

    Raises:
        ConfigError: It is something else, or not more than nothing.
    """
    seconds = 0.0
    if isinstance(value, str) and (match := _DURATION.match(value.strip())):
        seconds = float(match[1]) * _SECONDS[match[2]]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"{value!r} is not a time: write seconds, or text like 90s, 5m, 1h, 1d")
    return seconds
