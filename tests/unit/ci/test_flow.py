"""Flows: what may be written, and what it means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from datakit_ci import Config, Flow, branch, branch_head, every, flow, publish, shell, tree_of
from datakit_ci.need import BranchHead, NextCommit, PublishedTree
from datakit_ci.term import Term
from datakit_ci.tree import Tree
from datakit_core.errors import ConfigError
from tests.support.story import Story, commit_id, tree_id

clean = shell("clean", "clean")
pack = shell("pack", "pack")


def test_a_flow_stepped_from_the_commit_to_the_published_branch() -> None:
    made = flow(branch("raw")) | clean | (lambda tree: pack(tree)) | publish("clean")
    story = Story(made.graph(), made.target)
    story.tell("nothing is known")
    story.facts.record(BranchHead("raw"), commit_id(1))
    story.tree(1)
    story.tell("the branch has a head")
    story.passes("clean", 10)
    story.runs("pack")
    story.tell("the first stage has passed")
    story.passes("pack", 11)
    story.tell("the output is to be published")
    (need,) = story.look().needs
    assert need == PublishedTree("clean", tree_id(11), commit_id(1), "raw", is_commit=True)
    story.facts.record(need, commit_id(50))
    story.tell("the branch holds it")
    story.fails("clean", "exit status 1")
    story.tell("a failure publishes nothing")
    story.compare("flow")


def test_every_commit_asks_for_the_next_one() -> None:
    made = flow(branch("raw"), every_commit=True) | clean | publish("clean")
    assert Story(made.graph(), made.target).look().needs == {NextCommit("raw", "clean")}


MISTAKES: list[tuple[Callable[[], Any], str]] = [
    (lambda: flow(branch_head("me/app", "main")), "begins with branch"),
    (lambda: flow("raw"), "begins with branch"),  # type: ignore[arg-type]
    (lambda: flow(every("1h"), every_commit=True), "leave out every_commit"),
    (lambda: flow(every("1h")) | (lambda tree: tree), "begins with a stage"),
    (lambda: flow(branch("raw")) | "clean", "goes through stages"),  # type: ignore[operator]
    (lambda: flow(branch("raw")) | publish("a") | clean, "the flow to a goes on"),
    (lambda: publish("github-metadata"), "DataKit's own"),
    (lambda: publish("results/x/y"), "DataKit's own"),
    (lambda: publish("a b"), "cannot be the name of a branch"),
    (lambda: Config(flows=[flow(branch("raw")) | clean]), "the flow from raw has no end"),
    (lambda: Config(flows=[clean]), "which is not a flow"),  # type: ignore[list-item]
    (lambda: Config(flows=[_to("a", "b"), _to("c", "b")]), "two flows to the branch b"),
    (lambda: Config(flows=[_to("a", "a")]), "in a circle: a > a"),
    (lambda: Config(flows=[_to("a", "b"), _to("b", "c"), _to("c", "a")]), "in a circle"),
    (lambda: Config(flows=[flow(branch("a")) | _nothing | publish("b")]), "not a term"),
    (
        lambda: Config(flows=[flow(branch("a")) | shell("x", "x", pool="gpu") | publish("b")]),
        "wants pool gpu",
    ),
    (
        lambda: Config(
            flows=[_to("a", "b"), flow(branch("a")) | shell("clean", "2") | publish("c")]
        ),
        "two stages clean",
    ),
]


def _nothing(tree: Term[Tree]) -> Any:
    return None


def _to(source: str, output: str) -> Flow:
    return flow(branch(source)) | clean | publish(output)


@pytest.mark.parametrize(("write", "text"), MISTAKES)
def test_mistakes_are_named_when_the_pipeline_is_loaded(
    write: Callable[[], Any], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        write()


def test_a_circle_through_another_branch_that_a_step_reads_is_found() -> None:
    def mixed(tree: Term[Tree]) -> Term[Tree]:
        return clean(tree_of(branch("b")))

    with pytest.raises(ConfigError, match="in a circle"):
        Config(flows=[flow(branch("a")) | mixed | publish("c"), _to("c", "b")])


def test_flows_that_share_a_source_or_a_stage_are_fine() -> None:
    config = Config(flows=[_to("a", "b"), _to("a", "c"), _to("b", "d")])
    for each in config.flows:
        assert config.graph(each.target).jobs
    with pytest.raises(ConfigError, match="no flow to x"):
        config.graph(_to("a", "x").target)
