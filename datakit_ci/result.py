"""Results: what a term has come to, so far.

A result is :class:`Ok`, :class:`Pending` or :class:`Failed`. The last two name the node of the
graph that they come from, however many terms they have passed through: what follows a failure is
*blocked*, and is shown so instead of as one more failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeAlias, TypeVar

from datakit_ci.state import Status

__all__ = ["Failed", "Ok", "Pending", "Result", "worst"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Ok(Generic[T_co]):
    """The term has its value."""

    value: T_co

    @property
    def status(self) -> Status:
        """Success."""
        return Status.SUCCESS


@dataclass(frozen=True, slots=True)
class Pending:
    """The term has no value yet.

    Attributes:
        reason: What is waited for, for people; never empty.
        node: The id of the node that is not ready.
        running: Whether that node is at work, and not only waiting.
        said: Whether the pipeline's author has said the reason: then what waits repeats it.
    """

    reason: str
    node: str
    running: bool = False
    said: bool = False

    @property
    def status(self) -> Status:
        """Running or waiting."""
        return Status.RUNNING if self.running else Status.WAITING

    def behind(self, label: str) -> Pending:
        """The same, as seen by a stage that cannot start before the node called ``label``."""
        reason = self.reason if self.said else f"waits for {label}"
        return replace(self, reason=reason, running=False)


@dataclass(frozen=True, slots=True)
class Failed:
    """The term will not have a value, unless something before it changes.

    Attributes:
        reason: Why, for people; never empty.
        node: The id of the node that failed.
        kind: ``FAILURE``; ``CANCELLED``; or ``ERROR``: the pipeline or machine is at fault.
        blocked: Whether a stage in between did not run because of it.
    """

    reason: str
    node: str
    kind: Status = Status.FAILURE
    blocked: bool = False

    @property
    def status(self) -> Status:
        """The kind of failure, or blocked."""
        return Status.BLOCKED if self.blocked else self.kind

    def behind(self, label: str) -> Failed:
        """The same, as seen by a stage that does not run because ``label`` failed."""
        if self.blocked:
            return self
        verb = "was cancelled" if self.kind is Status.CANCELLED else "failed"
        return replace(self, reason=f"{label} {verb}", blocked=True)


Result: TypeAlias = Ok[T] | Pending | Failed


def worst(results: Sequence[Result[object]]) -> Pending | Failed | None:
    """What keeps ``results`` from being a success together: none if all are ok.

    A failure beats pending, since no wait will mend it; what runs beats what waits, since that is
    the better news to show. Among equals the first counts.
    """
    failed = next((result for result in results if isinstance(result, Failed)), None)
    if failed is not None:
        return failed
    pending = [result for result in results if isinstance(result, Pending)]
    return next((result for result in pending if result.running), pending[0] if pending else None)
