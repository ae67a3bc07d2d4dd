"""What an executor is: it runs one stage on one tree, somewhere, and says what came of it.

The engine decides what runs and when; an executor only runs it. To write another one, implement
:class:`Executor`; whatever it uses (containers, machines, a queue) stays inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from datakit_ci.outcome import Outcome
from datakit_ci.process import Sink
from datakit_ci.redaction import NO_SECRETS, Redaction
from datakit_ci.spec import StageSpec
from datakit_ci.state import BuildId, Status
from datakit_core.client.api import TreeId
from datakit_core.errors import DatakitError

__all__ = ["BuildRequest", "Executor", "LostBuild", "TimedOut", "Transient"]


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """One build to be run.

    Attributes:
        build: Its name.
        spec: What runs.
        input: The tree it is given; of that, it sees what ``spec.inputs`` names.
        secrets: The values of the secrets that it asks for, by the variable that it gets them in.
        redaction: Finds secrets. The log is redacted by whoever takes it; the executor looks
            through outputs and reports before it stores them, and fails a build that has one there.
    """

    build: BuildId
    spec: StageSpec
    input: TreeId
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    redaction: Redaction = NO_SECRETS


class LostBuild(DatakitError):
    """A build ended without a result: the pipeline or the machine is at fault.

    Attributes:
        status: What the build is shown as. It is not recorded, so it runs again after a restart.
    """

    status = Status.ERROR


class TimedOut(LostBuild):
    """A build was killed because it took longer than its stage allows.

    It counts as failed, but a time-out is no part of a result's name: a longer one, or a faster
    machine, must be able to make it pass.
    """

    status = Status.FAILURE


class Transient(LostBuild):
    """A build failed for a reason that it says is a passing one: no result."""

    status = Status.FAILURE


class Executor(Protocol):
    """Runs builds; any number at once, for the engine's pools limit them."""

    @property
    def name(self) -> str:
        """Recorded with every result."""
        ...

    async def run(self, request: BuildRequest, log: Sink) -> Outcome:
        """Run one build to its end.

        When the call is cancelled it ends everything it started, and only then returns.

        Args:
            request: What to run.
            log: Takes the build's output as it comes.

        Raises:
            LostBuild: There is no result.
        """
        ...
