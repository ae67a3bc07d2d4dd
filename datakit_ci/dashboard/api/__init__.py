"""The JSON API below ``/api/v1``: stable names, generated description, errors as RFC 9457 says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datakit_core import lazy

if TYPE_CHECKING:
    from datakit_ci.dashboard.api.table import ENDPOINTS, ROUTES
else:  # the command line needs to know addresses only
    __getattr__ = lazy.attributes(__name__, {"ENDPOINTS": "table", "ROUTES": "table"})

__all__ = ["ENDPOINTS", "ROUTES"]
