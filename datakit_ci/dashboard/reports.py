"""The test report of a build: read from its JUnit files, once, and shown beside earlier ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from datakit_ci.archive import Dossier, Objects
from datakit_ci.dashboard.addressed import number_in
from datakit_ci.dashboard.found import BUILD, find_dossier
from datakit_ci.dashboard.naming import known_label
from datakit_ci.dashboard.neighbours import is_result_of
from datakit_ci.dashboard.rendering import PAGES
from datakit_ci.dashboard.routes import read
from datakit_ci.dashboard.scope import source_of
from datakit_ci.dashboard.source import Source, finish
from datakit_ci.junit import Case
from datakit_ci.reportfiles import read_report
from datakit_ci.state import BuildState
from datakit_ci.testreport import (
    Past,
    TestReport,
    Verdicts,
    flaky_tests,
    judge,
)
from datakit_core.client.api import TreeId

__all__ = ["REPORTS", "ROUTES", "Judged", "ReportReader", "judged_report", "show_tests"]

_MOST_KEPT, _MOST_NAMES = 16, 500_000
"""Reports, and names of tests of further ones, that are remembered."""

_PAST, _FAR = 20, 60
"""Other results that tests are compared with, and among how many they are looked for."""

_PAGE = 500
"""Tests on one page."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A report beside those of other results.

    Attributes:
        report: The tests.
        said: What is to be said of failures, such as ``new`` or ``flaky``.
        flaky: Names, failures and runs of tests that are flaky in this stage.
        compared: How many other results there were to compare with.
    """

    report: TestReport
    said: Mapping[tuple[str, str], str]
    flaky: Sequence[tuple[tuple[str, str], int, int]]
    compared: int


class ReportReader:
    """Reads reports, and remembers them by the ids of their trees."""

    def __init__(self) -> None:
        self._reports: OrderedDict[TreeId, TestReport] = OrderedDict()
        self._verdicts: OrderedDict[TreeId, Verdicts] = OrderedDict()
        self._names = 0

    async def read(self, objects: Objects, tree: TreeId) -> TestReport:
        """The report in a tree of JUnit files; what is broken is told in it."""
        known = self._reports.get(tree)
        if known is None:
            known = await read_report(objects, tree)
            self._reports[tree] = known
            if len(self._reports) > _MOST_KEPT:
                self._reports.popitem(last=False)
        return known

    async def verdicts(self, objects: Objects, tree: TreeId) -> Verdicts:
        """What came of each test, which takes less room than the report."""
        known = self._verdicts.get(tree)
        if known is None:
            known = (self._reports.get(tree) or await read_report(objects, tree)).verdicts
            self._verdicts[tree] = known
            self._names += len(known)
            while self._names > _MOST_NAMES and len(self._verdicts) > 1:
                self._names -= len(self._verdicts.popitem(last=False)[1])
        return known


REPORTS: Final = web.AppKey("reports", ReportReader)


async def judged_report(reader: ReportReader, source: Source, dossier: Dossier) -> Judged | None:
    """The report of a build beside those of other results; none if it left no files."""
    if dossier.reports is None:
        return None
    report = await reader.read(dossier.objects, dossier.reports)
    others = await _others(reader, source, dossier.state)
    given = [(each.state.id, verdicts) for each, verdicts, _ in others]
    own = (dossier.state.id, report.verdicts)
    wavered = [case for case in report.cases if case.wavered]
    past = [
        Past(verdicts, each.state.id == dossier.state.id, is_older)
        for each, verdicts, is_older in others
    ]
    return Judged(report, judge(report, past), flaky_tests([own, *given], wavered), len(past))


async def _others(
    reader: ReportReader, source: Source, state: BuildState
) -> list[tuple[Dossier, Verdicts, bool]]:
    """Other results of the stage with reports, and whether they are older, the newest first.

    Those with other parameters are other tests, even where their names are the same.
    """
    cell = known_label(state)
    found: list[tuple[Dossier, Verdicts, bool]] = []
    is_older, looked = False, 0
    results = source.results(state.id.project, state.id.stage)
    try:
        async for each in results:
            looked += 1
            if is_result_of(each, state):
                is_older = True
            elif each.reports is not None and cell == known_label(each.state):
                verdicts = await reader.verdicts(each.objects, each.reports)
                found.append((each, verdicts, is_older))
            if len(found) >= _PAST or looked >= _FAR:
                break
    finally:
        await finish(results)
    return found


async def show_tests(request: web.Request) -> web.Response:
    """All tests of a build: failures first, or with ``?sort=time`` the slowest."""
    dossier = await find_dossier(request)
    judged = await judged_report(request.app[REPORTS], source_of(request), dossier)
    if judged is None:
        raise web.HTTPNotFound(
            text="This build left no test report; reports= of its stage names the files."
        )
    report, search = judged.report, request.query.get("q", "")[:200].strip()
    by_time = request.query.get("sort") == "time"
    cases = [
        case
        for case in (report.sorted_by_time() if by_time else report.cases)
        if _matches(case, search)
    ]
    pages = max(1, -(-len(cases) // _PAGE))
    page = min(number_in(request, "page"), pages)
    return request.app[PAGES].page(
        "tests.html",
        build=dossier.state,
        judged=judged,
        cases=cases[(page - 1) * _PAGE : page * _PAGE],
        found=len(cases),
        by_time=by_time,
        search=search,
        current=page,
        pages=pages,
    )


def _matches(case: Case, search: str) -> bool:
    text = f"{case.group} {case.name} {case.result.value}".casefold()
    return all(word in text for word in search.casefold().split())


ROUTES: Final = (read(BUILD + "/tests", show_tests),)
"""The address of a test report."""
