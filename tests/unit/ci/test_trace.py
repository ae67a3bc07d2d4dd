"""Traces: questions, answers, and the digests they make. The digests are part of the format."""

from __future__ import annotations

import pytest

from datakit_ci import shell
from datakit_ci.trace import (
    Ask,
    Observation,
    Question,
    QuestionKind,
    answer_digest,
    declared,
    parse_result,
    result_file,
    trace_key,
    tree_answer,
)
from datakit_core.client.api import Entry, FileMode
from datakit_core.errors import StoreError
from tests.support.story import tree_id

SRC = Question(QuestionKind.TREE, "src")
TESTS = Question(QuestionKind.TREE, "tests")


def test_a_stage_asks_for_its_declared_inputs_or_for_everything() -> None:
    assert declared(shell("a", "x", inputs=["tests", "src"]).spec).questions == (SRC, TESTS)
    assert declared(shell("a", "x").spec).questions == (Question(QuestionKind.TREE, ""),)
    assert declared(shell("a", "x", inputs=[]).spec).questions == ()


def test_the_ask_file_is_canonical_and_can_be_read_back() -> None:
    ask = Ask.of([TESTS, SRC, SRC])
    assert ask.to_bytes() == b'{"questions":[["tree","src"],["tree","tests"]],"version":1}\n'
    assert Ask.from_bytes(ask.to_bytes()) == ask


def test_digests_never_change() -> None:
    answer = tree_answer(Entry(FileMode.DIRECTORY, tree_id(1)))
    assert answer == ["D", "0" * 39 + "1"]
    assert tree_answer(None) is None
    assert Ask.of([SRC]).digest == (
        "9b651d42765d6d56459f416a72667220e2f4c3f28b05d0034e4b863732d39689"
    )
    assert answer_digest([answer, None]) == (
        "5c8afc4f1128c57b584f3b1f7283c76ee4be26a32928f0f28241879243162117"
    )
    assert trace_key([Observation(TESTS, None), Observation(SRC, answer)]) == (
        "7174b4f2673b7c1465faba87cd3863863b070806e4ae1b9dd15e40bff310c354"
    )


def test_the_order_of_observations_does_not_matter_but_answers_do() -> None:
    one, two = Observation(SRC, ["D", "a"]), Observation(TESTS, None)
    assert trace_key([one, two]) == trace_key([two, one])
    assert trace_key([one]) != trace_key([Observation(SRC, ["D", "b"])])


@pytest.mark.parametrize(
    ("question", "kept"),
    [
        (Question(QuestionKind.FILE, "src/a/b.py"), False),
        (Question(QuestionKind.LIST, "src"), False),
        (Question(QuestionKind.TREE, "src/a"), False),
        (Question(QuestionKind.TREE, "src"), True),
        (Question(QuestionKind.FILE, "srcs/a"), True),
        (Question(QuestionKind.GLOB, "src/*.py"), True),
    ],
)
def test_what_a_tree_implies_is_not_asked(question: Question, kept: bool) -> None:
    assert (question in Ask.of([SRC, question]).questions) is kept


def test_the_whole_tree_implies_everything() -> None:
    whole = Question(QuestionKind.TREE, "")
    others = [SRC, Question(QuestionKind.GLOB, "**"), Question(QuestionKind.KIND, "")]
    assert Ask.of([whole, *others]).questions == (whole,)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b'{"version":1}', b'{"questions":[["what",""]],"version":1}', b"\xff"],
)
def test_a_damaged_ask_is_an_error(content: bytes) -> None:
    with pytest.raises(StoreError, match="damaged trace"):
        Ask.from_bytes(content)


def test_a_later_version_is_named() -> None:
    with pytest.raises(StoreError, match="trace of version 2"):
        Ask.from_bytes(b'{"questions":[],"version":2}')


def test_a_result_file_holds_the_key() -> None:
    key = "ab" * 32
    assert result_file(key) == key.encode() + b"\n"
    assert parse_result(result_file(key)) == key
    with pytest.raises(StoreError, match="not the key"):
        parse_result(b"nonsense\n")
