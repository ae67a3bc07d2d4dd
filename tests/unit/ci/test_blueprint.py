"""Graphs as JSON: what comes back, and what is refused on either side."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import cast

import pytest

from datakit_ci import (
    StageFailed,
    Target,
    TargetTerms,
    Term,
    Tree,
    all_,
    catch,
    ci_status,
    ci_success_target_url,
    ci_target_url,
    every,
    fail,
    gate,
    head,
    job_id,
    join,
    map_list,
    matrix,
    pair,
    pending,
    return_,
    shell,
    state,
    tree_of,
    wait_for,
    wait_for_all,
    without_logs,
)
from datakit_ci.blueprint import decode, encode, follow
from datakit_ci.graph import Graph
from datakit_ci.operation import Bind, Value
from datakit_ci.term import branch, branch_head
from datakit_core.client.api import CommitId, ObjectId, TreeId
from datakit_core.errors import ConfigError

PROJECT = "me/app"
MAIN = Target(PROJECT, "heads", "main")
ORIGIN = f"{'a' * 40}:ci/pipeline.py"

build = shell(
    "build", "make", outputs=["out"], secrets={"A": "TOKEN"}, memory="1g", retry=2, every="1h",
    locks=["x"], facts=["target"], sandbox=True, network=True, transient=[75], valid_for="1d",
)  # fmt: skip

Jobs = Mapping[str, Term[object]]


def jobs() -> Jobs:
    """Jobs with every operation that can be written down."""
    terms = TargetTerms(MAIN)
    built = build(terms.source, LANG="C")
    elsewhere = tree_of(head(Target(PROJECT, "tags", "v1")))
    return {
        "built": built,
        "gated": gate(join({"": terms.source, "lib": elsewhere}), built, terms.head),
        "all": all_([return_({"a": [1, None, 0.5, "x"]}), job_id(), job_id()]),
        "state": state(catch(without_logs(fail("no")))),
        "wait": wait_for(pending("later"), while_pending="soon", on_failure="never"),
        "waits": wait_for_all({"one": every("0 3 * * *"), "two": built}),
        "other": ci_success_target_url("ci/other/x", MAIN),
        "said": pair(ci_status("ci/other/x", MAIN), ci_target_url("ci/other/x", MAIN)),
        "cells": matrix(build, LANG=["C", "de"])(terms.source),
    }


def terms(data: bytes, trees: Collection[str] = ()) -> Jobs:
    """The jobs in what a process has written; functions are not called."""
    return decode(data, PROJECT, ORIGIN).terms(lambda node, value: fail(node), trees)


def shape(graph: Graph) -> list[object]:
    """All of a graph that can be compared; values are compared by identity otherwise."""
    return [
        (node.id, node.inputs, node.job, node.operation.label, type(node.operation))
        for node in graph.nodes
    ]


def test_what_is_written_down_comes_back() -> None:
    graph = Graph.of(jobs())
    again = Graph.of(terms(encode(graph, PROJECT)))
    assert shape(again) == shape(graph)
    assert list(again.jobs.items()) == list(graph.jobs.items())
    equal = [node for node in graph.nodes if node in again.nodes]
    different = {node.operation.kind for node in graph.nodes if node not in equal}
    assert different == {"value", "map"}


def test_a_function_stays_where_it_is_and_is_called_by_its_place() -> None:
    source = TargetTerms(MAIN).source
    versions = return_(["3.11", "3.12"]).map(lambda values: values[::-1], "newest first")
    graph = Graph.of({"a": map_list(versions, lambda version: build(source, PYTHON=version))})
    (binding,) = [node for node in graph.nodes if node.operation.kind == "bind"]
    made = Graph.of(follow(graph, binding.id, ["3.12"]))
    assert [node.id for node in made.nodes][-2:] == ["stage:build", "all"]
    (sorting,) = [node for node in graph.nodes if node.operation.kind == "map"]
    (term,) = terms(encode(Graph.of(follow(graph, sorting.id, ["a", "b"])), PROJECT)).values()
    assert isinstance(term.operation, Value)
    assert term.operation.value == ["b", "a"]
    calls: list[tuple[str, object]] = []

    def call(node: str, value: object) -> Term[object]:
        calls.append((node, value))
        return return_(None)

    (job,) = decode(encode(graph, PROJECT), PROJECT, ORIGIN).terms(call).values()
    assert isinstance(job.operation, Bind)
    job.operation.function(["3.13"])
    assert calls == [(binding.id, ["3.13"])]


@pytest.mark.parametrize(
    ("node", "text"),
    [("bind", "function made 3, not a term"), ("bind:gone", "there is no function at bind:gone")],
)
def test_a_function_that_does_not_keep_its_word_is_told(node: str, text: str) -> None:
    graph = Graph.of({"a": return_(1).bind(lambda _: cast("Term[object]", 3))})
    with pytest.raises(ConfigError, match=text):
        follow(graph, node, 1)


def test_a_tree_comes_only_back_from_a_function_that_was_given_it() -> None:
    data = encode(Graph.of({"a": return_(Tree(TreeId(ObjectId("b" * 40))))}), PROJECT)
    assert terms(data, trees=["b" * 40])
    with pytest.raises(ConfigError, match="a tree that it was not given"):
        terms(data)


@pytest.mark.parametrize("commit", [return_("c" * 40), gate(return_("c" * 40), return_(1))])
def test_a_commit_that_a_pipeline_merely_names_has_no_tree(commit: Term[CommitId]) -> None:
    with pytest.raises(ConfigError, match="takes the head of one of the project's"):
        terms(encode(Graph.of({"a": tree_of(commit)}), PROJECT))


@pytest.mark.parametrize(
    ("term", "text"),
    [
        (return_(StageFailed), "cannot go to or come from a function of a pipeline"),
        (return_({1: 2}), "cannot go to or come from a function of a pipeline"),
        (return_(float("nan")), "cannot go to or come from a function of a pipeline"),
        (branch("control"), "is not the project's own"),
        (branch_head("you/other", "main"), "you/other/ref/heads/main is another project's"),
    ],
)
def test_what_has_to_stay_where_it_is_is_refused(term: Term[object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        encode(Graph.of({"job": term}), PROJECT)


def document(**changes: object) -> bytes:
    """A graph with one stage, of which some fields are others."""
    written = json.loads(encode(Graph.of({"job": build(TargetTerms(MAIN).source)}), PROJECT))
    for node in written["nodes"]:
        if node["op"] == "stage":
            node["spec"] |= changes
    return json.dumps(written).encode()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"name": "../../heads"}, "cannot be the name of a stage"),
        ({"fingerprint": "x"}, "no fingerprint"),
        ({"kind": "pipeline"}, "of a kind that nobody can write"),
        ({"image": "scratch"}, "of a kind that nobody can write"),
        ({"outputs": ["../up"]}, "outputs"),
        ({"env": [["A=B", "c"]]}, "give names and texts"),
        ({"timeout": -1.0}, "timeout"),
        ({"timeout": "long"}, "fields are wrong"),
        ({"parameters": "[]"}, "are no object"),
    ],
)
def test_a_forged_stage_is_refused(changes: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        terms(document(**changes))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"version":1,"nodes":[],"jobs":[]}',
        b'{"version":2,"nodes":[],"jobs":[["a",0]]}',
        b'{"version":2,"nodes":[{"op":"gate","inputs":[0]}],"jobs":[]}',
        b'{"version":2,"nodes":[{"op":"gate","inputs":[-1]}],"jobs":[]}',
        b'{"version":2,"nodes":[{"op":"tree","inputs":[]}],"jobs":[]}',
        b'{"version":2,"nodes":[{"op":"publish","inputs":[]}],"jobs":[]}',
        b'{"version":2,"nodes":[{"op":"stage","inputs":[]}],"jobs":[]}',
        b'{"version":2,"nodes":' + b"[" * 100_000 + b',"jobs":[]}',
    ],
)
def test_what_is_no_graph_is_refused(data: bytes) -> None:
    with pytest.raises(ConfigError, match="what is no graph"):
        terms(data)


def test_a_forged_target_stays_in_its_project() -> None:
    data = (
        b'{"version":2,"nodes":[{"op":"source","inputs":[],"target":"heads/x"}],"jobs":[["a",0]]}'
    )
    (term,) = terms(data).values()
    assert term.operation.label == "me/app:heads/x"


def test_nobody_is_told_facts_or_trusted_by_what_a_process_writes() -> None:
    spec = build.spec
    conditions = replace(spec.conditions, told=(("target", "heads/x"),), untrusted=True)
    forged = replace(spec, conditions=conditions).to_json()["conditions"]
    (term,) = terms(document(conditions=forged)).values()
    assert term.operation == build(TargetTerms(MAIN).source).operation
