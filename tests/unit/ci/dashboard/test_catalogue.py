"""What lists need of a target is worked out once for each of its states."""

from __future__ import annotations

from dataclasses import replace

import pytest

from datakit_ci.dashboard.catalogue import entry_of, newest_first
from datakit_ci.state import Status
from tests.support.ci_scene import Scene, fill
from tests.support.fake_engine import FakeEngine


@pytest.fixture
def scene() -> Scene:
    return fill(FakeEngine())


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
