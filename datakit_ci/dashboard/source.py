"""What the dashboard needs to know, and nothing else: the engine's side for reading."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from datakit_ci.annals import Change
from datakit_ci.archive import Dossier
from datakit_ci.crew import Crew
from datakit_ci.explanation import Explanation, JobWhy
from datakit_ci.livelog import Pending
from datakit_ci.logtimes import LogTimes
from datakit_ci.pools import LockState, PoolState
from datakit_ci.project import Project
from datakit_ci.rulings import Ruling
from datakit_ci.state import BuildId, BuildState, TargetState
from datakit_ci.target import Target
from datakit_core.client.api import CommitId

__all__ = ["Source", "finish"]


class Source(Protocol):
    """The state that pages show.

    Every method may be called at any time and from any number of requests; none of them changes
    anything. Nothing here blocks the event loop.
    """

    def targets(self) -> Sequence[TargetState]:
        """Every known target, in no particular order."""
        ...

    def target(self, target: Target) -> TargetState | None:
        """One target, or none if it is not known (any more)."""
        ...

    async def build(self, build: BuildId) -> BuildState | None:
        """A build, whether it waits, runs or was recorded long ago; none if there is no such."""
        ...

    async def dossier(self, build: BuildId, commit: CommitId | None = None) -> Dossier | None:
        """What there is to read of a build: its state, its trees, what it looked at.

        Whoever may see the build may read these trees; ids from anywhere else prove nothing.

        Args:
            build: Which; none is returned if there is no such.
            commit: The result that this commit of the stage's branch has recorded; none: the
                newest.
        """
        ...

    def results(self, project: str, stage: str) -> AsyncIterator[Dossier]:
        """The recorded results of a stage, the newest first; one for each time that one was made.

        Close the iterator (:func:`finish`) if it is not read to its end, which may be far away.
        """
        ...

    async def history(self, target: Target, skip: int, most: int) -> Sequence[Change]:
        """What a target came to, change by change, the newest first.

        Args:
            target: Which; of an unknown one there is nothing.
            skip: How many of the newest changes are left out.
            most: How many are returned at most.
        """
        ...

    async def recorded_at(self, project: str, commit: CommitId) -> Sequence[TargetState]:
        """What each target of a project came to while it was at a source commit, without graphs."""
        ...

    async def why_build(self, build: BuildId) -> Explanation | None:
        """Why a build ran or waits; none if there is no such."""
        ...

    async def why(self, target: Target, job: str) -> JobWhy:
        """Why a job ran, did not run, or waits; raises ``NoEntry`` if there is none."""
        ...

    def paused(self) -> Mapping[str, Ruling]:
        """The projects in which nothing new is started, and who has decided so."""
        ...

    def flows(self) -> Sequence[TargetState]:
        """Every flow, in the pipeline's order; ``head`` is the commit that it is made from."""
        ...

    def projects(self) -> Sequence[Project]:
        """The projects as the pipeline declares them now, in its order."""
        ...

    def pools(self) -> Mapping[str, PoolState]:
        """What each pool is busy with, and what waits for it, the next first."""
        ...

    def crew(self) -> Crew:
        """Who runs the builds, where they do not run beside the engine."""
        ...

    def locks(self) -> Mapping[str, LockState]:
        """What has each lock, and what waits for it, the next first."""
        ...

    def follow_log(self, build: BuildId, offset: int = 0) -> AsyncIterator[bytes]:
        """A build's log from a byte ``offset``: what there is, then what comes, to its end.

        A recorded log ends at once; so does that of a build that is not known.
        """
        ...

    def watch_log(self, build: BuildId, offset: int = 0) -> AsyncIterator[bytes | Pending]:
        """As :meth:`follow_log`; and, until the build has started, why it waits, as that changes.

        Only bytes count for offsets.
        """
        ...

    async def log_times(self, build: BuildId) -> LogTimes | None:
        """When a build's log was written; none if nobody knows."""
        ...

    def changes(self) -> AsyncIterator[frozenset[Target]]:
        """All targets at once, then, each time, those that changed since; never ends by itself.

        Level-triggered: several changes of a target may be told as one.
        """
        ...


async def finish(iterator: AsyncIterator[object]) -> None:
    """Tell an iterator that nobody will read on, so that it lets go of what it holds now."""
    close = getattr(iterator, "aclose", None)
    if close is not None:
        await close()
