"""Large pipelines are drawn with one node for what is alike, and nothing is lost by that."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from datakit_ci.dashboard.graph import layout
from datakit_ci.dashboard.grouping import grouped
from datakit_ci.state import GraphNode, Status
from tests.support.ci_scene import matrix_graph, wide_graph


@st.composite
def graphs(draw: st.DrawFn) -> list[GraphNode]:
    """Any acyclic graph of a few stages with many cells, in topological order."""
    nodes: list[GraphNode] = []
    for index in range(draw(st.integers(41, 70))):
        label = f"{draw(st.sampled_from('abc'))}(n={index})"
        names = [node.id for node in nodes]
        inputs = draw(st.lists(st.sampled_from(names), unique=True, max_size=3)) if names else []
        status = draw(st.sampled_from(list(Status)))
        nodes.append(GraphNode(f"n{index}", label, "stage", status, inputs=tuple(inputs)))
    return nodes


@given(graphs(), st.sets(st.sampled_from("abc")))
def test_what_is_put_together_is_still_a_pipeline(nodes: list[GraphNode], asked: set[str]) -> None:
    pipeline = grouped(nodes, asked)
    seen: set[str] = set()
    for node in pipeline.nodes:
        assert seen.issuperset(node.inputs)
        seen.add(node.id)
    assert len(layout(pipeline.nodes).nodes) == len(pipeline.nodes)
    cells = [node for node in nodes if node.id not in seen]
    assert all(node.status not in (Status.FAILURE, Status.ERROR) for node in cells)
    assert not asked & {node.label[0] for node in cells}
    counted = [int(node.label.partition("\u00d7 ")[2]) for node in pipeline.nodes
               if node.kind == "group"]  # fmt: skip
    assert sum(counted) == len(cells)


def test_a_matrix_is_one_node_beside_its_failure_until_it_is_asked_for() -> None:
    nodes = matrix_graph("me/app")
    folded = grouped(nodes, ())
    assert [node.label for node in folded.nodes] == [
        "source", "wheel", "unit \u00d7 47", 'unit(OS="debian", ROUND=46)', "publish",
    ]  # fmt: skip
    (group,) = folded.groups
    assert folded.groups[group] == "unit"
    assert next(node.reason for node in folded.nodes if node.id == group) == "47 passed"
    assert next(node for node in folded.nodes if node.label == "publish").inputs[0] == group
    opened = grouped(nodes, {"unit", "unknown"})
    assert opened.opened == ("unit",)
    assert {node.id for node in opened.nodes} == {node.id for node in nodes}


def test_a_small_pipeline_is_drawn_as_it_is() -> None:
    nodes = matrix_graph("me/app", 12)
    assert grouped(nodes, ()).nodes == nodes


def test_stages_that_are_all_different_stay_apart() -> None:
    nodes = wide_graph("me/app", 60)
    assert {node.id for node in grouped(nodes, ()).nodes} == {node.id for node in nodes}
