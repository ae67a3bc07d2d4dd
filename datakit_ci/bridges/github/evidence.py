"""What the database knows behind a status: why the job ran, and where its tests have failed.

It is read from what the engine records, so the engine need not be there.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from urllib.parse import quote

from datakit_ci.annals import Annals
from datakit_ci.archive import Archive, Dossier
from datakit_ci.bridges.github.checks import Annotation, Check, Progress
from datakit_ci.bridges.github.places import beginnings, places
from datakit_ci.bridges.github.resources import StatusKey
from datakit_ci.inquiry import Inquiry
from datakit_ci.junit import Case
from datakit_ci.metadata import CONTEXT, CommitStatus, status_state
from datakit_ci.reportfiles import read_report
from datakit_ci.state import BuildId, JobState, Status, TargetState
from datakit_ci.testreport import TestReport
from datakit_core.client.api import CommitId, Database, ObjectId, TreeId
from datakit_core.errors import DatakitError

__all__ = ["Evidence"]

_log = logging.getLogger(__name__)

_MOST = 500
"""Failures that get an annotation, which is ten requests; the dashboard has all."""

_LISTED = 50
"""Failures that are named in the summary as their place is not known."""

_MOST_KNOWN = 10_000
"""Paths of which it is remembered whether a commit has such a file."""

_CONCLUSIONS = {"success": "success", "failure": "failure", "error": "failure"}
"""GitHub's word for a state; it has none for an error, which must not pass either."""


class Evidence:
    """Finds what a check run shall say."""

    def __init__(self, database: Database) -> None:
        """Look in ``database``."""
        self._database = database
        self._annals = Annals(database)
        self._archive = Archive(database)
        self._inquiry = Inquiry(database)
        self._known: OrderedDict[tuple[TreeId, str], bool] = OrderedDict()

    async def of(self, project: str, key: StatusKey, status: CommitStatus) -> Check:
        """All that there is to say with a status; of one that no engine has set, just that."""
        plain = _plain(status)
        if not key.context.startswith(f"{CONTEXT}/"):
            return plain
        try:
            return await self._of_job(project, key, plain)
        except DatakitError as error:  # such as a result that was removed just now
            _log.warning("%s: no details for the check run: %s", key.context, error)
            return plain

    async def _of_job(self, project: str, key: StatusKey, plain: Check) -> Check:
        job = key.context.removeprefix(f"{CONTEXT}/")
        for state in await self._annals.states_at(project, CommitId(ObjectId(key.commit))):
            for found in state.jobs:
                if found.name == job and status_state(found.status) == plain.status.state:
                    return await self._detailed(state, found, plain)
        return plain

    async def _detailed(self, state: TargetState, job: JobState, plain: Check) -> Check:
        assert state.head is not None
        report, dossier = TestReport(), None
        if plain.progress is Progress.COMPLETED and job.builds:
            dossier = await self._archive.find(job.builds[-1])
        if dossier is not None and dossier.reports is not None:
            report = await read_report(dossier.objects, dossier.reports)
        placed, others = await self._placed(state.head, report.failures)
        why = await self._why(state, job)
        why = [each for each in why if each != plain.status.description]  # the title says that
        lines = [*_about(plain.status, job, dossier), *_why(why), *_tests(report), *_listed(others)]
        return Check(
            plain.status,
            _progress(job.status),
            "cancelled" if job.status is Status.CANCELLED else plain.conclusion,
            "\n".join(lines),
            tuple(placed),
        )

    async def _why(self, state: TargetState, job: JobState) -> Sequence[str]:
        with suppress(DatakitError):
            if job.builds and job.status.is_final:
                found = await self._inquiry.build(job.builds[-1], state)
                return () if found is None else [each.text for each in found.reasons]
            steps = (await self._inquiry.job(state.target, job.name)).steps
            return [each.text for step in steps for each in step.reasons]
        return ()

    async def _placed(
        self, head: CommitId, failures: Sequence[Case]
    ) -> tuple[list[Annotation], list[Case]]:
        """What can be said at a line of a file, and what cannot."""
        tree = (await self._database.commit(head)).tree
        placed: list[Annotation] = []
        others: list[Case] = []
        for case in failures:
            found = await self._place(tree, case) if len(placed) < _MOST else None
            if found is None:
                others.append(case)
            else:
                details = "\n\n".join(each for each in (case.detail, case.output) if each)
                placed.append(Annotation(*found, _title(case), case.message, details))
        return placed, others

    async def _place(self, tree: TreeId, case: Case) -> tuple[str, int] | None:
        for path, line in places(case):
            for name in beginnings(path):
                if await self._is_file(tree, name):
                    return name, line
        return None

    async def _is_file(self, tree: TreeId, path: str) -> bool:
        key = tree, path
        if key not in self._known:
            entry = await self._database.entry(tree, path)
            self._known[key] = entry is not None and entry.mode.is_file
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
        return self._known[key]


def _plain(status: CommitStatus) -> Check:
    """What a status alone has to say."""
    if status.state == "pending":
        return Check(status, Progress.QUEUED)
    return Check(status, Progress.COMPLETED, _CONCLUSIONS.get(status.state, "neutral"))


def _progress(status: Status) -> Progress:
    match status:
        case Status.WAITING:
            return Progress.QUEUED
        case Status.RUNNING:
            return Progress.IN_PROGRESS
        case _:
            return Progress.COMPLETED


def _about(status: CommitStatus, job: JobState, dossier: Dossier | None) -> Iterator[str]:
    """Where the log is, if the status says where the dashboard is."""
    build = job.builds[-1] if job.builds else None
    base = _dashboard(status.target_url, build)
    if base and build is not None and dossier is not None:
        yield f"[Log of {_code(build.stage)}]({base}/build/{quote(build.path)})"
        yield ""


def _dashboard(url: str, build: BuildId | None) -> str:
    """The dashboard's own address: what comes before the project in a page's address."""
    project = "" if build is None else f"/{quote(build.project)}/"
    return url.partition(project)[0] if project and project in url else ""


def _why(reasons: Sequence[str]) -> Iterator[str]:
    if reasons:
        yield "**Why**"
        yield ""
        yield from (f"- {_code(reason)}" for reason in reasons)
        yield ""


def _tests(report: TestReport) -> Iterator[str]:
    if report.cases:
        counts = [f"{count:,} {result.value}" for result, count in report.totals.items()]
        yield f"**Tests**: {', '.join(counts)}"
        yield ""
    for problem in report.problems[:_LISTED]:
        yield f"- {_code(problem.path)} cannot be read: {_code(problem.text)}"


def _listed(others: Sequence[Case]) -> Iterator[str]:
    for case in others[:_LISTED]:
        yield f"- {_code(_title(case))}: {_code(case.message or case.result.value)}"
    if len(others) > _LISTED:
        yield f"- and {len(others) - _LISTED:,} more"


def _title(case: Case) -> str:
    return f"{case.group}: {case.name}" if case.group else case.name


def _code(text: str) -> str:
    """Foreign text on one line, so that it is no Markdown: no link, no picture, no mention."""
    line = " ".join(text.split())[:300].replace("`", "'")
    return f"`{line}`" if line else ""
