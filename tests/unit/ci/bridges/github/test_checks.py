"""What is sent of a check run, in pieces, and what is read of one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datakit_ci.bridges.github.checks import (
    REBUILD_FAILED,
    Annotation,
    Check,
    Progress,
    Run,
    requests,
    status_of,
)
from datakit_ci.metadata import CommitStatus
from tests.support.fake_checks import FakeRun
from tests.support.github_rest import complaint_about_request

MAKE = "POST /repos/{owner}/{repo}/check-runs"
CHANGE = "PATCH /repos/{owner}/{repo}/check-runs/{check_run_id}"
NAME, COMMIT = "ci/datakit/unit", "a" * 40
FAILED = CommitStatus("failure", "3 failed", "https://ci.example.org/ann/app/pr/1")


def check(count: int = 0, status: CommitStatus = FAILED) -> Check:
    remarks = tuple(Annotation("a.py", n + 1, f"t{n}", "no") for n in range(count))
    return Check(status, Progress.COMPLETED, "failure", "Because.", remarks)


class GitHub:
    """Takes requests as GitHub does."""

    def __init__(self) -> None:
        self.runs: list[FakeRun] = []
        self.sent: list[dict[str, Any]] = []

    @property
    def run(self) -> Run | None:
        return Run.from_json(self.runs[-1].to_json()) if self.runs else None

    def push(self, said: Check, most: int = 1000) -> None:
        """Send at most so many requests, as somebody who is killed then."""
        for number, data in enumerate(requests(said, NAME, COMMIT, self.run)):
            if number == most:
                return
            self.sent.append(data)
            if "head_sha" in data:
                self.runs.append(FakeRun(len(self.runs) + 1, 1, data["name"], data["head_sha"]))
            self.runs[-1].change(data)


def test_a_check_run_is_made_with_all_that_there_is_to_say() -> None:
    hub = GitHub()
    hub.push(check(1))
    [sent] = hub.sent
    assert (sent["status"], sent["conclusion"]) == ("completed", "failure")
    assert sent["details_url"] == FAILED.target_url
    assert sent["output"]["title"] == "3 failed"
    assert sent["output"]["annotations"][0]["start_line"] == 1
    assert [each["identifier"] for each in sent["actions"]] == [REBUILD_FAILED]


def test_what_github_has_been_told_is_not_told_again() -> None:
    hub = GitHub()
    hub.push(check(120))
    before = len(hub.sent)
    hub.push(check(120))
    assert len(hub.sent) == before == 3


def test_a_job_that_goes_on_is_the_same_check_run_and_one_that_runs_again_another() -> None:
    hub = GitHub()
    hub.push(Check(CommitStatus("pending", "waits"), Progress.QUEUED))
    hub.push(Check(CommitStatus("pending", "runs"), Progress.IN_PROGRESS))
    hub.push(check())
    assert [run.conclusion for run in hub.runs] == ["failure"]
    hub.push(Check(CommitStatus("pending", "runs"), Progress.IN_PROGRESS))
    hub.push(Check(CommitStatus("success", "passed"), Progress.COMPLETED, "success"))
    assert [run.conclusion for run in hub.runs] == ["failure", "success"]
    assert "actions" not in hub.sent[-1]


@given(st.integers(0, 230), st.lists(st.integers(1, 4), max_size=5))
def test_whoever_is_killed_in_between_goes_on_and_no_remark_is_made_twice(
    count: int, lives: list[int]
) -> None:
    hub = GitHub()
    for most in [*lives, 1000]:
        hub.push(check(count), most)
    [run] = hub.runs
    assert [each["start_line"] for each in run.annotations] == list(range(1, count + 1))
    assert (run.status, run.conclusion) == ("completed", "failure")
    for number, data in enumerate(hub.sent):
        operation = CHANGE if number else MAKE
        assert complaint_about_request(operation, (), json.dumps(data).encode()) == ""


@pytest.mark.parametrize(
    "status",
    [
        FAILED,
        CommitStatus("pending", ""),
        CommitStatus("error", "broken"),
        CommitStatus("success", "fine", ""),
    ],
)
def test_a_look_finds_the_status_that_was_told(status: CommitStatus) -> None:
    hub = GitHub()
    progress = Progress.QUEUED if status.state == "pending" else Progress.COMPLETED
    hub.push(Check(status, progress, "" if progress is Progress.QUEUED else "failure"))
    assert status_of(hub.runs[-1].of_query()) == status
    assert hub.run is not None
    assert hub.run.status == status


def test_one_that_is_not_complete_counts_as_pending() -> None:
    hub = GitHub()
    hub.push(check(80), most=1)
    assert status_of(hub.runs[-1].of_query()) == replace(FAILED, state="pending")


def test_check_runs_of_others_stand_for_no_status() -> None:
    assert status_of({"externalId": "", "title": "Fine", "detailsUrl": None}) is None
    assert status_of({"externalId": "theirs:1", "title": None}) is None


def test_what_is_too_long_is_cut() -> None:
    long = Annotation("a.py", 1, "t" * 300, "é" * 70_000, "d" * 70_000)
    said = long.to_json()
    assert len(str(said["title"])) == 255
    assert len(str(said["message"]).encode()) <= 65_535
    hub = GitHub()
    hub.push(Check(CommitStatus("failure", "d" * 300), Progress.COMPLETED, "failure", "s" * 70_000))
    assert len(hub.sent[0]["output"]["summary"]) == 65_535
