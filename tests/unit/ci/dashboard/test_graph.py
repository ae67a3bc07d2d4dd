"""Pipelines are drawn so that nothing overlaps and what failed is on top."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from datakit_ci.dashboard.graph import Drawing, glyph, layout
from datakit_ci.state import GraphNode, Status
from tests.support.ci_scene import wide_graph


def node(name: str, *inputs: str, status: Status = Status.SUCCESS) -> GraphNode:
    return GraphNode(name, name, "stage", status, inputs=inputs)


def place(drawing: Drawing) -> dict[str, tuple[int, int]]:
    return {placed.node.id: (placed.x, placed.y) for placed in drawing.nodes}


def ordinates(path: str) -> list[float]:
    """The heights that a path goes through."""
    pairs = re.findall(r"[-\d.]+ ([-\d.]+)", re.sub(r"H[-\d.]+", "", path))
    return [float(y) for y in pairs]


@st.composite
def graphs(draw: st.DrawFn) -> list[GraphNode]:
    """Any acyclic graph, in topological order."""
    nodes: list[GraphNode] = []
    for index in range(draw(st.integers(1, 25))):
        names = [earlier.id for earlier in nodes]
        inputs = draw(st.lists(st.sampled_from(names), unique=True, max_size=4)) if names else []
        status = draw(st.sampled_from(list(Status)))
        nodes.append(node(f"n{index}", *inputs, status=status))
    return nodes


@given(graphs())
def test_nothing_overlaps_and_everything_is_inside(nodes: list[GraphNode]) -> None:
    drawing = layout(nodes)
    assert [placed.node for placed in drawing.nodes] == nodes
    for one, other in combinations(drawing.nodes, 2):
        apart = one.x + one.width <= other.x or other.x + other.width <= one.x
        assert apart or one.y + one.height <= other.y or other.y + other.height <= one.y
    for placed in drawing.nodes:
        assert 0 <= placed.x <= placed.x + placed.width <= drawing.width
        assert 0 <= placed.y <= placed.y + placed.height <= drawing.height


@given(graphs())
def test_every_edge_is_inside(nodes: list[GraphNode]) -> None:
    drawing = layout(nodes)
    for edge in drawing.edges:
        assert all(0 <= ordinate <= drawing.height for ordinate in ordinates(edge.path))


@given(graphs())
def test_every_edge_is_drawn_once_and_leads_to_the_right(nodes: list[GraphNode]) -> None:
    drawing = layout(nodes)
    assert len(drawing.edges) == sum(len(one.inputs) for one in nodes)
    places = place(drawing)
    for one in nodes:
        assert all(places[source][0] < places[one.id][0] for source in one.inputs)


def test_the_same_pipeline_is_always_drawn_alike() -> None:
    nodes = wide_graph("acme/shop")
    assert layout(nodes) == layout(nodes)


def test_what_failed_and_what_led_there_comes_first() -> None:
    nodes = [node("source"), node("a", "source"), node("b", "source"), node("c", "source"),
             node("bad", "c", status=Status.FAILURE), node("fine", "a", "b"),
             node("after", "bad", status=Status.BLOCKED), node("end", "fine")]  # fmt: skip
    places = place(layout(nodes))
    assert places["c"][1] < min(places["a"][1], places["b"][1])
    assert places["bad"][1] < places["fine"][1]
    assert places["after"][1] < places["end"][1]


def test_a_chain_is_a_straight_line() -> None:
    drawing = layout([node("a"), node("b", "a"), node("c", "b")])
    assert len({y for _, y in place(drawing).values()}) == 1


def test_a_tall_picture_does_not_begin_with_blank_space() -> None:
    many = [node(f"m{number}", "gate") for number in range(40)]
    nodes = [node("source"), node("gate", "source"), *many, node("end", *(m.id for m in many))]
    drawing = layout(nodes)
    assert drawing.height > 2000
    tops = {placed.x: placed.y for placed in reversed(drawing.nodes)}
    assert len(tops) == 4
    assert max(tops.values()) < 350  # a phone shows as much


def test_an_edge_past_a_column_does_not_run_below_its_nodes() -> None:
    nodes = [node("a"), node("b", "a"), node("c", "b", "a")]
    drawing = layout(nodes)
    assert any("H" in edge.path for edge in drawing.edges)


def test_an_edge_below_all_nodes_is_inside_the_picture() -> None:
    cells = [node(f"unit-{number}", "gate") for number in range(4)]
    last = node("deploy", "docs", *(cell.id for cell in cells))
    drawing = layout([node("source"), node("gate", "source"), node("docs", "source"), *cells, last])
    lowest_node = max(placed.y + placed.height for placed in drawing.nodes)
    lowest_edge = max(ordinate for edge in drawing.edges for ordinate in ordinates(edge.path))
    assert lowest_node < lowest_edge < drawing.height


def test_edges_say_what_came_of_them() -> None:
    nodes = [
        node("source"), node("good", "source"), node("bad", "source", status=Status.FAILURE),
        node("busy", "good", status=Status.RUNNING), node("next", "good", status=Status.WAITING),
        node("later", "next", status=Status.WAITING), node("stuck", "bad", status=Status.BLOCKED),
    ]  # fmt: skip
    states = [edge.state for edge in layout(nodes).edges]
    assert states == ["idle", "ahead", "done", "running", "bad", "bad"]


def test_long_labels_are_cut_and_unknown_inputs_ignored() -> None:
    drawing = layout([replace(node("a", "nowhere"), label="x" * 100)])
    assert len(drawing.nodes[0].label) == 26
    assert drawing.edges == ()


def test_an_empty_pipeline_is_an_empty_drawing() -> None:
    assert layout([]) == Drawing(0, 0, (), ())


def test_five_hundred_nodes_are_still_drawn() -> None:
    drawing = layout(wide_graph("acme/shop", 500))
    assert len(drawing.nodes) == 500


def test_a_sketch_has_a_dot_for_every_node_within_its_frame() -> None:
    nodes = wide_graph("acme/shop", 30)
    sketch = glyph(nodes)
    assert sketch is not None
    assert [status for _, _, status in sketch.dots] == [one.status for one in nodes]
    assert all(0 < x < sketch.width and 0 < y < sketch.height for x, y, _ in sketch.dots)


def test_there_is_no_sketch_of_what_has_no_shape_or_too_much_of_it() -> None:
    assert glyph([node("a")]) is None
    assert glyph(wide_graph("acme/shop", 41)) is None
