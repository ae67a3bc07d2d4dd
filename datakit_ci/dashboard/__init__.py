"""The pages: what the engine knows, as HTML that works without scripts and lives with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datakit_core import lazy

if TYPE_CHECKING:
    from datakit_ci.dashboard.app import create_app
    from datakit_ci.dashboard.source import Source
else:  # the command line needs to know addresses only
    __getattr__ = lazy.attributes(__name__, {"Source": "source", "create_app": "app"})

__all__ = ["Source", "create_app"]
