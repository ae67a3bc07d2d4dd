"""Two executors behind one: most builds run elsewhere, and some beside the engine."""

from __future__ import annotations

from dataclasses import replace

from datakit_ci.executors.base import BuildRequest, Executor
from datakit_ci.outcome import Outcome
from datakit_ci.process import Sink
from datakit_ci.spec import StageKind

__all__ = ["RoutingExecutor"]


class RoutingExecutor:
    """Runs what says so on this machine, and pipelines, for which a person waits; else elsewhere.

    Attributes:
        name: Of the other executor.
    """

    def __init__(self, local: Executor, other: Executor) -> None:
        """Run builds by ``other``, but for those of ``local``."""
        self.name = other.name
        self._local = local
        self._other = other

    async def run(self, request: BuildRequest, log: Sink) -> Outcome:
        """Run one build."""
        spec = request.spec
        is_local = spec.kind is StageKind.PIPELINE or spec.conditions.executor == "local"
        executor = self._local if is_local else self._other
        return replace(await executor.run(request, log), executor=executor.name)
