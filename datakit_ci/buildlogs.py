"""The log of any build: one that waits, runs, was interrupted, or was recorded long ago."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing

from datakit_ci.cache import Cache
from datakit_ci.livebuild import LiveBuild
from datakit_ci.livelog import Pending
from datakit_ci.logtimes import LogTimes
from datakit_ci.pulse import Pulse
from datakit_ci.spool import Spool
from datakit_ci.state import BuildId
from datakit_core.client.pieces import pieces_of

__all__ = ["BuildLogs"]


class BuildLogs:
    """Where logs are looked for, and what they wait for; see :class:`datakit_ci.builds.Builds`."""

    def __init__(
        self,
        live: Mapping[BuildId, LiveBuild],
        reason: Callable[[LiveBuild], str],
        changed: Pulse,
        spool: Spool,
        cache: Cache,
    ) -> None:
        """Look in these places.

        Args:
            live: The builds under way, which come and go.
            reason: Why one of them does not go on.
            changed: Beats whenever one of them, or its reason, may have changed.
            spool: The logs on this machine.
            cache: The recorded ones.
        """
        self._live, self._reason, self._changed = live, reason, changed
        self._spool, self._cache = spool, cache

    async def follow(self, build: BuildId, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """A build's log from byte ``offset`` on: to its end if it runs, else what there is.

        Waits for a build that has not started; of one that is not known there is nothing.
        """
        async with aclosing(self.watch(build, offset)) as events:
            async for event in events:
                if not isinstance(event, Pending):
                    yield event

    async def watch(self, build: BuildId, offset: int = 0) -> AsyncGenerator[bytes | Pending, None]:
        """As :meth:`follow`; and, until the build has started, why it waits, as that changes.

        Only bytes count for offsets, so who has seen them up to some offset goes on from there.
        Reasons in between may be skipped; the newest is told.
        """
        told = ""
        while True:
            change = self._changed.next
            live = self._live.get(build)
            if live is None or live.log is not None:
                break
            reason = self._reason(live)
            if reason and reason != told:
                told = reason
                yield Pending(reason)
            await change.wait()
        async with aclosing(self._source(build, live, offset)) as pieces:
            async for piece in pieces:
                yield piece

    async def times(self, build: BuildId) -> LogTimes | None:
        """When a build's log was written; none if nobody knows."""
        live = self._live.get(build)
        if live is not None and live.log is not None:
            return live.log.times
        if self._spool.interrupted(build) is not None:
            return None
        return await self._cache.log_times(build)

    def _source(
        self, build: BuildId, live: LiveBuild | None, offset: int
    ) -> AsyncGenerator[bytes, None]:
        if live is not None and live.log is not None:
            return live.log.follow(offset)
        if (interrupted := self._spool.interrupted(build)) is not None:
            return pieces_of(interrupted, offset)
        return self._cache.log(build, offset)
