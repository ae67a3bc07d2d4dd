"""The explainer: why builds and jobs stand where they stand, as an engine knows it.

What is recorded is explained by :class:`~datakit_ci.inquiry.Inquiry`; what is under way, by where
it stands in the lines of pools and locks and by what people have decided.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from datakit_ci.archive import Archive
from datakit_ci.builds import Builds
from datakit_ci.docket import Docket
from datakit_ci.explanation import Explanation, JobWhy, Reason, ReasonKind, Verdict
from datakit_ci.hindrances import Waiting, chain, why_it_waits
from datakit_ci.inquiry import Inquiry
from datakit_ci.livebuild import LiveBuild, Phase
from datakit_ci.state import BuildId, GraphNode, Status, TargetState
from datakit_ci.target import Target
from datakit_core.client.api import Database
from datakit_core.errors import NoEntry

__all__ = ["Explainer"]


class Explainer:
    """Explains what an engine has under way, and what it has recorded."""

    def __init__(
        self,
        database: Database,
        builds: Builds,
        docket: Docket,
        target: Callable[[Target], TargetState | None],
        trouble: Callable[[], str],
        archive: Archive,
    ) -> None:
        """Explain what is in ``database`` and what ``builds`` has under way.

        Args:
            database: Where results are.
            builds: What is wanted now.
            docket: What people have decided.
            target: The state of a target.
            trouble: What is wrong with the database; empty: nothing.
            archive: Remembers what was read of ``database``.
        """
        self._inquiry = Inquiry(database, archive)
        self._builds = builds
        self._docket = docket
        self._target = target
        self._trouble = trouble

    async def build(self, build: BuildId, target: TargetState | None = None) -> Explanation | None:
        """Why a build ran, does not run, or waits; none if it is not known.

        Args:
            build: Which.
            target: For whom; then it may also be that an earlier result served it.
        """
        live = self._builds.live(build)
        if live is not None:
            return why_it_waits(self._waiting(live))
        found = await self._inquiry.build(build, target)
        due = self._builds.due(build)
        if found is None or due is None:
            return found
        next_time = Reason(ReasonKind.DUE, f"it runs next at {due:%Y-%m-%d %H:%M:%S} UTC")
        return replace(found, reasons=(*found.reasons, next_time))

    async def job(self, target: Target, job: str) -> JobWhy:
        """Why a job stands where it stands: from its own node to the one that decides.

        Raises:
            NoEntry: There is no such target or job.
        """
        state = self._target(target)
        if state is None:
            raise NoEntry(f"there is no target {target.path}")
        found = next((each for each in state.jobs if each.name == job), None)
        if found is None:
            problem = f": {state.problem}" if state.problem else ""
            raise NoEntry(f"{target.path} has no job {job}{problem}")
        steps = tuple([step async for step in self._steps(state, job)])
        return JobWhy(target.path, job, found.status, found.description, steps)

    async def _steps(self, state: TargetState, job: str) -> AsyncIterator[Explanation]:
        nodes = chain(state.graph, job)
        for node, below in zip(nodes, [*nodes[1:], None], strict=True):
            if below is not None:
                yield _behind(node, below)
            elif node.build is None:
                yield _itself(node)
            elif (found := await self.build(node.build, state)) is not None:
                yield found

    def _waiting(self, live: LiveBuild) -> Waiting:
        spec = live.need.spec
        return Waiting(
            live.build,
            live.status,
            live.reason,
            spec.pool,
            self._builds.pools(),
            spec.conditions.locks,
            self._builds.locks(),
            self._docket.rulings,
            live.phase is Phase.RESTING,
            self._trouble(),
        )


def _behind(node: GraphNode, below: GraphNode) -> Explanation:
    """A node that only passes on what another one comes to."""
    text = f"{node.label} depends on {below.label}, which is {below.status.value}"
    return Explanation(node.label, _verdict(node), (Reason(ReasonKind.UPSTREAM, text, below.id),))


def _itself(node: GraphNode) -> Explanation:
    """A node that waits for nothing that runs: a branch, a schedule, another CI."""
    text = node.reason or f"{node.label} is {node.status.value}"
    return Explanation(node.label, _verdict(node), (Reason(ReasonKind.OTHER, text, node.id),))


def _verdict(node: GraphNode) -> Verdict:
    if node.status is Status.SUCCESS:
        return Verdict.SERVED
    return Verdict.ENDED if node.status.is_final else Verdict.WAITS
