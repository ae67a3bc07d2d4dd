"""What the local executor and its child process say to one another: one line of JSON each way.

The child reads an :class:`Instruction` from its standard input, which then stays open as its life
line. On its standard output it reports an :class:`Ending`. Its standard error is the log.
"""

from __future__ import annotations

import enum
import json
from dataclasses import asdict, dataclass, field
from typing import Self

from datakit_ci.canonical import canonical_json
from datakit_ci.spec import StageSpec
from datakit_core.client.api import TreeId

__all__ = ["Ending", "Instruction", "Verdict"]


@dataclass(frozen=True, slots=True)
class Instruction:
    """What the child is to do.

    Attributes:
        repository: The database's repository, which the child only reads.
        pipeline: The pipeline's file; used for functions.
        directory: A directory of the build's own; the child puts everything into it.
        input: The tree.
        spec: The stage.
        environment: What the user's code sees, besides the id of the tree that it sees.
        grace: Seconds between SIGTERM and SIGKILL.
        sandboxed: Whether the command runs in a sandbox.
        hidden: What it must not see from there.
    """

    repository: str
    pipeline: str
    directory: str
    input: TreeId
    spec: StageSpec
    environment: dict[str, str] = field(repr=False)
    grace: float
    sandboxed: bool = False
    hidden: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """As one line."""
        return canonical_json(
            {
                "repository": self.repository,
                "pipeline": self.pipeline,
                "directory": self.directory,
                "input": self.input,
                "spec": self.spec.to_json(),
                "environment": self.environment,
                "grace": self.grace,
                "sandboxed": self.sandboxed,
                "hidden": list(self.hidden),
            }
        )

    @classmethod
    def decode(cls, line: bytes) -> Self:
        """Read what :meth:`encode` wrote."""
        fields = json.loads(line)
        fields |= {"spec": StageSpec.from_json(fields["spec"]), "hidden": tuple(fields["hidden"])}
        return cls(**fields)


class Verdict(enum.Enum):
    """How the child's work ended."""

    PASSED = "passed"
    FAILED = "failed"
    """By the stage's own judgement: a result."""
    LOST = "lost"
    """There is no result: an exception in user code, a full disk."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What came of it.

    Attributes:
        verdict: Whether there is a result, and which.
        reason: Why not, or why it failed; one line for people.
        exit_status: The command's.
    """

    verdict: Verdict
    reason: str = ""
    exit_status: int | None = None

    def encode(self) -> bytes:
        """As one line."""
        return canonical_json({**asdict(self), "verdict": self.verdict.value})

    @classmethod
    def decode(cls, line: bytes) -> Self:
        """Read what :meth:`encode` wrote."""
        fields = json.loads(line)
        return cls(**{**fields, "verdict": Verdict(fields["verdict"])})
