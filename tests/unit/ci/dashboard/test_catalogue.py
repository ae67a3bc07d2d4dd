"""What lists need of a target is worked out once for each of its states."""

from __future__ import annotations

from dataclasses import replace

import pytest

from datakit_ci.dashboard.catalogue import Catalogue, entry_of, newest_first
from datakit_ci.state import Status, TargetState
from datakit_ci.target import Target
from tests.support.ci_scene import Scene, fill
from tests.support.fake_engine import FakeEngine


@pytest.fixture
def scene() -> Scene:
    return fill(FakeEngine())


def test_an_entry_is_kept_until_there_is_another_state(scene: Scene) -> None:
    catalogue = Catalogue()
    (first,) = catalogue.entries([scene.green])
    assert catalogue.entries([scene.green])[0] is first
    (second,) = catalogue.entries([replace(scene.green, subject="Another")])
    assert second.has(["another"])
    assert not first.has(["another"])


def test_targets_that_are_gone_are_forgotten_in_the_end() -> None:
    catalogue = Catalogue()
    many = [TargetState(Target("me/app", "heads", str(number))) for number in range(5000)]
    entry = catalogue.entries(many)[0]
    catalogue.entries(many[:1])
    assert catalogue.entries(many[:1])[0] is entry
    assert catalogue.entries(many[1:2])[0].target.name == "1"
    assert len(catalogue.entries(many)) == 5000


def test_an_entry_names_the_builds_under_way(scene: Scene) -> None:
    entry = entry_of(scene.busy)
    assert [(node.label, node.status) for node in entry.underway] == [
        ("unit", Status.RUNNING),
        ("browser", Status.RUNNING),
        ("wheel", Status.WAITING),
        ("smoke", Status.WAITING),
    ]
    assert scene.live in entry.builds()


def test_what_changed_last_comes_first_and_what_never_did_last(scene: Scene) -> None:
    never = replace(scene.green, updated=None)
    ordered = newest_first(map(entry_of, [never, scene.green, scene.red, scene.busy]))
    assert [entry.state for entry in ordered] == [scene.busy, scene.red, scene.green, never]
