"""Rows of lists of targets, drawn once for each state of a target.

A row says what it says until its target stands elsewhere, or until "3 minutes ago" is not true any
more. With fifty of them on a page, drawing them is most of the work.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime
from typing import Final

from aiohttp import web
from markupsafe import Markup

from datakit_ci.dashboard import views, wording
from datakit_ci.dashboard.rendering import Pages
from datakit_ci.dashboard.sketches import Sketches
from datakit_ci.state import TargetState

__all__ = ["ROWS", "Rows"]

_KEPT = 2048
"""Rows, of about four kilobytes each."""


class Rows:
    """Keeps those that were looked at last, by the identity of states, which never change."""

    def __init__(self, pages: Pages) -> None:
        """Draw with the templates of ``pages``; keep none yet."""
        self._pages = pages
        self._sketches = Sketches()
        self._kept: OrderedDict[tuple[int, bool], tuple[TargetState, str, Markup]] = OrderedDict()

    def of(self, state: TargetState, named: bool, now: datetime) -> Markup:
        """The row of a target.

        Args:
            state: Where it stands.
            named: Whether the row says of which project it is.
            now: The moment by which ages are told.
        """
        key = id(state), named
        age = "" if state.updated is None else wording.ago(state.updated, now)
        kept = self._kept.get(key)
        if kept is not None and kept[1] == age:
            self._kept.move_to_end(key)
            return kept[2]
        row = self._drawn(state, named=named)
        self._kept[key] = state, age, row
        self._kept.move_to_end(key)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return row

    def _drawn(self, state: TargetState, *, named: bool) -> Markup:
        html = self._pages.text(
            "target_row.html",
            state=state,
            named=named,
            sketch=self._sketches.of,
            broken=views.broken_build,
        )
        return Markup(html)  # noqa: S704 - from a template, which escapes


ROWS: Final = web.AppKey("rows", Rows)
