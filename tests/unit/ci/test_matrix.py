"""Matrices: which cells there are, what they are called, and when they are known."""

from __future__ import annotations

from typing import Any

import pytest

from datakit_ci import Ok, TargetTerms, Term, Tree, matrix, return_, shell, stage
from datakit_ci.evaluate import evaluate
from datakit_ci.graph import Graph
from datakit_ci.need import Build, BuildFact, Facts, TargetHead, TreeOf
from datakit_ci.operation import RunStage
from datakit_core.errors import ConfigError
from tests.support.story import MAIN, Story, build_id, commit_id, tree_id

SOURCE = TargetTerms(MAIN).source
unit = shell("unit", "pytest")


@stage(version="1")
async def count(source: Tree, depth: int) -> Tree:
    return source


def test_there_is_a_cell_for_every_combination() -> None:
    jobs = matrix(unit, PYTHON=["3.11", "3.12"], DB=["sqlite", "post gres"]).jobs(SOURCE)
    assert list(jobs) == [
        "unit/3.11-sqlite",
        "unit/3.11-post_gres",
        "unit/3.12-sqlite",
        "unit/3.12-post_gres",
    ]
    operation = jobs["unit/3.12-post_gres"].operation
    assert isinstance(operation, RunStage)
    assert operation.spec.env == (("DB", "post gres"), ("PYTHON", "3.12"))


def test_all_cells_together_are_one_term_with_the_trees_by_name() -> None:
    story = Story({"depths": matrix(count, depth=[1, 2])(SOURCE)})
    story.head(1)
    for need in story.look().builds:
        depth = need.spec.arguments["depth"]
        assert isinstance(depth, int)
        story.facts.record(need, BuildFact.passed(tree_id(depth), build_id(need)))
    result = story.look().outputs["depths"].result
    assert result == Ok({"1": Tree(tree_id(1)), "2": Tree(tree_id(2))})


def test_cells_that_follow_from_a_value_are_in_the_graph_once_it_is_known() -> None:
    versions = TargetTerms(MAIN).head.map(lambda _: ["3.11", "3.12"], "versions")
    made = matrix(unit, PYTHON=versions)
    facts = Facts()
    graph = Graph.of({"unit": made(SOURCE)})
    assert not evaluate(graph, facts, MAIN).builds
    facts.record(TargetHead(MAIN), commit_id(1))
    facts.record(TreeOf(commit_id(1)), tree_id(1))
    labels = [node.label for node in evaluate(graph, facts, MAIN).nodes if node.kind == "stage"]
    assert labels == ['unit(PYTHON="3.11")', 'unit(PYTHON="3.12")']
    with pytest.raises(ConfigError, match="call the matrix to have one job"):
        made.jobs(SOURCE)


def test_values_that_are_known_later_have_to_be_a_list() -> None:
    term: Term[Any] = return_("3.11")
    evaluation = evaluate({"unit": matrix(unit, PYTHON=term)(SOURCE)}, Facts(), MAIN)
    assert "PYTHON is a list of values, not '3.11'" in evaluation.jobs[0].description


@pytest.mark.parametrize(
    ("axes", "text"),
    [
        ({}, "give at least one parameter"),
        ({"PYTHON": "3.11"}, "PYTHON is a list of values"),
        ({"PYTHON": 3}, "PYTHON is a list of values"),
        ({"PYTHON": ["a b", "a  b"]}, "two cells a_b"),
        ({"PYTHON": [""]}, "cannot be the name of a cell"),
        ({"PYTHON": [None]}, "give texts or numbers"),
    ],
)
def test_mistakes_are_named(axes: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        matrix(unit, **axes).jobs(SOURCE)


def test_only_stages_have_a_matrix() -> None:
    with pytest.raises(ConfigError, match="needs a stage"):
        matrix("unit", PYTHON=["3.11"])  # type: ignore[arg-type]


def test_an_empty_list_has_no_cells() -> None:
    evaluation = evaluate({"unit": matrix(unit, PYTHON=[])(SOURCE)}, Facts(), MAIN)
    assert evaluation.outputs["unit"].result == Ok({})
    assert not [need for need in evaluation.asked if isinstance(need, Build)]
