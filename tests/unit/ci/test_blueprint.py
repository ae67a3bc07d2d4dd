"""Graphs as JSON: what comes back, and what is refused on either side."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from datakit_ci import (
    StageFailed,
    Target,
    TargetTerms,
    Term,
    all_,
    catch,
    ci_success_target_url,
    every,
    fail,
    gate,
    head,
    job_id,
    join,
    pending,
    return_,
    shell,
    state,
    tree_of,
    wait_for,
    wait_for_all,
    without_logs,
)
from datakit_ci.blueprint import decode, encode
from datakit_ci.graph import Graph
from datakit_ci.term import branch, branch_head
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
    }


def shape(graph: Graph) -> list[object]:
    """All of a graph that can be compared; values are compared by identity otherwise."""
    return [
        (node.id, node.inputs, node.job, node.operation.label, type(node.operation))
        for node in graph.nodes
    ]


def test_what_is_written_down_comes_back() -> None:
    graph = Graph.of(jobs())
    again = Graph.of(decode(encode(graph, PROJECT), PROJECT, ORIGIN))
    assert shape(again) == shape(graph)
    assert list(again.jobs.items()) == list(graph.jobs.items())
    equal = [node for node in graph.nodes if node in again.nodes]
    assert {node.operation.kind for node in graph.nodes if node not in equal} == {"value"}


@pytest.mark.parametrize(
    ("term", "text"),
    [
        (return_(1).map(str), "calls a function of the pipeline inside the engine"),
        (return_(1).bind(return_), "calls a function of the pipeline inside the engine"),
        (return_((1, 2)), "only what JSON can say"),
        (return_(StageFailed), "only what JSON can say"),
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
        decode(document(**changes), PROJECT, ORIGIN)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"version":2,"nodes":[],"jobs":[]}',
        b'{"version":1,"nodes":[],"jobs":[["a",0]]}',
        b'{"version":1,"nodes":[{"op":"gate","inputs":[0]}],"jobs":[]}',
        b'{"version":1,"nodes":[{"op":"gate","inputs":[-1]}],"jobs":[]}',
        b'{"version":1,"nodes":[{"op":"tree","inputs":[]}],"jobs":[]}',
        b'{"version":1,"nodes":[{"op":"publish","inputs":[]}],"jobs":[]}',
        b'{"version":1,"nodes":[{"op":"stage","inputs":[]}],"jobs":[]}',
        b'{"version":1,"nodes":' + b"[" * 100_000 + b',"jobs":[]}',
    ],
)
def test_what_is_no_graph_is_refused(data: bytes) -> None:
    with pytest.raises(ConfigError, match="what is no graph"):
        decode(data, PROJECT, ORIGIN)


def test_a_forged_target_stays_in_its_project() -> None:
    data = (
        b'{"version":1,"nodes":[{"op":"source","inputs":[],"target":"heads/x"}],"jobs":[["a",0]]}'
    )
    (term,) = decode(data, PROJECT, ORIGIN).values()
    assert term.operation.label == "me/app:heads/x"


def test_nobody_is_told_facts_or_trusted_by_what_a_process_writes() -> None:
    spec = build.spec
    conditions = replace(spec.conditions, told=(("target", "heads/x"),), untrusted=True)
    forged = replace(spec, conditions=conditions).to_json()["conditions"]
    (term,) = decode(document(conditions=forged), PROJECT, ORIGIN).values()
    assert term.operation == build(TargetTerms(MAIN).source).operation
