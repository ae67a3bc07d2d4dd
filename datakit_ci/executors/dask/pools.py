"""Pools of workers, as resources of Dask: what they are called there, and how people write them."""

from __future__ import annotations

import os
from collections.abc import Mapping

from datakit_ci.options import check_name
from datakit_ci.spec import DEFAULT_POOL
from datakit_core.errors import ConfigError

__all__ = ["parse_pools", "pool_of", "resource_of"]

_PREFIX = "datakit pool "


def resource_of(pool: str) -> str:
    """The name of a pool among the resources of a worker, which other programs may use as well."""
    return f"{_PREFIX}{pool}"


def pool_of(resource: str) -> str | None:
    """The pool that a resource stands for; none if it is no pool of ours."""
    return resource.removeprefix(_PREFIX) if resource.startswith(_PREFIX) else None


def parse_pools(text: str) -> Mapping[str, int]:
    """Pools with their units, from ``docker=4,gpu=1``.

    Without a word about the pool ``cpu`` it has as many units as the machine has processors.

    Raises:
        ConfigError: It is not of that form.
    """
    found = {DEFAULT_POOL: os.cpu_count() or 1}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, units = part.partition("=")
        if not equals or not units.isdecimal():
            raise ConfigError(f"{part!r} is not of the form NAME=UNITS, as in gpu=1", "--pools")
        found[check_name("pool", name)] = int(units)
    if not any(found.values()):
        raise ConfigError("no pool has a unit, so no build could run here", "--pools")
    return found
