"""Looking wanted builds up: a few at a time, in the order in which they were wanted.

The tasks that do it take the next need when they have done one, so that with a database in this
process, where nothing has to be waited for, one of them does all the work, and with a server many
questions are under way at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from datakit_ci.need import Build
from datakit_ci.search import Finding, Search

__all__ = ["Lookups"]

_log = logging.getLogger(__name__)

_AT_ONCE = 16

_SLICE = 0.003
"""Seconds after which others have their turn."""

_FRESH = 0.05
"""Seconds after which the branches are looked at again: other engines record results, too."""


_MANY = 50
"""Needs from which on all branches are looked at together."""


class Lookups:
    """Answers needs from ``search``."""

    def __init__(
        self,
        search: Search,
        group: asyncio.TaskGroup,
        found: Callable[[Build, Finding | Exception], None],
    ) -> None:
        """Work in tasks of ``group``; ``found`` is told, also what went wrong."""
        self._search = search
        self._group = group
        self._found = found
        self._queue: dict[Build, None] = {}
        self._workers = 0
        self._is_spare = False
        self._under_way = 0
        self._fresh_until = 0.0

    @property
    def idle(self) -> bool:
        """Whether all that was wanted is found."""
        return not self._queue and not self._under_way

    def want(self, need: Build) -> None:
        """Look ``need`` up soon."""
        self._queue[need] = None
        if not self._workers:
            self._hire()

    def drop(self, need: Build) -> None:
        """Do not look ``need`` up any more, if that has not begun."""
        self._queue.pop(need, None)

    def refresh(self) -> None:
        """A result was recorded: what is looked up from now on finds it."""
        self._fresh_until = 0.0

    def _hire(self) -> None:
        self._workers += 1
        self._is_spare = True
        self._group.create_task(self._work())

    async def _work(self) -> None:
        self._is_spare = False
        try:
            loop = asyncio.get_running_loop()
            until = loop.time() + _SLICE
            while self._queue:
                if len(self._queue) > 1 and not self._is_spare and self._workers < _AT_ONCE:
                    self._hire()  # it starts only when this one has to wait
                self._refresh(loop.time())
                await self._look_up(self._next())
                if loop.time() > until:
                    await asyncio.sleep(0)
                    until = loop.time() + _SLICE
        finally:
            self._workers -= 1

    def _next(self) -> Build:
        need = next(iter(self._queue))
        del self._queue[need]
        return need

    def _refresh(self, now: float) -> None:
        if now >= self._fresh_until:
            self._search.refresh(many=len(self._queue) >= _MANY)
            self._fresh_until = now + _FRESH

    async def _look_up(self, need: Build) -> None:
        """The boundary of a look-up: what goes wrong is the answer."""
        self._under_way += 1
        try:
            found: Finding | Exception = await self._search.find(need)
        except Exception as error:  # noqa: BLE001 - the boundary: the traceback is logged
            _log.exception("cannot look up %s of %s", need.spec.name, need.project)
            found = error
        finally:
            self._under_way -= 1
        self._found(need, found)
