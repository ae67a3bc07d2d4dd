"""What the tests of a build came to, beside those of other results: pure, values in and out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from datakit_ci.junit import Case, Result

__all__ = ["Past", "Problem", "TestReport", "Verdicts", "flaky_tests", "judge"]

Verdicts = Mapping[tuple[str, str], Result]
"""What came of each test of one result."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A file of a report that cannot be read, and why."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class TestReport:
    """The tests of one result.

    Attributes:
        cases: What went wrong first, otherwise in the files' order.
        problems: Files that are no reports.
        more: Tests that were not kept, for there are too many.
    """

    __test__ = False  # it is no test, whatever its name says to pytest

    cases: tuple[Case, ...] = ()
    problems: tuple[Problem, ...] = ()
    more: int = 0

    @property
    def failures(self) -> tuple[Case, ...]:
        """The tests that went wrong."""
        return tuple(case for case in self.cases if case.result.is_bad)

    @property
    def totals(self) -> Mapping[Result, int]:
        """How many tests came to what, the worst first; without zeros."""
        counts = Counter(case.result for case in self.cases)
        return {result: counts[result] for result in Result if counts[result]}

    @property
    def seconds(self) -> float:
        """What all tests took together."""
        return sum(case.seconds for case in self.cases)

    @property
    def verdicts(self) -> Verdicts:
        """What came of each test; of those with one name, the worst."""
        found: dict[tuple[str, str], Result] = {}
        for case in reversed(self.cases):  # what went wrong comes first, so it counts
            found[case.key] = case.result
        return found

    def sorted_by_time(self) -> Sequence[Case]:
        """The slowest first."""
        return sorted(self.cases, key=lambda case: -case.seconds)


@dataclass(frozen=True, slots=True)
class Past:
    """An earlier or later result of the same stage.

    Attributes:
        verdicts: What came of its tests.
        is_same: Whether it had the same code and input: then the tests should be the same too.
        is_older: Whether it was recorded before.
    """

    verdicts: Verdicts
    is_same: bool
    is_older: bool = True


def judge(report: TestReport, others: Sequence[Past]) -> Mapping[tuple[str, str], str]:
    """What is to be said of each failure: ``flaky``, ``new``, or since when it fails.

    Args:
        report: The tests of the result that is looked at.
        others: Other results of the stage with reports, the newest first.
    """
    older = [past for past in others if past.is_older]
    said: dict[tuple[str, str], str] = {}
    for case in report.failures:
        if any(past.is_same and _passed(past.verdicts.get(case.key)) for past in others):
            said[case.key] = "flaky"
        elif older:
            count = _in_a_row(case.key, older)
            said[case.key] = f"failed {count} times before" if count > 1 else "failed before"
            if not count:
                said[case.key] = "new"
    return said


def _passed(result: Result | None) -> bool:
    return result is Result.PASSED


def _in_a_row(key: tuple[str, str], older: Iterable[Past]) -> int:
    """In how many results before, without a gap, a test has failed."""
    count = 0
    for past in older:
        result = past.verdicts.get(key)
        if result is None or not result.is_bad:
            break
        count += 1
    return count


def flaky_tests(
    results: Iterable[tuple[object, Verdicts]], wavered: Iterable[Case] = ()
) -> Sequence[tuple[tuple[str, str], int, int]]:
    """Tests that came to different ends on the same input: names, failures, and runs.

    Args:
        results: For each result what it was given, and what came of its tests.
        wavered: Tests that say so themselves.
    """
    runs: dict[object, list[Verdicts]] = {}
    for given, verdicts in results:
        runs.setdefault(given, []).append(verdicts)
    counts = {case.key: (1, 2) for case in wavered}
    for same in runs.values():
        for key in dict.fromkeys(key for verdicts in same for key in verdicts):
            ends = [verdicts[key] for verdicts in same if key in verdicts]
            bad = sum(1 for end in ends if end.is_bad)
            if bad and any(map(_passed, ends)):
                before = counts.get(key, (0, 0))
                counts[key] = before[0] + bad, before[1] + len(ends)
    return sorted(
        ((key, bad, total) for key, (bad, total) in counts.items()),
        key=lambda each: (-each[1] / each[2], each[0]),
    )
