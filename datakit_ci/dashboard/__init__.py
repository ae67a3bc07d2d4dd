"""The pages: what the engine knows, as HTML that works without scripts and lives with them."""

from __future__ import annotations

from datakit_ci.dashboard.app import create_app
from datakit_ci.dashboard.source import Source

__all__ = ["Source", "create_app"]
