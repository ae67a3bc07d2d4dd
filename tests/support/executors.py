"""Executors for tests: one whose builds do what a test says, and one that remembers builds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from datakit_ci.executors.base import BuildRequest, Executor
from datakit_ci.outcome import Outcome
from datakit_ci.process import Sink
from datakit_ci.pulse import Pulse
from datakit_core.client.api import Database

__all__ = ["Behaviour", "Recorder", "ScriptedExecutor", "holding"]

Behaviour: TypeAlias = Callable[[BuildRequest, Sink], Awaitable[Outcome]]
"""What a stage does."""


class ScriptedExecutor:
    """Runs nothing: each stage prints its name, and makes a tree with the id of its input.

    Attributes:
        requests: Every build that was started, in order.
        running: The stages of those that have not ended.
        cancelled: The stages of builds that were cancelled.
        behaviours: What stages do instead, by name.
    """

    name = "scripted"

    def __init__(self, database: Database) -> None:
        self.requests: list[BuildRequest] = []
        self.running: list[str] = []
        self.cancelled: list[str] = []
        self.behaviours: dict[str, Behaviour] = {}
        self._database = database
        self._pulse = Pulse()

    @property
    def stages(self) -> list[str]:
        """The names of the stages that were started, sorted."""
        return sorted(request.spec.name for request in self.requests)

    async def run(self, request: BuildRequest, log: Sink) -> Outcome:
        """Do what the stage's behaviour says."""
        name = request.spec.name
        self.requests.append(request)
        self.running.append(name)
        self._pulse.beat()
        try:
            log(f"{name} runs\n".encode())
            behaviour = self.behaviours.get(name, self._pass)
            return await behaviour(request, log)
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise
        finally:
            self.running.remove(name)
            self._pulse.beat()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` holds, looking again whenever a build starts or ends."""
        while True:
            change = self._pulse.next
            if condition():
                return
            await change.wait()

    async def _pass(self, request: BuildRequest, log: Sink) -> Outcome:
        made = {f"{request.spec.name}.txt": f"{request.input}\n".encode()}
        return Outcome(output=await self._database.import_tree(made), exit_status=0)


class Recorder:
    """An executor that remembers what it ran.

    Attributes:
        requests: Every build that was started, in order.
        outcomes: What came of each, by stage; of several builds of one stage, of the last.
    """

    def __init__(self, executor: Executor) -> None:
        self.name = executor.name
        self.requests: list[BuildRequest] = []
        self.outcomes: dict[str, Outcome] = {}
        self._executor = executor

    @property
    def stages(self) -> list[str]:
        """The names of the stages that were started, in that order."""
        return [request.spec.name for request in self.requests]

    async def run(self, request: BuildRequest, log: Sink) -> Outcome:
        """Run it."""
        self.requests.append(request)
        outcome = await self._executor.run(request, log)
        self.outcomes[request.spec.name] = outcome
        return outcome


def holding(release: asyncio.Event, outcome: Outcome | None = None) -> Behaviour:
    """A behaviour that waits for ``release``, then comes to ``outcome``."""

    async def hold(request: BuildRequest, log: Sink) -> Outcome:
        await release.wait()
        return outcome or Outcome(exit_status=0)

    return hold
