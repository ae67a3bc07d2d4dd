"""A stage goes on to ask for the build that it has, where an edit cannot concern it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from datakit_ci.edits import Edit
from datakit_ci.evaluate import Evaluator
from datakit_ci.graph import Graph
from datakit_ci.need import BranchHead, Build, BuildFact, Facts, LastMoment, Need, TreeOf
from datakit_ci.question import Question, QuestionKind
from datakit_ci.result import Ok
from datakit_ci.spec import StageKind, StageSpec
from datakit_ci.state import BuildState, Status
from datakit_ci.term import branch, every, run_stage, tree_of
from tests.support.clock import START
from tests.support.story import MAIN, build_id, commit_id, tree_id

HEAD = BranchHead("main")
SRC = StageSpec("stage", StageKind.PYTHON, "stage", "0" * 64, inputs=("src/a",))
ALL = StageSpec("stage", StageKind.PYTHON, "stage", "0" * 64)
KIND = Question(QuestionKind.KIND, "src")
FILE = Question(QuestionKind.FILE, "src/a")


def edit(*paths: str, rekinded: Iterable[str] = ()) -> Edit:
    """An edit of files at ``paths``."""
    above = {"/".join(path.split("/")[:depth]) for path in paths for depth in range(4)}
    kinds = frozenset(rekinded)
    listed = kinds | {path.rpartition("/")[0] for path in kinds}
    return Edit(frozenset(above.union(paths)), kinds, listed, frozenset())


class Service:
    """A kept evaluation of one stage."""

    def __init__(self, spec: StageSpec, *, scheduled: bool = False) -> None:
        self.facts = Facts({HEAD: commit_id(1), TreeOf(commit_id(1)): tree_id(1)})
        since = every("1h") if scheduled else None
        graph = Graph.of({"job": run_stage(spec, tree_of(branch("main")), since)})
        self.evaluator = Evaluator(graph, self.facts, MAIN)
        self.update()

    def update(self, *changed: Need[Any]) -> None:
        self.evaluator.update(changed)

    @property
    def wanted(self) -> Build:
        (need,) = (each for each in self.evaluator.asked if isinstance(each, Build))
        return need

    def passed(self, *asked: Question) -> None:
        need = self.wanted
        state = BuildState(build_id(need), Status.SUCCESS, output=tree_id(7)).having_asked(asked)
        self.facts.record(need, BuildFact.recorded(state))
        self.update(need)

    def move(self, number: int, known: Edit | None) -> None:
        """The head moves from the commit before to commit ``number``."""
        if known is not None:
            self.facts.edits.note(tree_id(number - 1), tree_id(number), known)
        self.facts.record(TreeOf(commit_id(number)), tree_id(number))
        self.facts.record(HEAD, commit_id(number))
        self.update(HEAD)


def test_an_edit_elsewhere_keeps_the_need_and_tells_where_the_stage_is() -> None:
    service = Service(SRC)
    service.passed()
    service.move(2, edit("docs/b"))
    service.move(3, edit("src/b"))
    assert service.wanted.input == tree_id(1)
    assert service.evaluator.given(service.wanted) == tree_id(3)
    assert isinstance(service.evaluator.outputs()["job"].result, Ok)
    service.move(4, edit("src/a"))
    assert service.wanted.input == tree_id(4)


def test_a_build_that_is_under_way_is_kept_as_well() -> None:
    service = Service(SRC)
    service.move(2, edit("docs/b"))
    assert service.wanted.input == tree_id(1)
    service.passed()
    assert isinstance(service.evaluator.outputs()["job"].result, Ok)
    assert service.wanted.input == tree_id(1)


@pytest.mark.parametrize("spec", [SRC, ALL])
def test_an_edit_that_is_not_known_keeps_nothing(spec: StageSpec) -> None:
    service = Service(spec)
    service.passed(FILE)
    service.move(2, None)
    assert service.wanted.input == tree_id(2)


def test_a_stage_without_inputs_is_kept_by_what_its_build_has_asked() -> None:
    service = Service(ALL)
    service.move(2, edit("docs/b"))
    assert service.wanted.input == tree_id(2), "nobody knows yet what it will ask"
    service.passed(FILE, KIND)
    service.move(3, edit("docs/b", "src/b", rekinded=["src/b"]))
    assert service.wanted.input == tree_id(2)
    service.move(4, edit("src/a"))
    assert service.wanted.input == tree_id(4)


def test_what_a_stage_with_inputs_has_asked_says_nothing_of_the_whole_tree() -> None:
    service = Service(SRC)
    service.passed(KIND)
    service.move(2, edit("src/a", rekinded=["src/a"]))
    assert service.wanted.input == tree_id(2), "without src/a, the directory is not there for it"


def test_a_build_that_asked_for_very_much_is_looked_up() -> None:
    service = Service(ALL)
    service.passed(*(Question(QuestionKind.FILE, str(number)) for number in range(1_000)))
    service.move(2, edit("docs/b"))
    assert service.wanted.input == tree_id(2)


def test_what_was_not_asked_for_in_between_is_asked_for_on_the_tree_of_now() -> None:
    service = Service(SRC)
    service.passed()
    service.move(2, edit("docs/b"))
    service.facts.record(HEAD, None)
    service.update(HEAD)
    assert not [each for each in service.evaluator.asked if isinstance(each, Build)]
    service.move(3, edit("docs/b"))
    assert service.wanted.input == tree_id(3), "an earlier tree may be gone by now"


def test_another_moment_is_asked_for_on_the_tree_of_now() -> None:
    service = Service(SRC, scheduled=True)
    moment = LastMoment("1h")
    service.facts.record(moment, START)
    service.update(moment)
    service.move(2, edit("docs/b"))
    assert (service.wanted.input, service.wanted.since) == (tree_id(1), START)
    later = START + timedelta(hours=1)
    service.facts.record(moment, later)
    service.update(moment)
    assert (service.wanted.input, service.wanted.since) == (tree_id(2), later)
