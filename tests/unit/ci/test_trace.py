"""Traces: questions, answers, and the digests they make. The digests are part of the format."""

from __future__ import annotations

import pytest

from datakit_ci import Tree, shell
from datakit_ci.canonical import JsonValue
from datakit_ci.trace import (
    Ask,
    Asker,
    Observation,
    Question,
    QuestionKind,
    answer_digest,
    declared,
    next_batch,
    parse_result,
    result_file,
    simplified,
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
    ask = Ask((SRC, TESTS))
    assert ask.to_bytes() == b'{"questions":[["tree","src"],["tree","tests"]],"version":1}\n'
    assert Ask.from_bytes(ask.to_bytes()) == ask


def test_digests_never_change() -> None:
    answer = tree_answer(Entry(FileMode.DIRECTORY, tree_id(1)))
    assert answer == ["D", "0" * 39 + "1"]
    assert tree_answer(None) is None
    assert Ask((SRC,)).digest == (
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
        (Question(QuestionKind.GLOB, "src/*.py"), False),
        (Question(QuestionKind.GLOB, "src/a/**/*.py"), False),
        (Question(QuestionKind.GLOB, "src*/*.py"), True),
        (Question(QuestionKind.GLOB, "src"), True),
        (Question(QuestionKind.GLOB, "*"), True),
    ],
)
def test_what_a_tree_implies_is_not_asked(question: Question, kept: bool) -> None:
    assert (question in simplified([SRC, question])) is kept


def test_the_whole_tree_implies_everything() -> None:
    whole = Question(QuestionKind.TREE, "")
    others = [SRC, Question(QuestionKind.GLOB, "**"), Question(QuestionKind.KIND, "")]
    assert simplified([whole, *others]) == simplified([*others, whole]) == (whole,)


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


A, B, C, D = (Question(QuestionKind.FILE, name) for name in "abcd")


def test_a_tree_stands_where_the_first_question_stood_that_it_implies() -> None:
    assert simplified([A, Question(QuestionKind.FILE, "src/x"), B, SRC]) == (A, SRC, B)
    below = Question(QuestionKind.TREE, "src/deep")
    assert simplified([below, A, SRC, A]) == (SRC, A)


@pytest.mark.parametrize(
    ("asks", "expected"),
    [
        ([], [A, B, C]),
        ([[A, B, C]], [A, B, C]),
        ([[A]], [A]),
        ([[A, B], [A]], [A]),
        ([[A, B], [A, B, D]], [A, B]),
        ([[A, D]], [A]),
        ([[A, D], [A, B, D]], [A, B]),
        ([[A, B, C, D]], [A, B, C]),
        ([[D]], [A, B, C]),
        ([[]], [A, B, C]),
    ],
)
def test_traces_share_what_they_begin_with(
    asks: list[list[Question]], expected: list[Question]
) -> None:
    made = next_batch([Ask(tuple(ask)) for ask in asks], [A, B, C])
    assert list(made.questions) == expected


def test_who_asks_nothing_has_an_empty_batch() -> None:
    assert next_batch([Ask((A,)), Ask(())], []) == next_batch([], []) == Ask(())


FILES = {"a": b"1", "b/c.py": b"2", "b/d/e.py": b"3"}


@pytest.mark.parametrize(
    ("kind", "path", "answer"),
    [
        ("file", "none", None),
        ("file", "b", "D"),
        ("file", "a/x", None),
        ("kind", "a", "F"),
        ("kind", "b", "D"),
        ("kind", "none", None),
        ("list", "", [["a", "F"], ["b", "D"]]),
        ("list", "a", "F"),
        ("list", "none", None),
        ("glob", "**/*.py", [["b/c.py", "F"], ["b/d/e.py", "F"]]),
        ("glob", "b", []),
        ("tree", "none", None),
    ],
)
async def test_answers_tell_what_a_stage_can_see(kind: str, path: str, answer: JsonValue) -> None:
    tree = Tree.from_files(FILES)
    assert tree.reader is not None
    asked = Question(QuestionKind(kind), path)
    assert await Asker(tree.reader, tree.id).observe([asked]) == [Observation(asked, answer)]


async def test_answers_with_contents_are_modes_and_ids() -> None:
    tree = Tree.from_files(FILES)
    assert tree.reader is not None
    asker = Asker(tree.reader, tree.id)
    entry = await tree.entry("a")
    assert await asker.answer(Question(QuestionKind.FILE, "a")) == tree_answer(entry)
    assert await asker.answer(Question(QuestionKind.TREE, "")) == ["D", tree.id]
    with pytest.raises(StoreError, match="nobody asks"):
        await asker.answer(Question(QuestionKind.STAT, "a"))


async def test_a_long_list_is_told_by_its_digest() -> None:
    question = Question(QuestionKind.GLOB, "*")
    answers = []
    for name in ("x", "y"):
        tree = Tree.from_files({**{str(number): "" for number in range(100)}, name: ""})
        assert tree.reader is not None
        answers.append(await Asker(tree.reader, tree.id).answer(question))
    one, two = answers
    assert isinstance(one, dict)
    assert one["count"] == 101
    assert one != two
