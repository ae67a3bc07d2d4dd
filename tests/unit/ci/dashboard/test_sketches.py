"""Pipelines as small pictures in lists."""

from __future__ import annotations

from dataclasses import replace

import pytest

from datakit_ci.dashboard.sketches import Sketches
from datakit_ci.state import Status
from tests.support.ci_scene import Scene, fill
from tests.support.fake_engine import FakeEngine


@pytest.fixture
def scene() -> Scene:
    return fill(FakeEngine())


def test_every_node_is_a_dot_in_its_state(scene: Scene) -> None:
    sketch = Sketches().of(scene.red.graph)
    assert sketch.count("<circle") == len(scene.red.graph)
    failed = sum(node.status is Status.FAILURE for node in scene.red.graph)
    assert sketch.count('class="s-failure"') == failed > 0


def test_it_is_drawn_once_until_the_pipeline_stands_elsewhere(scene: Scene) -> None:
    sketches = Sketches()
    first = sketches.of(scene.busy.graph)
    assert sketches.of(scene.busy.graph) is first
    ended = tuple(replace(node, status=Status.SUCCESS) for node in scene.busy.graph)
    assert "s-running" in first
    assert "s-running" not in sketches.of(ended)


def test_what_has_no_shape_has_no_sketch(scene: Scene) -> None:
    assert Sketches().of(()) == ""
    assert Sketches().of(scene.red.graph[:1]) == ""
