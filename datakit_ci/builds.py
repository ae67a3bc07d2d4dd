"""Builds that somebody wants: found in the cache, or run and recorded.

The shell over two pure parts: what is to be done about a build (a result will do, it may run, it
is held) is decided by :mod:`datakit_ci.rulings`, and when it runs by :mod:`datakit_ci.schedule`.
This carries it out, and tells the engine where each build stands. A build that came to no result
stays, with its log, for as long as somebody wants it, so that it is not tried again by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar

from datakit_ci.buildlogs import BuildLogs
from datakit_ci.cache import Cache
from datakit_ci.clock import Alarms, Clock
from datakit_ci.livebuild import LiveBuild, Phase
from datakit_ci.lookups import Lookups
from datakit_ci.need import Build, BuildFact
from datakit_ci.policy import Level, backoff
from datakit_ci.pulse import Pulse
from datakit_ci.rulings import Hold, Rulings, Run, Use, decide, expiry, occasion_of
from datakit_ci.runner import Runner
from datakit_ci.schedule import (
    Cancel,
    Instruction,
    PoolChanged,
    Scheduler,
    Start,
    Stop,
    Unwant,
    Want,
)
from datakit_ci.schedule import Finished as Ended
from datakit_ci.search import Finding, Search
from datakit_ci.spool import Spool
from datakit_ci.standings import Standings
from datakit_ci.state import BuildId, BuildState, Status
from datakit_core.client.api import TreeId

__all__ = ["Builds", "Reports"]

_log = logging.getLogger(__name__)

_K = TypeVar("_K")


@dataclass(frozen=True, slots=True)
class Reports:
    """Who is told what.

    Attributes:
        found: Where a wanted build stands.
        done: That a build has come to a result which people had decided something about.
        settled: That a look-up has ended, also of what is not wanted any more.
        asked_by: Asked, rather: the addresses and heads of the targets that want a build.
        given: Asked, too: the tree that a wanted build is given now; none if it is not wanted. It
            may be a later one than the need has, if the stage cannot tell them apart, and that one
            may be gone.
    """

    found: Callable[[Build, BuildFact], None]
    done: Callable[[BuildId], None]
    settled: Callable[[], None]
    asked_by: Callable[[BuildId], tuple[tuple[str, str], ...]] = lambda _: ()
    given: Callable[[Build], TreeId | None] = lambda _: None


class Builds(Standings):
    """Looks builds up, has those run that are not there, and forgets what nobody wants.

    Attributes:
        threshold: The level from which on a person has to confirm a build.
        logs: The log of any build, wanted or not.
    """

    def __init__(
        self,
        cache: Cache,
        search: Search,
        runner: Runner,
        scheduler: Scheduler,
        spool: Spool,
        group: asyncio.TaskGroup,
        reports: Reports,
        clock: Clock,
    ) -> None:
        """Work in tasks of ``group``, and tell ``reports``."""
        self.threshold: Level | None = Level.DANGEROUS
        self._cache = cache
        self._runner = runner
        self._scheduler = scheduler
        self._spool = spool
        self._group = group
        self._found = reports.found
        self._done = reports.done
        self._asked_by = reports.asked_by
        self._given = reports.given
        self._clock = clock
        self._alarms = Alarms(clock, group)
        self._rulings = Rulings()
        self._wanted: set[Build] = set()
        self._names: dict[Build, BuildId] = {}
        self._askers = defaultdict[BuildId, set[Build]](set)
        self._recorded: dict[BuildId, BuildState] = {}
        self._live: dict[BuildId, LiveBuild] = {}
        self._lookups = Lookups(search, group, self._looked_up)
        self._settled = reports.settled
        self._pulse = Pulse()
        self.logs = BuildLogs(self._live, self._reason, self._pulse, spool, cache)

    @property
    def idle(self) -> bool:
        """Whether nothing happens any more unless somebody does something.

        What waits for a person counts as idle, and so does a result that will expire.
        """
        rests = any(live.phase is Phase.RESTING for live in self._live.values())
        return self._scheduler.idle and self._lookups.idle and not rests

    def want(self, need: Build) -> None:
        """Find the build that answers ``need``, or run it; told to ``found``."""
        if need not in self._wanted:
            self._wanted.add(need)
            self._lookups.want(need)

    def unwant(self, need: Build) -> None:
        """Nobody wants ``need`` any more; what runs only for it is stopped, or left to itself."""
        self._wanted.discard(need)
        self._lookups.drop(need)
        self._alarms.drop(need)
        build = self._names.pop(need, None)
        if build is None:
            return
        self._askers[build].discard(need)
        if (live := self._live.get(build)) is not None:
            self._disown(live, need)
        self._forget(build)

    def rule(self, rulings: Rulings) -> None:
        """Do from now on what people have decided."""
        old, self._rulings = self._rulings, rulings
        for build in rulings.cancelled.keys() - old.cancelled.keys():
            self._cancel(build)
        for build in _changed(old.rebuilt, rulings.rebuilt) & rulings.rebuilt.keys():
            live = self._live.get(build)
            if live is not None and live.phase is Phase.ENDED:
                live.hold(Status.WAITING, "")
                live.attempts = 0
        builds = _changed(old.confirmed, rulings.confirmed)
        for before, after in (old.cancelled, rulings.cancelled), (old.rebuilt, rulings.rebuilt):
            builds |= _changed(before, after)
        projects = _changed(old.paused, rulings.paused)
        for need, build in list(self._names.items()):
            if build in builds or need.project in projects:
                self._consider(need)

    def resize(self, capacities: Mapping[str, int]) -> None:
        """Give each pool this many units from now on."""
        for pool, capacity in capacities.items():
            self._carry_out(self._scheduler.handle(PoolChanged(pool, capacity)))
        self._pulse.beat()

    def _looked_up(self, need: Build, found: Finding | Exception) -> None:
        if need in self._wanted:
            if isinstance(found, Exception):
                self._found(need, BuildFact.error(f"cannot be looked up: {found}"))
            else:
                self._take(need, found)
        self._pulse.beat()
        self._settled()

    def _take(self, need: Build, found: Finding) -> None:
        """``need`` is looked up."""
        build = found.build
        self._names[need] = build
        self._askers[build].add(need)
        if found.recorded is not None:
            self._recorded[build] = found.recorded
        self._consider(need)

    def _consider(self, need: Build) -> None:
        """Do what is to be done about ``need`` now."""
        build = self._names[need]
        recorded = self._recorded.get(build)
        now = self._clock.now()
        match decide(need, build, recorded, self._rulings, now, self.threshold):
            case Use():
                assert recorded is not None
                self._use(need, recorded)
            case Hold(status=status, reason=reason):
                self._hold(self._own(need), status, reason)
            case Run():
                self._schedule(self._own(need))

    def _use(self, need: Build, recorded: BuildState) -> None:
        """A result will do, until it expires."""
        if (live := self._live.get(recorded.id)) is not None:
            self._disown(live, need)
        self._found(need, BuildFact.recorded(recorded))
        expires = expiry(need, recorded)
        if expires is not None:
            self._alarms.set(need, expires, lambda: self._consider(need))

    def _own(self, need: Build) -> LiveBuild:
        """The build that is to answer ``need``, as one that has to be made."""
        build = self._names[need]
        live = self._live.get(build)
        if live is None:
            live = self._live[build] = LiveBuild(build, need, self._clock.now())
            recorded = self._recorded.get(build)
            live.previous = None if recorded is None else recorded.output
        live.owners.add(need)
        return live

    def _hold(self, live: LiveBuild, status: Status, reason: str) -> None:
        """Keep a build from running; one that runs goes on unless it was cancelled."""
        if live.phase is Phase.SCHEDULED and not self._scheduler.is_running(live.build):
            for owner in live.owners:
                self._carry_out(self._scheduler.handle(Unwant(live.build, owner)))
            live.hold(status, reason)
        elif live.phase in (Phase.HELD, Phase.RESTING) or (
            live.phase is Phase.ENDED and status is Status.CANCELLED
        ):
            self._alarms.drop(live.build)
            live.hold(status, reason)
        self._tell(live)

    def _schedule(self, live: LiveBuild) -> None:
        if live.phase is Phase.HELD:
            live.schedule()
        if live.phase is not Phase.SCHEDULED:
            self._tell(live)  # it rests; or it came to no result, and a person may try again
            return
        spec = live.need.spec
        instructions: list[Instruction] = []
        for owner in live.owners:
            conditions = owner.spec.conditions
            want = Want(live.build, spec.pool, owner, conditions.priority, conditions.locks)
            instructions += self._scheduler.handle(want)
        live.waits_for = live.waits_for or self._scheduler.reason(live.build, place=False)
        self._tell(live)
        self._carry_out(instructions)

    def _disown(self, live: LiveBuild, need: Build) -> None:
        """``need`` does not wait for a build any more."""
        live.owners.discard(need)
        if live.is_running and not live.owners and not live.need.spec.policy.auto_cancel:
            return  # the scheduler keeps its owner, and it runs to its end
        self._carry_out(self._scheduler.handle(Unwant(live.build, need)))
        if not live.owners and not self._scheduler.is_running(live.build):
            self._alarms.drop(live.build)
            del self._live[live.build]
            self._spool.remove(live.build)
            self._pulse.beat()

    def _cancel(self, build: BuildId) -> None:
        """Stop a build, whoever wants it."""
        live = self._live.get(build)
        if live is None or live.phase is not Phase.SCHEDULED:
            return
        instructions = self._scheduler.handle(Cancel(build))
        if not self._scheduler.is_running(build):
            live.hold(Status.WAITING, "")
        self._carry_out(instructions)

    def _carry_out(self, instructions: Iterable[Instruction]) -> None:
        for instruction in instructions:
            live = self._live[instruction.build]
            match instruction:
                case Start():
                    self._group.create_task(self._run(live))
                case Stop(reason=reason):
                    live.reason, live.stopping = reason, True
                    if live.stop is not None:
                        live.stop()

    async def _run(self, live: LiveBuild) -> None:
        live.served = frozenset(live.owners)
        live.need = self._present(live)
        recorded = await self._made_meanwhile(live)
        if recorded is None:
            recorded = await self._make(live)
        else:
            self._rename(live, recorded.id)
        self._end(live, recorded)

    def _present(self, live: LiveBuild) -> Build:
        """What ``live`` is to answer, on a tree that is wanted now."""
        for need in live.owners:
            if (given := self._given(need)) is not None:
                return replace(need, input=given)
        return live.need

    async def _make(self, live: LiveBuild) -> BuildState | None:
        """Run a build; none if it came to no result."""
        rulings = self._rulings.about(live.build)
        recorded, now = self._recorded.get(live.build), self._clock.now()
        occasion = occasion_of(live.build, live.owners, recorded, self._rulings, now)
        live.occasion = replace(occasion, targets=self._asked_by(live.build))
        details = {f"{kind} by": ruling.user for kind, ruling in rulings.items()}
        return await self._runner.run(live, details, lambda: self._tell(live))

    async def _made_meanwhile(self, live: LiveBuild) -> BuildState | None:
        """The result of a build that saw the same, and has ended while this one waited.

        What is made again is not looked for: its own result would be found.
        """
        if not live.waits_for or live.build in self._recorded:
            return None
        try:
            found = await self._cache.find(live.need)
        except Exception:  # noqa: BLE001 - the boundary of a look-up: it is run instead
            _log.exception("cannot look up %s again", live.build.path)
            return None
        if found is None:
            return None
        now = self._clock.now()
        ruling = decide(live.need, found.id, found, self._rulings, now, self.threshold)
        return found if isinstance(ruling, Use) else None

    def _rename(self, live: LiveBuild, build: BuildId) -> None:
        """Whoever asked for ``live`` is answered by ``build``."""
        if build != live.build:
            for need in self._askers.pop(live.build, set()):
                self._names[need] = build
                self._askers[build].add(need)

    def _end(self, live: LiveBuild, recorded: BuildState | None) -> None:
        """Tell how a run ended, and start what was waiting for that."""
        build = live.build
        instructions = self._scheduler.handle(Ended(build, recorded is not None))
        if recorded is not None:
            self._recorded_now(live, recorded)
        elif self._scheduler.is_wanted(build):
            live.schedule()  # it was wanted again while it was being stopped
            self._tell(live)
        elif live.attempts and live.attempts <= live.need.spec.policy.retry and live.owners:
            self._rest(live)
        else:
            live.phase = Phase.ENDED
            for need in list(live.owners):
                self._consider(need)
            self._tell(live)
        self._forget(build)
        self._pulse.beat()
        self._carry_out(instructions)

    def _recorded_now(self, live: LiveBuild, recorded: BuildState) -> None:
        """A result is good for whoever waited for it when it was begun, whatever clocks say."""
        build = recorded.id
        del self._live[live.build]
        self._spool.remove(live.build)
        self._recorded[build] = recorded
        self._lookups.refresh()
        for need in list(self._askers[build]):
            if need in live.served:
                self._use(need, recorded)
            else:
                self._consider(need)
        if self._rulings.about(live.build):
            self._done(live.build)

    def _rest(self, live: LiveBuild) -> None:
        """Try again after a while."""
        again = self._clock.now() + timedelta(seconds=backoff(live.attempts))
        live.phase, live.status = Phase.RESTING, Status.WAITING
        attempt = f"attempt {live.attempts + 1} of {live.need.spec.policy.retry + 1}"
        live.reason = f"{attempt} at {again:%H:%M:%S} UTC: {live.reason}"
        self._alarms.set(live.build, again, lambda: self._wake(live))
        self._tell(live)

    def _wake(self, live: LiveBuild) -> None:
        live.hold(Status.WAITING, "")
        for need in list(live.owners):
            self._consider(need)

    def _forget(self, build: BuildId) -> None:
        """Let go of a build that nobody wants, unless it has yet to end."""
        if self._askers[build] or self._scheduler.is_running(build):
            return
        del self._askers[build]
        self._recorded.pop(build, None)
        if self._live.pop(build, None) is not None:
            self._spool.remove(build)
            self._pulse.beat()

    def _tell(self, live: LiveBuild) -> None:
        for need in live.owners:
            self._found(need, live.fact)
        self._pulse.beat()


def _changed(old: Mapping[_K, object], new: Mapping[_K, object]) -> set[_K]:
    """The keys whose values differ."""
    return {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
