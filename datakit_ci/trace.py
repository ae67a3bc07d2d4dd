"""Traces: what a build looked at, as questions with answers, and the key that they make.

A result is found again by asking the same questions of a new input: equal answers, same result.
The questions are kept in a decision tree below ``trace/`` of a stage's results::

    trace/ASK/ask              the canonical text of a batch of questions; ASK is its digest
    trace/ASK/ANSWERS/answers  what a build was answered; ANSWERS is its digest
    trace/ASK/ANSWERS/result   the key of the result, if these are all the questions there are
    trace/ASK/ANSWERS/...      or further batches that the answers led to

so that a look-up costs as many questions as the stage has, however many results there are. The
batches are in the order in which a stage asked, for a later question may depend on an earlier
answer. Two builds of one stage ask the same until an answer differs, so the traces are a trie: a
new one shares batches with those before it (:func:`next_batch`), and where they part a shorter
batch is put beside the longer one. Whether a result may be used does not depend on any of that:
all questions that led to it have the answers that it was made with, whatever their order.

Why that is enough: a stage is a function of its code, its parameters and the answers that it gets.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Self

from datakit_ci.canonical import JsonValue, canonical_json, digest
from datakit_ci.lookup import DirectoryReader, find_entry, find_matches
from datakit_ci.pattern import is_pattern
from datakit_ci.question import Question, QuestionKind
from datakit_ci.spec import StageSpec
from datakit_core.client.api import Entry, FileMode, TreeId
from datakit_core.errors import StoreError

__all__ = [
    "Ask",
    "Asker",
    "Observation",
    "Question",
    "QuestionKind",
    "Tracer",
    "answer_digest",
    "answers_file",
    "declared",
    "next_batch",
    "parse_answers",
    "parse_result",
    "result_file",
    "simplified",
    "trace_key",
    "tree_answer",
]

_VERSION = 1
_KEY = re.compile(r"[0-9a-f]{64}\Z")

_LONG = 100
"""Items of a list that is an answer; a longer one is told by their number and digest."""

_MANY = 10_000
"""Questions of one build. One that asks more has looked at all that it declared."""


@dataclass(frozen=True, slots=True)
class Observation:
    """A question with the answer that a build was given."""

    question: Question
    answer: JsonValue


@dataclass(frozen=True, slots=True)
class Ask:
    """A batch of questions, each once: a node of the decision tree."""

    questions: tuple[Question, ...]

    @property
    def digest(self) -> str:
        """The name of the node's directory: 64 hex digits."""
        return digest(self._json())

    def to_bytes(self) -> bytes:
        """The content of the file ``ask``."""
        return canonical_json(self._json())

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read a file ``ask``.

        Raises:
            StoreError: It is damaged, or of a later version.
        """
        try:
            value = json.loads(content)
            if value["version"] != _VERSION:
                raise StoreError(f"a trace of version {value['version']}; this program knows 1")
            pairs = [(QuestionKind(kind), path) for kind, path in value["questions"]]
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"damaged trace: {error}") from error
        return cls(tuple(Question(kind, str(path)) for kind, path in pairs))

    def _json(self) -> JsonValue:
        questions = [[question.kind.value, question.path] for question in self.questions]
        return {"version": _VERSION, "questions": questions}


def declared(spec: StageSpec) -> Ask:
    """The questions of a stage that sees what it declared: nothing else can matter to it."""
    paths = ("",) if spec.inputs is None else spec.inputs
    questions = {Question(QuestionKind.TREE, path) for path in paths}
    return Ask(simplified(sorted(questions, key=lambda question: question.order)))


class Tracer:
    """Notes what a stage asks, in the order in which it asks.

    A frozen input gives the same answers for ever, so they can be looked up afterwards.
    """

    def __init__(self, most: int = _MANY) -> None:
        """Note up to ``most`` questions; beyond that, the stage has looked at everything."""
        self._asked: dict[Question, None] = {}
        self._most = most

    def observe(self, question: Question) -> None:
        """Note ``question``, which may have been asked before."""
        if len(self._asked) <= self._most:
            self._asked[question] = None

    @property
    def questions(self) -> tuple[Question, ...] | None:
        """What was asked, without what other questions imply; none if it was too much to tell."""
        return simplified(self._asked) if len(self._asked) <= self._most else None


def simplified(asked: Iterable[Question]) -> tuple[Question, ...]:
    """``asked`` in its order, each once, without the questions that a ``tree`` question implies.

    That takes the place of the first question that it implies. So the questions before it, with
    their answers, still settle what can come next.
    """
    questions = dict.fromkeys(asked)
    trees = {each.path for each in questions if each.kind is QuestionKind.TREE}
    return tuple(dict.fromkeys(_outermost(question, trees) for question in questions))


def _outermost(question: Question, trees: set[str]) -> Question:
    """The highest of ``trees`` that settles ``question``; if none does, the question itself."""
    parts = question.path.split("/") if question.path else []
    if question.kind is QuestionKind.GLOB:
        # Matches lie below the directories that the pattern begins with.
        parts = list(takewhile(lambda part: not is_pattern(part), parts[:-1]))
    for depth in range(len(parts) + 1):
        path = "/".join(parts[:depth])
        if path in trees:
            return Question(QuestionKind.TREE, path)
    return question


class Asker:
    """Asks questions of one tree; each is looked up once, and each directory read once."""

    def __init__(self, reader: DirectoryReader, tree: TreeId) -> None:
        """Ask of ``tree``, which is read from ``reader``."""
        self._reader = _Remembering(reader)
        self._tree = tree
        self._answers: dict[Question, JsonValue] = {}

    async def observe(self, questions: Iterable[Question]) -> Sequence[Observation]:
        """Answer ``questions``, in their order.

        Raises:
            StoreError: There is one of a kind that nobody asks.
        """
        return [Observation(question, await self.answer(question)) for question in questions]

    async def answer(self, question: Question) -> JsonValue:
        """The answer to one question."""
        if question not in self._answers:
            self._answers[question] = await self._look(question)
        return self._answers[question]

    async def _look(self, question: Question) -> JsonValue:
        if question.kind is QuestionKind.STAT:
            raise StoreError("a question of kind stat, which nobody asks yet")
        if question.kind is QuestionKind.GLOB:
            matches = await find_matches(self._reader, self._tree, question.path)
            return _listed([path, _kind(entry)] for path, entry in matches)
        entry = await find_entry(self._reader, self._tree, question.path)
        if entry is None or question.kind is QuestionKind.TREE:
            return tree_answer(entry)
        if question.kind is QuestionKind.LIST and entry.is_directory:
            found = await self._reader.tree(TreeId(entry.id))
            return _listed([name, _kind(found[name])] for name in sorted(found))
        if question.kind is QuestionKind.FILE and not entry.is_directory:
            return tree_answer(entry)
        return _kind(entry)


class _Remembering:
    """A reader that asks another one for each directory once."""

    def __init__(self, reader: DirectoryReader) -> None:
        self._reader = reader
        self._trees: dict[TreeId, Mapping[str, Entry]] = {}

    async def tree(self, tree: TreeId) -> Mapping[str, Entry]:
        if tree not in self._trees:
            self._trees[tree] = await self._reader.tree(tree)
        return self._trees[tree]


def _kind(entry: Entry) -> str:
    """``D``, ``F`` or ``L``: whether a file is executable is no matter of kind."""
    return "F" if entry.mode is FileMode.EXECUTABLE else entry.mode.letter


def _listed(items: Iterable[JsonValue]) -> JsonValue:
    """A list as it is, or what tells a long one from others."""
    whole = list(items)
    return whole if len(whole) <= _LONG else {"count": len(whole), "digest": digest(whole)}


def next_batch(asks: Iterable[Ask], questions: Sequence[Question]) -> Ask:
    """What to ask first of ``questions``, at a node of the tree that has ``asks`` already.

    Returns:
        One of ``asks`` that begins ``questions``, the shortest if there are several. Otherwise the
        longest beginning that ``questions`` share with one of them; or else, all of them.
    """
    shared = [(_shared(ask.questions, questions), ask) for ask in asks]
    whole = [(count, ask) for count, ask in shared if 0 < count == len(ask.questions)]
    if whole:
        return min(whole, key=lambda pair: pair[0])[1]
    longest = max((count for count, _ in shared), default=0)
    return Ask(tuple(questions[:longest]) or tuple(questions))


def _shared(one: Sequence[Question], other: Sequence[Question]) -> int:
    """How many questions both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def tree_answer(entry: Entry | None) -> JsonValue:
    """The answer to a ``tree`` or ``file`` question: mode letter and id, or null if absent."""
    return None if entry is None else [entry.mode.letter, entry.id]


def answer_digest(answers: Sequence[JsonValue]) -> str:
    """The name of the directory that these answers, in the questions' order, lead to."""
    return digest({"version": _VERSION, "answers": answers})


def answers_file(answers: Sequence[JsonValue]) -> bytes:
    """The content of a file ``answers``: for people, who want to know what has changed since."""
    return canonical_json({"version": _VERSION, "answers": answers})


def parse_answers(content: bytes) -> Sequence[JsonValue]:
    """Read a file ``answers``; raises ``StoreError`` if it is damaged."""
    try:
        match json.loads(content):
            case {"version": 1, "answers": [*answers]}:
                return answers
            case _:
                raise StoreError("damaged trace: a file answers of another kind or version")
    except ValueError as error:
        raise StoreError(f"damaged trace: {error}") from error


def trace_key(observations: Iterable[Observation]) -> str:
    """KEY, the name of a result: the digest of all that its build could see, in sorted order."""
    ordered = sorted(observations, key=lambda observation: observation.question.order)
    return digest(
        {
            "version": _VERSION,
            "observations": [
                [each.question.kind.value, each.question.path, each.answer] for each in ordered
            ],
        }
    )


def result_file(key: str) -> bytes:
    """The content of a file ``result``."""
    return key.encode() + b"\n"


def parse_result(content: bytes) -> str:
    """Read a file ``result``; raises ``StoreError`` if it is damaged."""
    key = content.decode(errors="replace").strip()
    if not _KEY.match(key):
        raise StoreError(f"damaged trace: {key[:80]!r} is not the key of a result")
    return key
