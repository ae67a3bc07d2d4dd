"""Misses: why no recorded result answers a need, in words.

A look-up asks the questions of earlier builds; what is told here is the first answer that none of
them was given, beside the one of the build that was most like this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from datakit_ci.canonical import JsonValue
from datakit_ci.decisions import observe
from datakit_ci.question import Question, QuestionKind
from datakit_ci.trace import Ask, Asker, answer_digest, parse_answers
from datakit_core.client.api import Database, TreeId
from datakit_core.errors import StoreError

__all__ = ["Difference", "first_difference"]

_KINDS = {"F": "a file", "X": "a program", "D": "a directory", "L": "a link"}

_CANDIDATES = 200
"""Earlier builds that are compared with."""


class Difference(NamedTuple):
    """An answer that is another one than at an earlier build.

    Attributes:
        question: What was asked.
        before: What the earlier build was answered.
        after: What a build would be answered now.
    """

    question: Question
    before: JsonValue
    after: JsonValue

    def __str__(self) -> str:
        what = self.question.path or "the input"
        match self.question.kind:
            case QuestionKind.GLOB:
                what = f"what matches {what}"
            case QuestionKind.LIST:
                what = f"the list of {what}"
            case _:
                pass
        if self.before is None:
            return f"{what} is new"
        if self.after is None:
            return f"{what} is gone"
        return f"{what} has changed: {_shown(self.before)} -> {_shown(self.after)}"


async def first_difference(database: Database, trace: TreeId, asker: Asker) -> Difference | None:
    """What tells this input from those of the results below ``trace``.

    None if there is no difference: the result is gone or damaged.

    Raises:
        StoreError: The tree is damaged.
    """
    nodes, found = [trace], None
    while nodes:
        node = nodes.pop()
        for entry in (await database.tree(node)).values():
            if not entry.is_directory:
                continue
            ask = TreeId(entry.id)
            batch = Ask.from_bytes(await database.read(ask, "ask"))
            now = [seen.answer for seen in await observe(asker, batch.questions)]
            known = await database.tree(ask)
            if (same := known.get(answer_digest(now))) is not None:
                nodes.append(TreeId(same.id))
            else:
                below = [TreeId(each.id) for each in known.values() if each.is_directory]
                found = await _nearest(database, below, batch.questions, now) or found
    return found


async def _nearest(
    database: Database, below: Sequence[TreeId], questions: Sequence[Question], now: list[JsonValue]
) -> Difference | None:
    """The first difference to the build with the most answers that are the same."""
    best: list[Difference] | None = None
    for tree in below[-_CANDIDATES:]:
        before = parse_answers(await database.read(tree, "answers"))
        if len(before) != len(now):
            raise StoreError("damaged trace: not as many answers as questions")
        both = zip(questions, before, now, strict=True)
        differences = [Difference(*each) for each in both if each[1] != each[2]]
        if best is None or len(differences) < len(best):
            best = differences
    return best[0] if best else None


def _shown(answer: JsonValue) -> str:
    match answer:
        case [str(mode), str(id_)]:
            return f"{'' if mode == 'F' else _KINDS.get(mode, mode) + ' '}{id_[:10]}"
        case str(kind):
            return _KINDS.get(kind, kind)
        case list(items):
            return f"{len(items)} entries"
        case {"count": count}:
            return f"{count} entries"
        case _:
            return str(answer)
