"""Traces: what a build looked at, as questions with answers, and the key that they make.

A result is found again by asking the same questions of a new input: equal answers, same result.
The questions are kept in a decision tree below ``trace/`` of a stage's results::

    trace/ASK/ask             the canonical text of a batch of questions; ASK is its digest
    trace/ASK/ANSWERS/result  the key of the result, if these are all the questions there are
    trace/ASK/ANSWERS/...     or further batches that the answers led to

so that a look-up costs as many questions as the stage has, however many results there are. For
now every stage asks one batch: for the trees that it declared, or for its whole input.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from datakit_ci.canonical import JsonValue, canonical_json, digest
from datakit_ci.spec import StageSpec
from datakit_core.client.api import Entry
from datakit_core.errors import StoreError

__all__ = [
    "Ask",
    "Observation",
    "Question",
    "QuestionKind",
    "answer_digest",
    "declared",
    "parse_result",
    "result_file",
    "trace_key",
    "tree_answer",
]

_VERSION = 1
_KEY = re.compile(r"[0-9a-f]{64}\Z")


class QuestionKind(enum.Enum):
    """What can be asked of a tree."""

    FILE = "file"
    """The mode and id of a file."""
    KIND = "kind"
    """File, directory, link or absent."""
    STAT = "stat"
    """Type, mode and size, or absent."""
    LIST = "list"
    """Names and kinds in a directory."""
    GLOB = "glob"
    """The paths that match a pattern, and their kinds."""
    TREE = "tree"
    """The mode and id of all that is at a path; the root is the path ``""``."""


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to ask of a tree.

    Attributes:
        kind: What is asked.
        path: Of which path; for a glob, the pattern.
    """

    kind: QuestionKind
    path: str

    @property
    def order(self) -> tuple[str, str]:
        """Where it stands in a batch: by path, so that what belongs together is together."""
        return self.path, self.kind.value


@dataclass(frozen=True, slots=True)
class Observation:
    """A question with the answer that a build was given."""

    question: Question
    answer: JsonValue


@dataclass(frozen=True, slots=True)
class Ask:
    """A batch of questions, sorted and each once: a node of the decision tree."""

    questions: tuple[Question, ...]

    @classmethod
    def of(cls, questions: Iterable[Question]) -> Self:
        """Sort ``questions`` and drop those that the answer to a ``tree`` question implies."""
        kept = set(questions)
        trees = {each.path for each in kept if each.kind is QuestionKind.TREE}
        return cls(
            tuple(
                sorted(
                    (each for each in kept if not _implied(each, trees)),
                    key=lambda question: question.order,
                )
            )
        )

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


def _implied(question: Question, trees: set[str]) -> bool:
    """Whether a tree id that is asked for settles ``question``: that of a directory above it.

    Globs are kept: a pattern's matches may lie outside the directory it begins in.
    """
    if question.kind is QuestionKind.GLOB:
        return "" in trees
    above = question.path
    if above in trees and question.kind is not QuestionKind.TREE:
        return True
    while above:
        above = above.rpartition("/")[0]
        if above in trees:
            return True
    return False


def declared(spec: StageSpec) -> Ask:
    """The questions of a stage that sees what it declared: nothing else can matter to it."""
    paths = ("",) if spec.inputs is None else spec.inputs
    return Ask.of(Question(QuestionKind.TREE, path) for path in paths)


def tree_answer(entry: Entry | None) -> JsonValue:
    """The answer to a ``tree`` or ``file`` question: mode letter and id, or null if absent."""
    return None if entry is None else [entry.mode.letter, entry.id]


def answer_digest(answers: Sequence[JsonValue]) -> str:
    """The name of the directory that these answers, in the questions' order, lead to."""
    return digest({"version": _VERSION, "answers": answers})


def trace_key(observations: Iterable[Observation]) -> str:
    """KEY, the name of a result: the digest of all that its build was told, in sorted order."""
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
