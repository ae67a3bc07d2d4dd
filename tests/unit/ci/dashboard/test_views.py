"""Pages show what is red first, and find what is searched for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from datakit_ci.dashboard import views
from datakit_ci.dashboard.catalogue import Entry, entry_of
from datakit_ci.dashboard.shelf import Shelf
from datakit_ci.dashboard.views import Filter
from datakit_ci.state import BuildId, JobState, Status, TargetState
from datakit_ci.target import Target
from tests.support.ci_scene import Scene, build_id, fill
from tests.support.fake_engine import FakeEngine


@pytest.fixture
def scene() -> Scene:
    return fill(FakeEngine())


def entries(states: Iterable[TargetState]) -> list[Entry]:
    return [entry_of(state) for state in states]


def shelf(states: Iterable[TargetState]) -> Shelf:
    return Shelf(entries(states))


def names(view: views.Overview) -> list[str]:
    return [state.target.short for group in view.groups for state in group.targets]


def test_each_project_lists_red_targets_first(scene: Scene) -> None:
    view = views.overview(shelf(scene.engine.targets()), Filter.ALL, "")
    assert [group.project for group in view.groups] == ["acme/shop", "acme/storefront"]
    assert names(view) == [
        "heads/rounding", "pr/318", "heads/main", "tags/v2.4.0",
        "heads/trial/stages", "pr/12", "heads/main",
    ]  # fmt: skip


def test_filters_pick_by_state_and_know_their_counts(scene: Scene) -> None:
    view = views.overview(shelf(scene.engine.targets()), Filter.FAILING, "")
    assert names(view) == ["heads/rounding", "heads/trial/stages"]
    assert view.counts == {
        Filter.ALL: 7, Filter.FAILING: 2, Filter.RUNNING: 2, Filter.PASSING: 3,
    }  # fmt: skip
    assert dict(view.statuses)[Status.SUCCESS] == 3
    assert view.total == 7


@pytest.mark.parametrize(
    ("search", "found"),
    [("SHOP 318", ["pr/318"]), ("second footer", ["pr/12"]), ("nothing like it", [])],
)
def test_the_search_wants_every_word(scene: Scene, search: str, found: list[str]) -> None:
    assert names(views.overview(shelf(scene.engine.targets()), Filter.ALL, search)) == found


def test_a_commit_id_finds_its_target(scene: Scene) -> None:
    search = str(scene.red.head)[:12]
    assert names(views.overview(shelf(scene.engine.targets()), Filter.ALL, search)) == [
        "heads/rounding"
    ]


def test_trouble_names_the_failed_jobs_and_counts_the_blocked(scene: Scene) -> None:
    view = views.overview(shelf(scene.engine.targets()), Filter.ALL, "")
    assert [item.target.target.short for item in view.trouble] == [
        "heads/rounding",
        "heads/trial/stages",
    ]
    assert [job.name for job in view.trouble[0].jobs] == ["unit"]
    assert view.trouble[0].blocked == 1


def test_a_build_that_several_targets_share_runs_once(scene: Scene) -> None:
    other = replace(scene.busy, target=Target("acme/shop", "heads", "same-tree"))
    found = views.running(entries([scene.busy, other]))
    assert [(item.label, len(item.targets)) for item in found] == [("unit", 2), ("browser", 2)]


def test_a_large_project_is_cut_and_says_by_how_much() -> None:
    states = [TargetState(Target("acme/shop", "heads", f"b{index}")) for index in range(125)]
    (group,) = views.overview(shelf(states), Filter.ALL, "").groups
    assert (len(group.targets), group.more) == (60, 65)


def test_many_projects_share_the_page() -> None:
    states = [
        TargetState(Target(f"acme/p{project:03}", "heads", f"b{index}"))
        for project in range(70)
        for index in range(9)
    ]
    view = views.overview(shelf(states), Filter.ALL, "")
    assert len(view.groups) == 40
    assert view.more == 30
    assert {(len(group.targets), group.more) for group in view.groups} == {(2, 7)}


def test_the_main_branch_is_known_by_its_name(scene: Scene) -> None:
    assert views.main_branch("acme/shop", scene.engine.target) == scene.green
    assert views.main_branch("acme/none", scene.engine.target) is None


def test_only_failed_jobs_come_before_the_others(scene: Scene) -> None:
    assert [job.name for job in views.red_first(scene.red.jobs)] == [
        "unit", "lint", "types", "docs", "wheel", "smoke", "image",
    ]  # fmt: skip


def test_the_targets_of_a_build_are_found_by_graph_and_by_jobs(scene: Scene) -> None:
    only_jobs = replace(scene.red, target=Target("acme/shop", "heads", "other"), graph=())
    found = views.targets_of(map(entry_of, [scene.green, scene.red, only_jobs]), scene.failed)
    assert [state.target.name for state in found] == ["other", "rounding"]


def test_the_first_problem_is_the_node_that_failed_and_not_what_it_blocks(scene: Scene) -> None:
    problem = views.first_problem(scene.red.graph)
    assert problem is not None
    assert problem.label == "unit"
    assert views.first_problem(scene.green.graph) is None


def test_a_job_points_at_its_build_that_broke(scene: Scene) -> None:
    own = build_id("acme/shop", "image", "x")
    job = JobState("image", Status.BLOCKED, builds=(scene.failed, own))
    assert views.broken_build(scene.red, job) == scene.failed
    assert views.broken_build(scene.green, job) == own
    assert views.broken_build(scene.red, JobState("none", Status.WAITING)) is None


def jobs(*statuses: Status) -> TargetState:
    named = (JobState(str(index), status) for index, status in enumerate(statuses))
    return TargetState(Target("a/b", "heads", "main"), jobs=tuple(named))


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (jobs(), "No jobs yet"),
        (jobs(Status.SUCCESS), "The only job passed"),
        (jobs(Status.SUCCESS, Status.SUCCESS), "All 2 jobs passed"),
        (
            jobs(Status.SUCCESS, Status.FAILURE, Status.BLOCKED, Status.BLOCKED),
            "1 of 4 jobs passed, 1 failed, 2 blocked",
        ),
        (replace(jobs(), problem="boom"), "The pipeline could not be read for this commit"),
    ],
)
def test_a_target_is_summed_up_in_a_sentence(state: TargetState, sentence: str) -> None:
    assert views.summary(state) == sentence


def test_build_ids_are_told_apart_by_what_they_were_given() -> None:
    one, other = build_id("a/b", "unit", "x"), build_id("a/b", "unit", "y")
    assert isinstance(one, BuildId)
    assert one != other
