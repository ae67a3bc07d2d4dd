"""Asking an engine, from another process: a command is left in the database, and answered there.

The one way over which a program without the engine at hand reaches it, at a server as in a
repository: whoever can write the branch ``control`` can ask, in the name that he gives.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import aclosing
from datetime import UTC, datetime

from datakit_ci.control import Command
from datakit_ci.docket import BRANCH
from datakit_ci.errands import Answer, Errand, answer_path, errand_id, errand_path, title_of
from datakit_ci.filing import write_files
from datakit_core.client.api import BlobId, CommitId, Database, TreeId
from datakit_core.errors import NoEntry

__all__ = ["ask", "leave"]


async def leave(database: Database, command: Command, tag: str = "") -> str:
    """Leave ``command`` for the engine that watches ``database``, or the next one; its id.

    Args:
        database: The engine's.
        command: What to do.
        tag: Tells it from others, if not empty: what was left with the same tag is not left again,
            as long as it waits or its answer is kept.
    """
    now = datetime.now(UTC)
    if tag and (known := await _tagged(database, tag)) is not None:
        return known
    id_ = errand_id(now, tag) if tag else _new_id(now)
    await _write(database, id_, Errand(command, now))
    return id_


async def ask(database: Database, command: Command, patience: float) -> Answer:
    """Have ``command`` carried out.

    Args:
        database: The engine's.
        command: What to do.
        patience: Seconds to wait for an answer. Then the command is taken back; so it is if this
            is cancelled.

    Raises:
        NoEntry: Nobody has answered; nothing is done, nor will be.
    """
    now = datetime.now(UTC)
    id_ = _new_id(now)
    try:
        await _write(database, id_, Errand(command, now))
        async with asyncio.timeout(patience):
            return await _answer(database, id_)
    except TimeoutError:
        if (late := await _take_back(database, id_)) is not None:
            return late
    except asyncio.CancelledError:
        await _take_back(database, id_)
        raise
    raise NoEntry(
        "no engine is watching this database, or none that has the project; nothing was done"
    )


async def _tagged(database: Database, tag: str) -> str | None:
    """The command with this tag that was left before; none if there is none."""
    head = await database.head(BRANCH)
    if head is None:
        return None
    root = (await database.commit(head)).tree
    for path in (errand_path(""), answer_path("")):
        entry = await database.entry(root, path.rstrip("/"))
        if entry is not None and entry.is_directory:
            for name in await database.tree(TreeId(entry.id)):
                if name.endswith(f"-{tag}"):
                    return name
    return None


def _new_id(now: datetime) -> str:
    return errand_id(now, secrets.token_hex(4))


async def _write(database: Database, id_: str, errand: Errand) -> None:
    message = f"Ask: {title_of(errand.command)}\n\nBy: {errand.command.user}\n"
    await write_files(database, BRANCH, {errand_path(id_): errand.to_bytes()}, message)


async def _answer(database: Database, id_: str) -> Answer:
    """Wait for the answer."""
    async with aclosing(database.watch_head(BRANCH)) as heads:  # type: ignore[type-var]
        async for head in heads:
            if (answer := await _read(database, head, id_)) is not None:
                return answer
    raise AssertionError("a watch does not end")


async def _take_back(database: Database, id_: str) -> Answer | None:
    """Remove a command; the answer, if it was just given."""
    gone = await write_files(database, BRANCH, {errand_path(id_): None}, "Take a command back")
    if gone is not None:
        return None
    return await _read(database, await database.head(BRANCH), id_)


async def _read(database: Database, head: CommitId | None, id_: str) -> Answer | None:
    if head is None:
        return None
    entry = await database.entry((await database.commit(head)).tree, answer_path(id_))
    return None if entry is None else Answer.from_bytes(await database.blob(BlobId(entry.id)))
