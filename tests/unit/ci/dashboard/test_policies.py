"""What is in force, in words."""

from __future__ import annotations

import pytest

from datakit_ci.conditions import Conditions
from datakit_ci.dashboard.policies import limits, policies, schedules
from datakit_ci.pools import PoolState
from datakit_ci.project import Config
from datakit_ci.retention import Retention
from datakit_ci.state import GraphNode, Status, TargetState
from datakit_ci.target import FLOWS, Target


def scheduled(project: str, name: str, *labels: str) -> TargetState:
    nodes = tuple(GraphNode(each, each, "every", Status.SUCCESS) for each in labels)
    kind = "flow" if project == FLOWS else "heads"
    return TargetState(Target(project, kind, name), graph=nodes)


@pytest.mark.parametrize(
    ("executor", "words"),
    [
        ("local", "on this machine"),
        ("dask:tls://ann:hunter2@farm:8786", "on the cluster at tls://…@farm:8786"),
    ],
)
def test_where_builds_run_is_told_without_what_opens_a_door(executor: str, words: str) -> None:
    assert policies(Config(), executor, {}).executor == words


@pytest.mark.parametrize(
    ("level", "words"),
    [("dangerous", "dangerous"), ("mostly_harmless", "mostly harmless or worse"), (None, "")],
)
def test_what_is_to_be_confirmed_is_told(level: str | None, words: str) -> None:
    assert policies(Config(confirm=level), "local", {}).confirm == words


def test_retention_and_pools_are_told() -> None:
    pools = {"net": PoolState(None, (), ()), "cpu": PoolState(4, (), ())}
    found = policies(Config(retention=Retention(days=30)), "local", pools)
    assert found.retention == "30 days"
    assert list(found.pools.items()) == [("cpu", 4), ("net", None)]


def test_limits_are_told_where_there_are_some() -> None:
    assert limits(Conditions())["memory"] == "as much as there is"
    tight = limits(Conditions(memory=2_000_000_000, processes=64, log_limit=1_000_000))
    assert tight["memory"] == "2.0 GB"
    assert tight["processes"] == "64"
    assert tight["log"] == "1.0 MB"


def test_schedules_are_counted_by_project() -> None:
    states = [
        scheduled("me/app", "main", "every 1h", "every day 06:00"),
        scheduled("me/app", "next", "every 1h", "every 1h"),
        scheduled("me/none", "main"),
        scheduled(FLOWS, "rates", "every 2h"),
    ]
    assert schedules(states) == {
        "flows": {"every 2h": 1},
        "me/app": {"every 1h": 2, "every day 06:00": 1},
    }
