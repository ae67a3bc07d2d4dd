"""Facts: answers by the value of the question, and whether they are news."""

from __future__ import annotations

import pytest

from datakit_ci import shell
from datakit_ci.need import BranchHead, Build, BuildFact, Facts, Known, Trouble
from datakit_ci.state import Status
from tests.support.story import build_id, commit_id, tree_id

NEED = Build("me/app", shell("lint", "x").spec, tree_id(1))


def test_an_answer_is_found_by_an_equal_question() -> None:
    facts = Facts()
    assert facts.record(NEED, BuildFact.waiting("soon"))
    equal = Build("me/app", shell("lint", "x").spec, tree_id(1))
    assert facts.get(equal) == Known(BuildFact.waiting("soon"))
    assert equal in facts
    assert facts.get(Build("me/app", shell("lint", "y").spec, tree_id(1))) is None


def test_only_another_answer_is_news() -> None:
    facts = Facts()
    need = BranchHead("main")
    assert facts.record(need, None)
    assert not facts.record(need, None)
    assert facts.record(need, commit_id(1))
    assert facts.record(need, Trouble("gone"))
    assert not facts.record(need, Trouble("gone"))
    assert facts.get(need) == Trouble("gone")


def test_a_forgotten_answer_is_asked_again() -> None:
    facts = Facts({BranchHead("main"): None, BranchHead("dev"): Trouble("x")})
    assert len(facts) == 2
    facts.forget(BranchHead("main"))
    facts.forget(BranchHead("main"))
    assert facts.get(BranchHead("main")) is None
    assert facts.get(BranchHead("dev")) == Trouble("x")


def test_a_build_has_an_output_if_and_only_if_it_passed() -> None:
    name = build_id(NEED)
    assert BuildFact.passed(tree_id(2), name).status is Status.SUCCESS
    assert BuildFact.running(name).status is Status.RUNNING
    with pytest.raises(AssertionError):
        BuildFact(Status.FAILURE, "no", tree_id(2))
    with pytest.raises(AssertionError):
        BuildFact(Status.SUCCESS)
