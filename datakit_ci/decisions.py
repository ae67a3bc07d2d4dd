"""The decision tree of a stage's traces in the database: finding results, and adding them.

What the tree is, and why it is sound, is in :mod:`datakit_ci.trace`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence

from datakit_ci.trace import (
    Ask,
    Asker,
    Observation,
    Question,
    answer_digest,
    answers_file,
    next_batch,
    parse_answers,
    parse_result,
    result_file,
)
from datakit_core.client.api import BlobId, Database, FileMode, Transaction, TreeId
from datakit_core.errors import FileError, StoreError

__all__ = ["add_result", "find_results", "observe", "read_trace"]

_log = logging.getLogger(__name__)

_PAUSE = 200
"""Questions that are answered before others get their turn on the loop."""


async def observe(asker: Asker, questions: Sequence[Question]) -> Sequence[Observation]:
    """Answer ``questions`` in their order, however many there are."""
    seen: list[Observation] = []
    for start in range(0, len(questions), _PAUSE):
        seen += await asker.observe(questions[start : start + _PAUSE])
        await asyncio.sleep(0)
    return seen


async def find_results(
    database: Database, node: TreeId, asker: Asker
) -> AsyncGenerator[tuple[str, tuple[Question, ...]], None]:
    """The keys of results below ``node`` whose questions have the answers that ``asker`` gives.

    With these questions, in their order.

    More than one only where stages are not functions, or where a trace was added twice: by the
    way that it first took, and by shorter batches later.

    Raises:
        StoreError: The tree is damaged.
    """
    left: list[tuple[TreeId, tuple[Question, ...]]] = [(node, ())]
    while left:
        node, asked = left.pop()
        for name, entry in (await database.tree(node)).items():
            if name == "result":
                yield parse_result(await database.blob(BlobId(entry.id))), asked
            elif entry.is_directory:
                ask = TreeId(entry.id)
                batch = await _batch(database, ask, name)
                answers = [seen.answer for seen in await observe(asker, batch.questions)]
                found = await database.entry(ask, answer_digest(answers))
                if found is not None:
                    left.append((TreeId(found.id), asked + batch.questions))


async def read_trace(database: Database, root: TreeId, way: str) -> Sequence[Observation]:
    """The questions and answers on the ``way``, ``ASK/ANSWERS/…``, below ``root``.

    Raises:
        NoEntry: There is no such way.
        StoreError: It is damaged.
    """
    found: list[Observation] = []
    names = way.split("/")
    for depth in range(0, len(names), 2):
        above = "/".join(names[: depth + 1])
        below = "/".join(names[: depth + 2])
        ask = Ask.from_bytes(await database.read(root, f"{above}/ask"))
        answers = parse_answers(await database.read(root, f"{below}/answers"))
        if len(answers) != len(ask.questions):
            raise StoreError("damaged trace: not as many answers as questions")
        found += map(Observation, ask.questions, answers)
    return found


async def _batch(database: Database, ask: TreeId, name: str) -> Ask:
    file = await database.entry(ask, "ask")
    if file is None:
        raise StoreError("damaged trace: a batch of questions without its file ask")
    return _checked(Ask.from_bytes(await database.blob(BlobId(file.id))), name)


def _checked(ask: Ask, name: str) -> Ask:
    if ask.digest != name:
        raise StoreError("damaged trace: these are not the questions that it was made for")
    return ask


async def add_result(
    transaction: Transaction, node: str, observations: Sequence[Observation], key: str
) -> str:
    """Let ``observations`` lead from the path ``node`` to the result ``key``.

    What is damaged on the way is put right. Returns the path of the leaf.
    """
    left = observations
    while True:
        if await transaction.entry(node) not in (None, FileMode.DIRECTORY):
            await transaction.remove(node)
        batch = next_batch(await _asks(transaction, node), [seen.question for seen in left])
        count = len(batch.questions)
        answers, left = [seen.answer for seen in left[:count]], left[count:]
        ask = f"{node}/{batch.digest}"
        node = f"{ask}/{answer_digest(answers)}"
        await transaction.write(f"{ask}/ask", batch.to_bytes())
        await transaction.write(f"{node}/answers", answers_file(answers))
        if not left:
            await transaction.write(f"{node}/result", result_file(key))
            return node


async def _asks(transaction: Transaction, node: str) -> Sequence[Ask]:
    """The batches that are asked at ``node``; one that is damaged or without a file is removed."""
    asks: list[Ask] = []
    if await transaction.entry(node) is not FileMode.DIRECTORY:
        return asks
    for name in await transaction.list(node):
        if name in ("answers", "result"):
            continue
        try:
            asks.append(
                _checked(Ask.from_bytes(await transaction.read(f"{node}/{name}/ask")), name)
            )
        except (StoreError, FileError) as error:
            _log.warning("%s/%s: %s; its results are forgotten", node, name, error)
            await transaction.remove(f"{node}/{name}")
    return asks
