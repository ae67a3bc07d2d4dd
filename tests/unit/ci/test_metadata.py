"""The metadata branch: paths and contents as existing tools write them."""

from __future__ import annotations

import pytest

from datakit_ci.metadata import (
    CommitStatus,
    commit_path,
    head_path,
    job_context,
    job_status,
    monitor_path,
    parse_commit_path,
    parse_field,
    parse_head_path,
    parse_target_file,
    status_path,
    status_state,
    target_path,
)
from datakit_ci.state import JobState, Status
from datakit_ci.target import Target
from tests.support.story import commit_id

HEAD = commit_id(1)

TARGETS = [
    (Target("me/app", "heads", "main"), "me/app/ref/heads/main/head"),
    (Target("me/app", "heads", "feature/a/head"), "me/app/ref/heads/feature/a/head/head"),
    (Target("me/app", "tags", "v1.0"), "me/app/ref/tags/v1.0/head"),
    (Target("me/app", "pr", "7"), "me/app/pr/7/head"),
]


@pytest.mark.parametrize(("target", "path"), TARGETS)
def test_heads_have_paths_that_can_be_read_back(target: Target, path: str) -> None:
    assert head_path(target) == path
    assert parse_head_path(path) == target
    assert head_path(target) == f"{target_path(target)}/head"


@pytest.mark.parametrize(
    "path",
    ["me/app/pr/7/title", "me/app/pr/x/head", "me/app/.monitor", "me/app/ref/notes/x/head", "head"],
)
def test_other_files_are_no_heads(path: str) -> None:
    assert parse_head_path(path) is None


def test_statuses_lie_below_their_commit() -> None:
    commit = commit_id(1)
    assert commit_path("me/app", commit) == f"me/app/commit/{commit}"
    assert status_path("me/app", commit, job_context("lint")) == (
        f"me/app/commit/{commit}/status/ci/datakit/lint"
    )
    assert monitor_path("me/app") == "me/app/.monitor"


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (Status.WAITING, "pending"),
        (Status.RUNNING, "pending"),
        (Status.SUCCESS, "success"),
        (Status.FAILURE, "failure"),
        (Status.BLOCKED, "failure"),
        (Status.CANCELLED, "error"),
        (Status.ERROR, "error"),
    ],
)
def test_each_of_our_states_has_one_of_the_four_words(status: Status, state: str) -> None:
    assert status_state(status) == state


def test_a_status_is_three_files_with_a_newline_each() -> None:
    status = CommitStatus("success", "passed in 3 s", "http://127.0.0.1/x")
    files = status.files()
    assert files == {
        "state": b"success\n",
        "description": b"passed in 3 s\n",
        "target_url": b"http://127.0.0.1/x\n",
    }
    assert CommitStatus.parse({name: data for name, data in files.items() if data}) == status


def test_a_status_without_page_has_no_such_file() -> None:
    assert CommitStatus("pending", "soon").files()["target_url"] is None
    assert CommitStatus("pending", "").files()["description"] is None
    assert CommitStatus.parse({}) == CommitStatus("pending", "")


def test_a_description_is_one_line_that_is_not_too_long() -> None:
    job = JobState("lint", Status.FAILURE, "exit\nstatus 1 " + "x" * 200)
    status = job_status(job, "http://127.0.0.1/x")
    assert status.state == "failure"
    assert status.description.startswith("exit status 1 xxx")
    assert len(status.description) == 140
    assert status.description.endswith("…")
    assert job_status(JobState("lint", Status.SUCCESS, "passed")).description == "passed"


def test_bytes_that_are_not_text_survive() -> None:
    status = CommitStatus("failure", "na\udce9")
    data = status.files()["description"]
    assert data == b"na\xe9\n"
    assert parse_field(data) == "na\udce9"


@pytest.mark.parametrize(
    ("path", "commit"),
    [
        (f"me/app/commit/{HEAD}/status/ci/x/state", ("me/app", HEAD)),
        (f"me/app/commit/{HEAD}", ("me/app", HEAD)),
        (f"me/app/commit/{HEAD}0/status/x/state", None),
        ("me/app/commit", None),
        ("me/app/ref/heads/main/head", None),
    ],
)
def test_what_is_said_of_a_commit_names_it(path: str, commit: object) -> None:
    assert parse_commit_path(path) == commit


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("me/app/pr/7/state", Target("me/app", "pr", "7")),
        ("me/app/pr/7/head", Target("me/app", "pr", "7")),
        ("me/app/pr/7/title", Target("me/app", "pr", "7")),
        ("me/app/pr/7/comments", None),
        ("me/app/ref/heads/state/head", Target("me/app", "heads", "state")),
        ("me/app/ref/heads/main/state", None),
    ],
)
def test_a_file_that_says_where_a_target_is_names_it(path: str, target: Target | None) -> None:
    assert parse_target_file(path) == target
