"""Logging set-up for the command-line programs; libraries only ever call ``getLogger``."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

__all__ = ["configure"]

_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def configure(*, verbose: bool = False, destination: Path | None = None) -> None:
    """Send log records to standard error, or to a file.

    Args:
        verbose: Also show DEBUG records of DataKit's own packages.
        destination: A file to append to; none means standard error.
    """
    handler: logging.Handler
    if destination is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        handler = logging.FileHandler(destination, encoding="utf-8")
    handler.setFormatter(logging.Formatter(_FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it tells of every change of a file
    for package in ("datakit_core", "datakit_ci"):
        logging.getLogger(package).setLevel(logging.DEBUG if verbose else logging.INFO)
