"""Outputs: a result together with the builds behind it, whose logs people may read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from datakit_ci.result import Failed, Ok, Pending, Result
from datakit_ci.state import BuildId, JobState

__all__ = ["Output"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Output(Generic[T]):
    """What a job's term has come to.

    Attributes:
        result: The value, or why there is none.
        builds: What ran or runs for it, in the order in which it was needed, each once; the
            job's own build is the last.
        note: What is still going on, although there is a value: a newer one is made.
    """

    result: Result[T]
    builds: tuple[BuildId, ...] = ()
    note: Pending | None = None

    @property
    def description(self) -> str:
        """One line for people."""
        match self.result:
            case Ok():
                return "passed" if self.note is None else self.note.reason
            case Pending(reason=reason) | Failed(reason=reason):
                return reason

    def job(self, name: str) -> JobState:
        """The state of the job called ``name`` whose output this is.

        A job is not done while a newer value than the one it has is made.
        """
        standing = self.result if self.note is None else self.note
        return JobState(name, standing.status, self.description, self.builds)
