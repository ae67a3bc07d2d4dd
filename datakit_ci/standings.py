"""Standings: where the builds stand that somebody wants, and what they wait for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime

from datakit_ci.cache import Cache
from datakit_ci.clock import Clock
from datakit_ci.livebuild import LiveBuild, Phase
from datakit_ci.moments import Schedule
from datakit_ci.need import Build
from datakit_ci.pools import LockState, PoolState
from datakit_ci.rulings import UNCONFIRMED, expiry
from datakit_ci.schedule import Scheduler
from datakit_ci.state import BuildId, BuildState, Status

__all__ = ["Standings"]


class Standings:
    """The reading half of builds, which bring what is known of them.

    A wanted build is *recorded* if it has a result, and *live* if it has to be made; it may be
    both, while it is made again.
    """

    _cache: Cache
    _clock: Clock
    _scheduler: Scheduler
    _askers: defaultdict[BuildId, set[Build]]
    _recorded: dict[BuildId, BuildState]
    _live: dict[BuildId, LiveBuild]

    def live(self, build: BuildId) -> LiveBuild | None:
        """A wanted build that has to be made, to look at; none if a result will do."""
        return self._live.get(build)

    def recorded(self, build: BuildId) -> BuildState | None:
        """A wanted build that is recorded; none if it is not, or not wanted."""
        return self._recorded.get(build)

    def due(self, build: BuildId) -> datetime | None:
        """When a recorded build is made anew by itself; none: not as far as is known."""
        recorded = self._recorded.get(build)
        if recorded is None:
            return None
        moments = [expiry(need, recorded) for need in self._askers.get(build, ())]
        schedules = {need.spec.policy.every for need in self._askers.get(build, ())}
        moments += [Schedule(each).next(self._clock.now()) for each in schedules if each]
        return min((moment for moment in moments if moment is not None), default=None)

    def standing(self, build: BuildId) -> Status | None:
        """Where a wanted build stands; none if it is not wanted."""
        live, recorded = self._live.get(build), self._recorded.get(build)
        if live is not None:
            return live.status
        return None if recorded is None else recorded.status

    def waits_for_confirmation(self, build: BuildId) -> bool:
        """Whether a wanted build is held until a person confirms it."""
        live = self._live.get(build)
        return live is not None and live.phase is Phase.HELD and live.reason == UNCONFIRMED

    def pools(self) -> Mapping[str, PoolState]:
        """What each pool is busy with, and what waits for it."""
        return self._scheduler.pools()

    def locks(self) -> Mapping[str, LockState]:
        """What has each lock, and what waits for it."""
        return self._scheduler.locks()

    def needs(self, build: BuildId) -> frozenset[Build]:
        """The needs that a wanted build answers."""
        return frozenset(self._askers.get(build, ()))

    async def state(self, build: BuildId) -> BuildState | None:
        """Any build, wanted or recorded long ago; none if there is no such."""
        live = self._live.get(build)
        if live is None:
            return self._recorded.get(build) or await self._cache.read(build)
        return live.state(self._reason(live))

    def _reason(self, live: LiveBuild) -> str:
        """Why ``live`` does not go on, with its place in the queue."""
        if live.phase is Phase.SCHEDULED and live.status is Status.WAITING:
            return self._scheduler.reason(live.build)
        return live.reason
