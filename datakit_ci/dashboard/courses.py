"""How targets came to stand as they do: the last outcomes, and since when they are red.

Read from what is recorded of a target, a few changes back, and kept for as long as it stands as it
does. A page waits for that a moment only: what is not known by then is there at the next look.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aiohttp import web

from datakit_ci.annals import Change
from datakit_ci.dashboard.source import Source
from datakit_ci.state import Status, TargetState
from datakit_ci.target import Target
from datakit_core.client.api import CommitId
from datakit_core.errors import DatakitError

__all__ = ["COURSES", "Course", "Courses", "Outcome", "course_of"]

_LOG = logging.getLogger(__name__)

_BAD: Final = frozenset({Status.FAILURE, Status.ERROR})

_MOST_CHANGES = 40
"""Changes of a target that are read; each job that starts or ends can be one."""

_MOST_OUTCOMES = 10

_PATIENCE = 0.1
"""Seconds that a page waits for all that it shows."""

_KEPT = 512


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a target stood in the end at one commit of the source."""

    status: Status
    head: CommitId | None
    time: datetime | None


@dataclass(frozen=True, slots=True)
class Course:
    """What is known of a target's way to where it stands.

    Attributes:
        outcomes: The last ones, the oldest first.
        red_since: When it turned red, if it is red; none: it is not, or that is not known.
        at_least: Whether it may have been red for longer than that.
    """

    outcomes: tuple[Outcome, ...] = ()
    red_since: datetime | None = None
    at_least: bool = False


def course_of(changes: Sequence[Change], *, is_all: bool) -> Course:
    """The course of a target.

    Args:
        changes: What it came to, the newest first.
        is_all: Whether there are no older ones.
    """
    ends = [change.state for change in changes if change.state.status.is_final]
    since: datetime | None = None
    at_least = False
    if ends and ends[0].status in _BAD:
        green = next((n for n, state in enumerate(ends) if state.status not in _BAD), len(ends))
        since, at_least = ends[green - 1].updated, green == len(ends) and not is_all
    newest: dict[CommitId | None, Outcome] = {}
    for state in ends:
        newest.setdefault(state.head, Outcome(state.status, state.head, state.updated))
    outcomes = tuple(newest.values())[:_MOST_OUTCOMES]
    return Course(outcomes[::-1], since, at_least)


class Courses:
    """Keeps courses, those that were looked at last, each until its target stands elsewhere."""

    def __init__(self) -> None:
        """Keep none yet."""
        self._kept: OrderedDict[int, tuple[TargetState, Course]] = OrderedDict()

    async def of(self, source: Source, states: Iterable[TargetState]) -> Mapping[Target, Course]:
        """The courses of ``states``, which ``source`` shows; those that take long are left out."""
        found: dict[Target, Course] = {}
        try:
            async with asyncio.timeout(_PATIENCE):
                for state in states:
                    found[state.target] = await self._one(source, state)
        except TimeoutError:
            _LOG.debug("histories take long; %d are known", len(found))
        except DatakitError as error:
            _LOG.warning("histories of targets cannot be read: %s", error)
        return found

    async def _one(self, source: Source, state: TargetState) -> Course:
        """By the identity of the state, which is a value that is never changed."""
        kept = self._kept.get(id(state))
        if kept is not None and kept[0] is state:
            self._kept.move_to_end(id(state))
            return kept[1]
        changes = await source.history(state.target, 0, _MOST_CHANGES)
        course = course_of(changes, is_all=len(changes) < _MOST_CHANGES)
        self._kept[id(state)] = state, course
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return course


COURSES: Final = web.AppKey("courses", Courses)
