"""The one function that Dask runs: by its name on the worker, since it is never pickled itself."""

from __future__ import annotations

from distributed import get_worker

__all__ = ["PLUGIN", "run_build"]

PLUGIN = "datakit-ci"
"""The name of the plugin that each of our workers has."""


async def run_build(order: bytes) -> tuple[bytes, bytes]:
    """Have the worker's plugin carry out an order."""
    plugin = get_worker().plugins[PLUGIN]
    answer: tuple[bytes, bytes] = await plugin.run(order)  # type: ignore[attr-defined]
    return answer
