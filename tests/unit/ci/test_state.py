"""States: names of builds, and one word for a whole target."""

from __future__ import annotations

import pytest

from datakit_ci.state import BuildId, JobState, Status, TargetState, stage_at, stage_path
from datakit_ci.target import FLOWS
from tests.support.story import MAIN


def test_a_build_has_a_branch_a_directory_and_an_address() -> None:
    build = BuildId("me/my-app", "unit/fast", "ab" * 32, "cd" * 32)
    assert build.branch == "results/me-my_2dapp/unit_2ffast"
    assert build.directory == f"ab/{'ab' * 32}/runs/{'cd' * 32}"
    assert build.path == f"me/my-app/unit/fast/{'ab' * 32}/{'cd' * 32}"


@pytest.mark.parametrize("project", ["me/my-app", FLOWS])
@pytest.mark.parametrize("stage", ["unit", "unit/fast", "a~1b", "a~0/b~", "~01/{x}", "a/b/c"])
def test_the_address_of_a_build_can_be_read_back(project: str, stage: str) -> None:
    build = BuildId(project, stage, "ab" * 32, "cd" * 32)
    assert BuildId.parse(build.path) == build
    assert stage_at(project, stage_path(project, stage).removeprefix(f"{project}/")) == stage


def test_a_slash_in_the_stage_of_a_flow_is_no_part_of_a_project() -> None:
    assert stage_path(FLOWS, "rates/tidy~") == "flows/rates~1tidy~0"
    assert stage_path("flows/rates", "tidy") == "flows/rates/tidy"


def test_only_what_waits_or_runs_goes_on_by_itself() -> None:
    assert {status for status in Status if not status.is_final} == {Status.WAITING, Status.RUNNING}


@pytest.mark.parametrize(
    ("jobs", "status"),
    [
        ([], Status.WAITING),
        ([Status.SUCCESS], Status.SUCCESS),
        ([Status.SUCCESS, Status.BLOCKED], Status.BLOCKED),
        ([Status.BLOCKED, Status.WAITING], Status.WAITING),
        ([Status.WAITING, Status.RUNNING], Status.RUNNING),
        ([Status.RUNNING, Status.FAILURE], Status.FAILURE),
        ([Status.FAILURE, Status.ERROR], Status.ERROR),
    ],
)
def test_a_target_is_as_bad_as_its_worst_job(jobs: list[Status], status: Status) -> None:
    state = TargetState(MAIN, jobs=tuple(JobState(f"j{n}", each) for n, each in enumerate(jobs)))
    assert state.status is status


def test_a_target_with_a_problem_is_in_error() -> None:
    assert TargetState(MAIN, problem="no jobs").status is Status.ERROR
