"""What people are offered to do follows from where things stand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from datakit_ci.dashboard.offers import BuildOffers, offers_of_build, offers_of_target
from datakit_ci.rulings import UNCONFIRMED
from datakit_ci.state import BuildState, JobState, Status, TargetState
from datakit_ci.target import Target
from datakit_ci.verdict import UNAPPROVED
from tests.support.ci_scene import build_id, fill
from tests.support.fake_engine import FakeEngine


@pytest.mark.parametrize(
    ("status", "reason", "offered"),
    [
        (Status.SUCCESS, "", BuildOffers(rebuild=True, cancel=False, confirm=False)),
        (Status.CANCELLED, "", BuildOffers(rebuild=True, cancel=False, confirm=False)),
        (Status.RUNNING, "", BuildOffers(rebuild=False, cancel=True, confirm=False)),
        (Status.WAITING, UNCONFIRMED, BuildOffers(rebuild=False, cancel=True, confirm=True)),
    ],
)
def test_a_build_can_be_rebuilt_or_cancelled_or_confirmed(
    status: Status, reason: str, offered: BuildOffers
) -> None:
    assert offers_of_build(BuildState(build_id("a/b", "c"), status, reason)) == offered


def test_of_a_red_target_what_failed_can_be_rebuilt_and_nothing_cancelled() -> None:
    offered = offers_of_target(fill(FakeEngine()).red)
    assert offered.failed
    assert not offered.cancel
    assert offered.rebuild == ("lint", "types", "unit", "docs", "wheel", "smoke")


def test_of_a_busy_target_what_is_under_way_can_be_cancelled() -> None:
    offered = offers_of_target(fill(FakeEngine()).busy)
    assert offered.cancel
    assert not offered.failed
    assert offered.confirm == ()


def test_what_waits_for_a_person_can_be_confirmed_once_for_each_build() -> None:
    state = fill(FakeEngine()).busy
    graph = [
        replace(node, reason=UNCONFIRMED) if node.id == "wheel" else node for node in state.graph
    ]
    offered = offers_of_target(replace(state, graph=tuple(graph)))
    assert [node.label for node in offered.confirm] == ["wheel"]


def test_only_a_pull_request_that_waits_for_it_can_be_approved() -> None:
    job = JobState("unit", Status.WAITING, f"{UNAPPROVED}: a pull request of eve")
    waiting = TargetState(Target("a/b", "pr", "1"), jobs=(job,))
    assert offers_of_target(waiting).approve
    passed = replace(job, status=Status.SUCCESS)
    assert not offers_of_target(replace(waiting, jobs=(passed,))).approve
    assert not offers_of_target(replace(waiting, target=Target("a/b", "heads", "x"))).approve
