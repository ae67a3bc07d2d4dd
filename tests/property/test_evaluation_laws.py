"""A kept evaluation comes to what one from nothing comes to, whatever happens in between."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from datakit_ci import (
    Term,
    all_,
    branch,
    catch,
    fail,
    gate,
    job_id,
    join,
    map_list,
    pending,
    return_,
    shell,
    state,
    tree_of,
    wait_for_all,
    without_logs,
)
from datakit_ci.evaluate import Evaluator, evaluate
from datakit_ci.graph import Graph
from datakit_ci.need import BranchHead, Build, BuildFact, Facts, Joined, Need, TreeOf, Trouble
from tests.support.story import MAIN, build_id, commit_id, tree_id

BRANCHES = "abc"
ONE, TWO = shell("one", "one"), shell("two", "two")

leaves: st.SearchStrategy[Term[Any]] = st.one_of(
    st.sampled_from(BRANCHES).map(branch),
    st.sampled_from(BRANCHES).map(lambda name: tree_of(branch(name))),
    st.sampled_from(BRANCHES).map(lambda name: ONE(tree_of(branch(name)))),
    st.integers(0, 2).map(return_),
    st.sampled_from([fail("no"), pending("soon"), job_id()]),
)


def chosen(value: object, parts: Sequence[Term[Any]]) -> Term[Any]:
    """One of ``parts``: always the same for the same value."""
    return parts[zlib.crc32(repr(value).encode()) % len(parts)]


def _larger(terms: st.SearchStrategy[Term[Any]]) -> st.SearchStrategy[Term[Any]]:
    several = st.lists(terms, min_size=1, max_size=3)
    two = st.tuples(terms, terms)
    return st.one_of(
        several.map(all_),
        several.map(lambda given: gate(*given)),
        several.map(lambda given: wait_for_all({str(n): term for n, term in enumerate(given)})),
        terms.map(state),
        terms.map(catch),
        terms.map(without_logs),
        terms.map(TWO),
        two.map(lambda pair: join({"": pair[0], "more": pair[1]})),
        terms.map(lambda term: term.map(lambda value: len(repr(value)) % 3)),
        st.tuples(terms, several).map(
            lambda given: given[0].bind(lambda value: chosen(value, given[1]))
        ),
        two.map(
            lambda pair: map_list(
                pair[0].map(lambda value: list(range(len(repr(value)) % 3))),
                lambda number: all_([pair[1], return_(number)]),
            )
        ),
    )


terms = st.recursive(leaves, _larger, max_leaves=10)


def answers(need: Need[Any]) -> st.SearchStrategy[object]:
    """What may be said of ``need``, now or later."""
    trouble = st.sampled_from([Trouble("gone"), Trouble("lost")])
    match need:
        case BranchHead():
            return st.one_of(st.integers(1, 3).map(commit_id), st.none(), trouble)
        case TreeOf() | Joined():
            return st.one_of(st.integers(1, 3).map(tree_id), trouble)
        case Build():
            name = build_id(need)
            return st.one_of(
                st.integers(1, 3).map(lambda number: BuildFact.passed(tree_id(number), name)),
                st.sampled_from(
                    [
                        BuildFact.waiting("waiting for pool cpu"),
                        BuildFact.running(name),
                        BuildFact.failed("exit status 1", name),
                        BuildFact.cancelled("cancelled", name),
                    ]
                ),
            )
        case _:
            raise AssertionError(f"nobody asks {need}")


@given(st.lists(terms, min_size=1, max_size=3), st.data())
def test_a_kept_evaluation_equals_one_from_nothing(
    given: Sequence[Term[Any]], fate: st.DataObject
) -> None:
    graph = Graph.of({f"job{number}": term for number, term in enumerate(given)})
    facts = Facts()
    kept = Evaluator(graph, facts, MAIN)
    update = kept.update()
    asked: set[Need[Any]] = set()
    for _ in range(fate.draw(st.integers(1, 12), "facts")):
        assert kept.evaluation() == evaluate(graph, facts, MAIN)
        asked = asked.union(update.gained).difference(update.lost)
        assert asked == set(kept.asked)
        if not asked:
            return
        changed: set[Need[Any]] = set()
        for _ in range(fate.draw(st.integers(1, 3), "at once")):
            need = fate.draw(st.sampled_from(sorted(asked, key=repr)), "need")
            if fate.draw(st.booleans() if need in facts else st.just(True), "answered"):
                facts.record(need, fate.draw(answers(need), "answer"))
            else:
                facts.forget(need)
            changed.add(need)
        update = kept.update(changed)
        for need in update.lost:
            facts.forget(need)
