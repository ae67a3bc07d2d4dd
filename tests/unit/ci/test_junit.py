"""JUnit files as many tools write them, broken ones, and ones that mean harm."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datakit_ci import junit
from datakit_ci.junit import BadReport, Case, JUnitReader, Result
from datakit_ci.testreport import Past, TestReport, flaky_tests, judge

REPORT = b"""<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="pytest" tests="4">
<testcase classname="tests.test_a" name="test_ok" time="0.25">
<system-out>noise</system-out></testcase>
<testcase classname="tests.test_a" name="test_bad" time="1,200.5"><system-out>printed</system-out>
<failure message="assert 1 == 2">def test_bad():
&gt;   assert 1 == 2</failure></testcase>
<testcase name="setup"><error message="boom"/></testcase>
<testcase classname="tests.test_a" name="test_later">
<skipped message="not now">file:1</skipped></testcase>
<testcase classname="c" name="wavers"><flakyFailure message="once"/></testcase>
</testsuite></testsuites>"""


def read(*pieces: bytes) -> list[Case]:
    reader = JUnitReader()
    for piece in pieces:
        reader.feed(piece)
    return reader.close()[0]


def test_a_report_has_tests_results_times_and_what_was_said() -> None:
    ok, bad, error, skipped, wavers = read(REPORT)
    assert ok == Case("tests.test_a", "test_ok", seconds=0.25)
    assert (bad.result, bad.seconds, bad.message) == (Result.FAILED, 1200.5, "assert 1 == 2")
    assert bad.detail == "def test_bad():\n>   assert 1 == 2"
    assert bad.output == "printed"
    assert (error.group, error.result, error.message) == ("pytest", Result.ERROR, "boom")
    assert (skipped.result, skipped.message) == (Result.SKIPPED, "not now")
    assert wavers.wavered
    assert wavers.result is Result.PASSED


@given(st.lists(st.integers(0, len(REPORT)), max_size=8))
def test_it_is_the_same_however_it_comes(cuts: list[int]) -> None:
    ends = [0, *sorted(cuts), len(REPORT)]
    pieces = [REPORT[a:b] for a, b in itertools.pairwise(ends)]
    assert read(*pieces) == read(REPORT)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "no XML"),
        (b"<testsuite><testcase", "no XML"),
        (b"<testsuite></testsuites>", "no XML"),
        (b"not xml at all", "no XML"),
        (b"\x00\xff\xfe", "no XML"),
        (b"<html></html>", "neither testsuites"),
        (b'<?xml version="1.0" encoding="nope"?><testsuite/>', "no XML"),
        (b'<!DOCTYPE a [<!ENTITY x "y">]><testsuite name="&x;"/>', "entities"),
        (
            b'<!DOCTYPE a SYSTEM "file:///etc/passwd" [<!ENTITY e SYSTEM "x">]><testsuite/>',
            "entities",
        ),
        (b"<testsuite>" + b"<x>" * 200, "too deep"),
    ],
)
def test_what_is_no_report_is_told_in_words(content: bytes, word: str) -> None:
    with pytest.raises(BadReport, match=word):
        read(content)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_report_or_a_bad_one(content: bytes) -> None:
    for wrapped in (content, b"<testsuite><testcase>" + content + b"</testcase></testsuite>"):
        with contextlib.suppress(BadReport):
            assert len(read(wrapped)) <= 1


def test_what_is_kept_of_a_report_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(junit, "_MOST_CASES", 3)
    reader = JUnitReader()
    reader.feed(b"<testsuite>" + b"<testcase name='x'/>" * 5 + b"</testsuite>")
    cases, more = reader.close()
    assert (len(cases), more) == (3, 2)
    long = b"y" * 100_000
    (case,) = read(
        b"<testsuite><testcase name='" + long + b"'><failure message='" + long + b"'>" + long
        + b"</failure><system-out>" + long + b"</system-out></testcase></testsuite>"
    )  # fmt: skip
    assert len(case.name) == 1000
    assert max(len(case.message), len(case.detail), len(case.output)) <= 40_000


def test_text_of_all_tests_together_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(junit, "_MOST_TEXT", 100)
    case = b"<testcase><failure message='m'>" + b"z" * 60 + b"</failure></testcase>"
    first, second = read(b"<testsuite>" + case * 2 + b"</testsuite>")
    assert first.detail
    assert not second.detail
    assert second.message == "m"


def report(**results: Result) -> TestReport:
    return TestReport(tuple(Case("g", name, result) for name, result in results.items()))


def past(*, is_same: bool = False, is_older: bool = True, **results: Result) -> Past:
    return Past(report(**results).verdicts, is_same, is_older)


FAILED, PASSED = Result.FAILED, Result.PASSED


def test_a_failure_is_new_old_or_flaky() -> None:
    now = report(new=FAILED, old=FAILED, older=FAILED, flaky=FAILED, fine=PASSED)
    others = [
        past(is_older=False, is_same=True, flaky=PASSED, new=FAILED),
        past(new=PASSED, old=FAILED, older=FAILED, flaky=FAILED),
        past(new=FAILED, old=PASSED, older=FAILED),
        past(older=FAILED),
    ]
    assert judge(now, others) == {
        ("g", "new"): "new",
        ("g", "old"): "failed before",
        ("g", "older"): "failed 3 times before",
        ("g", "flaky"): "flaky",
    }
    assert judge(now, []) == {}


def test_flaky_is_what_ends_differently_on_the_same_input() -> None:
    def verdicts(**results: Result) -> dict[tuple[str, str], Result]:
        return dict(report(**results).verdicts)

    results = [
        ("one", verdicts(a=FAILED, b=PASSED, c=FAILED)),
        ("one", verdicts(a=PASSED, b=PASSED, c=FAILED)),
        ("two", verdicts(b=FAILED)),
    ]
    assert flaky_tests(results) == [(("g", "a"), 1, 2)]
    assert flaky_tests([], [Case("g", "w", wavered=True)]) == [(("g", "w"), 1, 2)]


def test_totals_and_times() -> None:
    cases = (Case("g", "a", seconds=1), Case("g", "b", Result.ERROR, 3), Case("g", "c", seconds=2))
    found = TestReport(cases)
    assert dict(found.totals) == {Result.ERROR: 1, Result.PASSED: 2}
    assert found.seconds == 6
    assert [case.name for case in found.sorted_by_time()] == ["b", "c", "a"]
    twice = TestReport((Case("g", "a", FAILED), Case("g", "a", PASSED)))
    assert twice.verdicts == {("g", "a"): FAILED}
