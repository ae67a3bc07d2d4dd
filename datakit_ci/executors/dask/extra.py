"""Whether Dask is there: it is installed only by who asks for it."""

from __future__ import annotations

from importlib.util import find_spec

from datakit_core.errors import ConfigError

__all__ = ["needed"]


def needed() -> None:
    """Raise ``ConfigError``, with the remedy, if Dask is not installed."""
    if find_spec("distributed") is None:
        raise ConfigError("Dask is not installed; run: pip install 'datakit[dask]'")
