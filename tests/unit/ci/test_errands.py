"""Errands: commands and their answers as files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from datakit_ci.control import Cancel, Command, Confirm, Pause, Rebuild, Resume, project_of
from datakit_ci.errands import Answer, Errand, errand_id, title_of
from datakit_ci.state import BuildId
from datakit_ci.target import Target
from datakit_core.errors import StoreError

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
MAIN = Target("me/app", "heads", "feature/x")
FLOW = Target("flows", "flow", "clean")
BUILD = BuildId("me/app", "unit/slow", "a" * 64, "b" * 64)


@pytest.mark.parametrize(
    ("command", "title"),
    [
        (Pause("alice", "me/app"), "pause me/app"),
        (Resume("alice", "flows"), "resume flows"),
        (Rebuild("alice", MAIN), "rebuild me/app/ref/heads/feature/x"),
        (
            Rebuild("alice", MAIN, only_failed=True),
            "rebuild what failed of me/app/ref/heads/feature/x",
        ),
        (Rebuild("alice", FLOW, "clean"), "rebuild clean of flows/clean"),
        (Cancel("alice", BUILD), f"cancel {BUILD.path}"),
        (Cancel("alice", MAIN, "unit"), "cancel unit of me/app/ref/heads/feature/x"),
        (Confirm("Älice", MAIN, "deploy"), "confirm deploy of me/app/ref/heads/feature/x"),
    ],
)
def test_every_command_survives_the_database_and_has_words(command: Command, title: str) -> None:
    errand = Errand(command, NOON)
    assert Errand.from_bytes(errand.to_bytes()) == errand
    assert title_of(command) == title


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"version":2,"time":"2026-03-04T12:00:00Z","command":"pause","user":"a","project":"p"}',
        b'{"version":1,"time":"noon","command":"pause","user":"a","project":"p"}',
        b'{"version":1,"time":"2026-03-04T12:00:00Z","command":"explode","user":"a"}',
        b'{"version":1,"time":"2026-03-04T12:00:00Z","command":"pause","user":"a"}',
        b'{"version":1,"time":"2026-03-04T12:00:00Z","command":"pause","user":"","project":"p"}',
        b'{"version":1,"time":"2026-03-04T12:00:00Z","command":"cancel","user":"a"}',
        b'{"version":1,"time":"2026-03-04T12:00:00Z","command":"cancel","user":"a","target":"x"}',
        b'{"version":1,"time":"2026-03-04T12:00:00Z","command":"cancel","user":"a",'
        b'"target":"me/app/heads/main","sudo":true}',
    ],
)
def test_what_is_no_command_is_refused(content: bytes) -> None:
    with pytest.raises(StoreError, match="damaged command"):
        Errand.from_bytes(content)


def test_an_answer_survives_the_database() -> None:
    for answer in (Answer(True, "paused me/app"), Answer(False, "there is no project x")):
        assert Answer.from_bytes(answer.to_bytes()) == answer
    for content in (b"", b"{}", b'{"version":1,"done":"yes","text":""}'):
        with pytest.raises(StoreError, match="damaged answer"):
            Answer.from_bytes(content)


def test_names_of_errands_sort_by_age() -> None:
    later = errand_id(NOON + timedelta(milliseconds=1), "00")
    assert errand_id(NOON, "ff") < later
    assert errand_id(NOON, "00") != errand_id(NOON, "ff")


def test_each_command_is_about_a_project() -> None:
    assert project_of(Pause("a", "me/app")) == "me/app"
    assert project_of(Cancel("a", BUILD)) == "me/app"
    assert project_of(Rebuild("a", FLOW)) == "flows"


def test_the_address_of_a_build_names_it() -> None:
    assert BuildId.parse(BUILD.path) == BUILD
    flow = BuildId("flows", "clean", "a" * 64, "b" * 64)
    assert BuildId.parse(flow.path) == flow
    assert BuildId.parse("me/app/unit") is None
    assert BuildId.parse("me/app/heads/main") is None


def test_what_a_flow_publishes_is_named_like_its_branch() -> None:
    assert Target.named("flows/clean") == FLOW
    assert Target.named("flows/clean/deep").name == "clean/deep"
    assert Target.named("flows/repo/heads/main") == Target("flows/repo", "heads", "main")
