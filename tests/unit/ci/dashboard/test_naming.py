"""What builds are called."""

from __future__ import annotations

from dataclasses import replace

from datakit_ci.canonical import JsonValue
from datakit_ci.dashboard.naming import known_label, label_of
from datakit_ci.occasion import Occasion
from datakit_ci.spec import stage_label
from datakit_ci.state import BuildState, GraphNode, Status, TargetState
from datakit_ci.target import Target
from tests.support.ci_scene import build_id

BUILD = BuildState(build_id("acme/shop", "unit"), Status.SUCCESS)
DRAWN = TargetState(
    Target("acme/shop", "heads", "main"),
    graph=(GraphNode("n", 'unit(DB="x")', "stage", Status.RUNNING, build=BUILD.id),),
)


def recorded(parameters: JsonValue) -> BuildState:
    return replace(BUILD, occasion=Occasion(identity={"parameters": parameters}))


def test_a_result_is_called_by_its_stage_and_parameters() -> None:
    cell = recorded({"DB": "sqlite", "PYTHON": "3.11"})
    assert label_of(cell, [DRAWN]) == 'unit(DB="sqlite", PYTHON="3.11")'
    assert label_of(recorded({})) == "unit"
    assert known_label(recorded({})) == "unit"


def test_what_is_under_way_is_called_as_it_is_drawn() -> None:
    assert label_of(BUILD, [DRAWN]) == 'unit(DB="x")'


def test_where_nobody_knows_the_parameters_there_is_the_stage() -> None:
    for build in (BUILD, recorded("damaged"), replace(BUILD, occasion=Occasion())):
        assert known_label(build) is None
        assert label_of(build) == "unit"


def test_parameters_are_told_as_values_of_json() -> None:
    assert stage_label("sizes", {"deep": True, "n": 3}) == "sizes(deep=true, n=3)"
