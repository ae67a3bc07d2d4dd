"""Graphs as files: they come back as they were, and damage is told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datakit_ci.picture import PICTURE, Picture, picture_files, read_picture
from datakit_ci.state import BuildId, GraphNode, Status
from datakit_core.errors import StoreError

_words = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
_builds = st.builds(
    BuildId,
    st.sampled_from(["me/app", "flows"]),
    st.sampled_from(["unit", "lint/all", "a b"]),
    st.just("a" * 64),
    st.just("b" * 64),
)
nodes = st.builds(
    GraphNode,
    _words,
    _words,
    _words,
    st.sampled_from(Status),
    _words,
    st.lists(_words, max_size=3).map(tuple),
    st.none() | _builds,
    st.lists(_words, max_size=2).map(tuple),
)


@given(st.lists(nodes, min_size=1, max_size=4), st.lists(_words))
def test_a_graph_comes_back_as_it_was(graph: list[GraphNode], jobs: list[str]) -> None:
    files = picture_files(graph, jobs)
    picture = read_picture(*(files[path] for path in PICTURE))
    assert picture == Picture(tuple(graph), tuple(jobs))


def test_where_nothing_is_drawn_there_is_no_file() -> None:
    assert picture_files([], []) == {}


def test_graphs_of_one_shape_share_a_file() -> None:
    node = GraphNode("a", "a", "stage", Status.WAITING, "soon")
    first = picture_files([node], ["a"])
    second = picture_files([replace(node, status=Status.SUCCESS)], ["a"])
    shape, states = PICTURE
    assert first[shape] == second[shape]
    assert first[states] != second[states]


@pytest.mark.parametrize(
    ("shape", "states"),
    [
        (b"", b""),
        (b"{}", b"{}"),
        (b'{"version":2,"nodes":[]}', b'{"version":2,"nodes":[]}'),
        (b'{"version":1,"nodes":[]}', b'{"version":1,"nodes":[{"status":"success"}]}'),
        (b'{"version":1,"nodes":[{}]}', b'{"version":1,"nodes":[{"status":"success"}]}'),
        (
            b'{"version":1,"nodes":[{"id":"","label":"","kind":"","inputs":[],"jobs":[]}]}',
            b'{"version":1,"nodes":[{"status":"purple"}]}',
        ),
    ],
)
def test_a_damaged_graph_is_told(shape: bytes, states: bytes) -> None:
    with pytest.raises(StoreError):
        read_picture(shape, states)
