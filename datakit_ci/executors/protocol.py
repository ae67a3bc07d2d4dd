"""What the local executor and its child process say to one another: one line of JSON each way.

The child reads an :class:`Instruction` from its standard input, which then stays open as its life
line. On its standard output it reports an :class:`Ending`. Its standard error is the log.
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass, field
from typing import Self

from datakit_ci.canonical import canonical_json
from datakit_ci.question import Question, QuestionKind
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
    TRANSIENT = "transient"
    """There is no result, for a passing reason, as the stage itself says."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What came of it.

    Attributes:
        verdict: Whether there is a result, and which.
        reason: Why not, or why it failed; one line for people.
        exit_status: The command's.
        questions: What the stage looked at, in that order; none: all that it could.
    """

    verdict: Verdict
    reason: str = ""
    exit_status: int | None = None
    questions: tuple[Question, ...] | None = None

    def encode(self) -> bytes:
        """As one line."""
        asked = None
        if self.questions is not None:
            asked = [[question.kind.value, question.path] for question in self.questions]
        return canonical_json(
            {
                "verdict": self.verdict.value,
                "reason": self.reason,
                "exit_status": self.exit_status,
                "questions": asked,
            }
        )

    @classmethod
    def decode(cls, line: bytes) -> Self:
        """Read what :meth:`encode` wrote."""
        fields = json.loads(line)
        asked = fields["questions"]
        if asked is not None:
            asked = tuple(Question(QuestionKind(kind), path) for kind, path in asked)
        return cls(Verdict(fields["verdict"]), fields["reason"], fields["exit_status"], asked)
