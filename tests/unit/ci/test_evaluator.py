"""Kept evaluations: how much of a graph is looked at when one fact changes."""

from __future__ import annotations

from typing import Any

from datakit_ci import Term, all_, branch, return_, shell, tree_of
from datakit_ci.evaluate import Evaluator, evaluate
from datakit_ci.graph import Graph
from datakit_ci.need import BranchHead, Build, BuildFact, Facts, Need, TreeOf
from tests.support.story import MAIN, build_id, commit_id, tree_id

BRANCHES = 50


def wide() -> dict[str, Term[Any]]:
    """For each of many branches a chain of three stages; and all of them together."""
    ends: list[Term[Any]] = []
    for number in range(BRANCHES):
        term = tree_of(branch(f"b{number}"))
        for step in range(3):
            term = shell(f"s{number}.{step}", "true")(term)
        ends.append(term)
    return {"all": all_(ends)}


def settle(kept: Evaluator, facts: Facts, changed: set[Need[Any]]) -> int:
    """Answer whatever is asked; returns how many nodes were looked at."""
    looked = 0
    while changed:
        update = kept.update(changed)
        looked += kept.looked_at
        changed = set()
        for need in update.gained:
            match need:
                case BranchHead(branch=name):
                    facts.record(need, commit_id(int(name[1:])))
                case TreeOf(commit=commit):
                    facts.record(need, tree_id(int(commit[1:], 16)))
                case Build(input=given):
                    output = tree_id(int(given, 16) + 1000)
                    facts.record(need, BuildFact.passed(output, build_id(need)))
                case _:
                    raise AssertionError(need)
            changed.add(need)
    return looked


def kept_evaluation() -> tuple[Evaluator, Facts, Graph]:
    facts, graph = Facts(), Graph.of(wide())
    kept = Evaluator(graph, facts, MAIN)
    settle(kept, facts, set(kept.update().gained) or {BranchHead("none")})
    for number in range(BRANCHES):
        facts.record(BranchHead(f"b{number}"), commit_id(number))
    settle(kept, facts, {BranchHead(f"b{number}") for number in range(BRANCHES)})
    return kept, facts, graph


def test_one_change_looks_only_at_what_depends_on_it() -> None:
    kept, facts, graph = kept_evaluation()
    assert len(graph.nodes) == BRANCHES * 5 + 1
    facts.record(BranchHead("b7"), commit_id(500))
    # The head, then the tree, each of three stages, and "all"; those behind wait meanwhile.
    assert settle(kept, facts, {BranchHead("b7")}) < 30
    assert kept.evaluation() == evaluate(graph, facts, MAIN)


def test_a_node_that_comes_to_the_same_stops_what_follows() -> None:
    kept, facts, graph = kept_evaluation()
    need = next(need for need in kept.asked if isinstance(need, Build) and need.spec.name == "s7.0")
    before = facts.get(need)
    facts.forget(need)
    kept.update({need})
    assert kept.looked_at == 4  # itself, two stages behind it, and "all"
    assert before is not None
    facts.record(need, BuildFact.passed(tree_id(1007), build_id(need)))
    kept.update({need})
    facts.record(need, BuildFact.passed(tree_id(1007), build_id(need)))
    kept.update({need})
    assert kept.looked_at == 1
    assert kept.evaluation() == evaluate(graph, facts, MAIN)


def test_a_fact_that_nobody_asked_for_costs_nothing() -> None:
    kept, _, _ = kept_evaluation()
    update = kept.update({BranchHead("other")})
    assert kept.looked_at == 0
    assert not update.gained
    assert not update.lost


def test_what_a_value_has_added_goes_with_it_and_so_do_its_needs() -> None:
    facts = Facts()
    chosen = branch("a").bind(lambda commit: branch("b" if commit == commit_id(1) else "c"))
    kept = Evaluator(Graph.of({"job": chosen}), facts, MAIN)
    assert kept.update().gained == (BranchHead("a"),)
    facts.record(BranchHead("a"), commit_id(1))
    assert kept.update({BranchHead("a")}).gained == (BranchHead("b"),)
    facts.record(BranchHead("a"), commit_id(2))
    update = kept.update({BranchHead("a")})
    assert update.gained == (BranchHead("c"),)
    assert update.lost == (BranchHead("b"),)
    assert not kept.is_complete


def test_values_that_cannot_be_compared_count_as_others() -> None:
    class Strange:
        def __eq__(self, other: object) -> bool:
            raise ValueError("not comparable")

        __hash__ = object.__hash__

    facts = Facts({BranchHead("a"): commit_id(1)})
    term = branch("a").map(lambda _: Strange(), "strange").map(lambda _: 1, "one")
    kept = Evaluator(Graph.of({"job": all_([term, return_(2)])}), facts, MAIN)
    kept.update()
    facts.record(BranchHead("a"), commit_id(2))
    kept.update({BranchHead("a")})
    assert kept.looked_at == 3  # the head and both functions; "all" has the same again
