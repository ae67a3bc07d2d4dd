"""The JSON API below ``/api/v1``: stable names, generated description, errors as RFC 9457 says."""

from __future__ import annotations

from datakit_ci.dashboard.api.table import ENDPOINTS, ROUTES

__all__ = ["ENDPOINTS", "ROUTES"]
