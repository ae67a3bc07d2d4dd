"""The front page: branches to look at first, and what waits for a person."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from datakit_ci.dashboard.catalogue import Entry, entry_of
from datakit_ci.dashboard.frontpage import PoolUse, front
from datakit_ci.dashboard.shelf import Shelf
from datakit_ci.pools import PoolState
from datakit_ci.project import Project
from datakit_ci.rulings import UNCONFIRMED, Ruling
from datakit_ci.state import JobState, Status, TargetState
from datakit_ci.target import Target
from datakit_ci.verdict import UNAPPROVED
from tests.support.ci_scene import NOW, fill
from tests.support.fake_engine import FakeEngine


def project(name: str, *dashboards: str) -> Project:
    return Project(name, lambda target: {}, dashboards=dashboards)


def asking(states: list[TargetState]) -> list[Entry]:
    return list(Shelf(map(entry_of, states)).asking.values())


def test_branches_are_in_the_pipelines_order_and_missing_ones_are_told() -> None:
    engine = fill(FakeEngine()).engine
    projects = [project("acme/storefront", "main"), project("acme/shop", "rounding", "next")]
    boards = front((), engine.target, projects, {}, {}).boards
    assert [(each.target.path, each.summary) for each in boards] == [
        ("acme/storefront/ref/heads/main", "All 2 jobs passed"),
        ("acme/shop/ref/heads/rounding", "5 of 7 jobs passed, 1 failed, 1 blocked"),
        ("acme/shop/ref/heads/next", "Not known yet"),
    ]


def test_what_waits_for_a_person_is_listed_and_the_oldest_comes_first() -> None:
    scene = fill(FakeEngine())
    held = replace(
        scene.busy,
        graph=tuple(
            replace(node, reason=UNCONFIRMED) if node.label == "wheel" else node
            for node in scene.busy.graph
        ),
    )
    fork = TargetState(
        Target("acme/shop", "pr", "9"),
        updated=NOW - timedelta(days=1),
        jobs=(JobState("pipeline", Status.WAITING, UNAPPROVED),),
    )
    asks = front(asking([scene.green, held, fork]), scene.engine.target, [], {}, {}).asks
    assert [ask.state for ask in asks] == [fork, held]
    assert [(ask.approve, [node.label for node in ask.confirm]) for ask in asks] == [
        (True, []),
        (False, ["wheel"]),
    ]
    assert front(asking([scene.busy, scene.red]), scene.engine.target, [], {}, {}).asks == ()


def test_only_pools_in_use_and_paused_projects_are_told() -> None:
    scene = fill(FakeEngine())
    pools = {"net": PoolState(1, (), (scene.failed,)), "cpu": PoolState(2, (scene.live,), ()),
             "idle": PoolState(2, (), ())}  # fmt: skip
    ruling = Ruling("mia", NOW)
    view = front([], scene.engine.target, [], pools, {"me/b": ruling, "me/a": ruling})
    assert view.pools == (PoolUse("cpu", 1, 2, 0), PoolUse("net", 0, 1, 1))
    assert [name for name, _ in view.paused] == ["me/a", "me/b"]
