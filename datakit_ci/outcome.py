"""Outcomes: what came of running a stage once, when there is a result."""

from __future__ import annotations

from dataclasses import dataclass

from datakit_ci.question import Question
from datakit_core.client.api import TreeId
from datakit_core.store.objects import EMPTY_TREE

__all__ = ["Outcome"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A build that came to a result, good or bad; it is recorded and never asked for again.

    Attributes:
        failure: Why it failed, for people; none if it passed.
        output: The tree it made; empty when it failed.
        reports: The JUnit files that it left, whether it passed or not; none if there are none.
        exit_status: The command's; none for functions.
        details: Further facts for people, such as versions: names and values.
        questions: What it looked at, in the order in which it did; none: all that it could.
        executor: Which executor ran it, of several behind one; empty: the one that was asked.
    """

    failure: str | None = None
    output: TreeId = EMPTY_TREE
    reports: TreeId | None = None
    exit_status: int | None = None
    details: tuple[tuple[str, str], ...] = ()
    questions: tuple[Question, ...] | None = None
    executor: str = ""
