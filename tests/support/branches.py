"""Branches of a database: writing, and reading them whole."""

from __future__ import annotations

from collections.abc import Mapping

from datakit_core.client.api import CommitId, Database
from datakit_core.store.objects import EMPTY_TREE

__all__ = ["commit_files", "files_of", "messages_of"]


async def commit_files(
    database: Database, branch: str, files: Mapping[str, bytes | None], message: str = "A change"
) -> CommitId:
    """Write (or, where there is no content, remove) ``files`` on ``branch``."""
    async with database.transaction(branch) as transaction:
        for path, data in files.items():
            if data is None:
                await transaction.remove(path)
            else:
                await transaction.write(path, data)
        return await transaction.commit(message)


async def files_of(database: Database, branch: str) -> Mapping[str, str]:
    """All files of a branch's head, as text by path; nothing if there is no such branch."""
    head = await database.head(branch)
    if head is None:
        return {}
    tree = (await database.commit(head)).tree
    return {
        change.path: (await database.read(tree, change.path)).decode()
        for change in await database.diff(EMPTY_TREE, tree)
    }


async def messages_of(database: Database, branch: str) -> list[str]:
    """The messages of a branch's commits, newest first."""
    head = await database.head(branch)
    if head is None:
        return []
    return [commit.message.strip() async for commit in database.history(head)]
