"""Rows of lists are drawn once, for as long as what they say is true."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest

from datakit_ci.dashboard.assets import Assets, web_directory
from datakit_ci.dashboard.rendering import Pages
from datakit_ci.dashboard.rows import Rows
from tests.support.ci_scene import NOW, Scene, fill
from tests.support.fake_engine import FakeEngine


@dataclass
class Clock:
    """Says what the test wants."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rows(clock: Clock) -> Rows:
    files = web_directory()
    return Rows(Pages(files / "templates", Assets.load(files / "static"), "CI", clock, str))


@pytest.fixture
def scene() -> Scene:
    return fill(FakeEngine())


def test_a_row_is_kept_until_its_target_stands_elsewhere(rows: Rows, scene: Scene) -> None:
    first = rows.of(scene.red, True, NOW)
    assert rows.of(scene.red, True, NOW) is first
    changed = rows.of(replace(scene.red, subject="<Another>"), True, NOW)
    assert "&lt;Another&gt;" in changed
    assert "Another" not in first


def test_a_row_is_drawn_again_when_it_is_older(rows: Rows, scene: Scene, clock: Clock) -> None:
    state = replace(scene.green, updated=NOW - timedelta(minutes=3))
    first = rows.of(state, False, clock.now)
    clock.now += timedelta(seconds=20)
    assert rows.of(state, False, clock.now) is first
    clock.now += timedelta(minutes=1)
    assert "3 min ago" in first
    assert "4 min ago" in rows.of(state, False, clock.now)


def test_a_row_with_the_project_is_another_one(rows: Rows, scene: Scene) -> None:
    assert "target-project" in rows.of(scene.green, True, NOW)
    assert "target-project" not in rows.of(scene.green, False, NOW)


def test_a_row_that_was_dropped_is_drawn_again(rows: Rows, scene: Scene) -> None:
    first = rows.of(scene.green, False, NOW)
    others = [replace(scene.green, subject=str(number)) for number in range(2048)]
    for state in others:
        rows.of(state, False, NOW)
    again = rows.of(scene.green, False, NOW)
    assert again == first
    assert again is not first
