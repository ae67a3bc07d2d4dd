"""A shelf that is kept shows what one made from nothing shows, whatever has changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datakit_ci.dashboard import views
from datakit_ci.dashboard.catalogue import entry_of, having
from datakit_ci.dashboard.listing import Choice, listing
from datakit_ci.dashboard.shelf import Shelf, Shelves
from datakit_ci.dashboard.views import Filter
from datakit_ci.state import GraphNode, JobState, Status, TargetState
from datakit_ci.target import Target
from tests.support.ci_scene import NOW, Scene, build_id, fill
from tests.support.fake_engine import FakeEngine

TARGETS = [
    Target(f"me/{project}", kind, name)
    for project in "ab"
    for kind in ("heads", "tags", "pr")
    for name in "123"
]

CHOICES = [
    Choice(),
    Choice(Filter.FAILING, number=2),
    Choice(Filter.RUNNING, project="me/a"),
    Choice(author="mia"),
    Choice(search="me/b 2"),
]


def state(target: Target, status: Status, age: int, author: str) -> TargetState:
    updated = None if age == 0 else NOW - timedelta(minutes=age)
    build = build_id(target.project, "unit", target.name)
    node = GraphNode("unit", "unit", "stage", status, build=build)
    job = JobState("unit", status, builds=(build,))
    return TargetState(target, author=author, updated=updated, jobs=(job,), graph=(node,))


STATES = st.builds(
    state,
    st.sampled_from(TARGETS),
    st.sampled_from(Status),
    st.integers(0, 3),
    st.sampled_from(["", "ann", "bob"]),
)


def shown(shelf: Shelf) -> Sequence[object]:
    """All that pages show of a shelf."""
    overviews = [
        views.overview(shelf, wanted, search, project)
        for wanted in Filter
        for search in ("", "mia", "1 b")
        for project in (None, "me/a", "me/none")
    ]
    lists = [
        listing(shelf, kind, choice, project)
        for kind in ("heads", "tags", "pr")
        for choice in CHOICES
        for project in ("", "me/b")
    ]
    asking = sorted(entry.target for entry in shelf.asking.values())
    return overviews, lists, asking, len(shelf)


@settings(max_examples=30)
@given(st.lists(st.lists(STATES, max_size=4), max_size=8), st.data())
def test_a_shelf_that_is_updated_is_like_a_new_one(
    changes: list[list[TargetState]], data: st.DataObject
) -> None:
    known: dict[Target, TargetState] = {}
    kept = Shelf([])
    for change in changes:
        known.update((each.target, each) for each in change)
        if known:
            gone = st.lists(st.sampled_from(sorted(known)), unique=True)
            for target in data.draw(gone):
                del known[target]
        states = list(known.values())
        kept.update(states, kept.lacks(states))
        assert shown(kept) == shown(Shelf(map(entry_of, states)))


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 2), STATES), max_size=20))
def test_shelves_of_several_visitors_do_not_mix(looks: list[tuple[int, TargetState]]) -> None:
    shelves = Shelves()
    seen: Mapping[int, dict[Target, TargetState]] = {0: {}, 1: {}, 2: {}}
    for visitor, new in looks:
        seen[visitor][new.target] = new
        states = list(seen[visitor].values())
        assert shown(shelves.of(states)) == shown(Shelf(map(entry_of, states)))


@pytest.fixture
def scene() -> Scene:
    return fill(FakeEngine())


def many() -> list[TargetState]:
    return [TargetState(Target("me/app", "heads", str(number))) for number in range(100)]


def test_what_a_shelf_needs_of_a_target_is_worked_out_once_for_each_state(scene: Scene) -> None:
    shelves, states = Shelves(), many()
    first = {entry.target: entry for entry in shelves.of([scene.green, *states])}
    changed = replace(scene.green, subject="Another")
    second = {entry.target: entry for entry in shelves.of([changed, *states])}
    assert [target for target in first if first[target] is not second[target]] == [changed.target]
    assert having([second[changed.target]], ["another"])


def test_a_shelf_of_few_does_not_replace_one_of_many() -> None:
    shelves, states = Shelves(), many()
    everything = shelves.of(states)
    assert len(shelves.of(states[:3])) == 3
    assert shelves.of(states) is everything
    assert len(everything) == 100


def test_only_the_shelves_that_were_used_last_are_kept() -> None:
    shelves, states = Shelves(), many()
    first = shelves.of(states)
    for number in range(1, 5):
        shelves.of(states[: 10 * number])
    assert shelves.of(states) is not first
