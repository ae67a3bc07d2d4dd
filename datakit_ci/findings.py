"""Findings: the answers that are in the database and need no waiting for.

What follows a branch, a schedule or another repository is :mod:`datakit_ci.answers`.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from datakit_ci.cache import Cache
from datakit_ci.history import last_output
from datakit_ci.metadata import BRANCH, CommitStatus, status_path
from datakit_ci.need import IsAfter, Joined, LastOutput, Need, StatusOf, TreeOf
from datakit_ci.state import BuildId, BuildState
from datakit_ci.target import Target, TargetKind
from datakit_core.client.api import BlobId, CommitId, Database, Entry, FileMode, TreeId

__all__ = ["Findings"]

_SKEW = 86400
"""Seconds by which a commit's time may be before that of its parents: clocks differ."""

_PAUSE = 100
"""Commits that are read before others get their turn."""


class Findings:
    """Finds answers in a database; each call reads anew."""

    def __init__(self, database: Database) -> None:
        """Look in ``database``; trees that are put together go there too."""
        self._database = database

    async def find(self, need: Need[Any]) -> object:
        """The answer to ``need``; none where there is nothing.

        Raises:
            TypeError: It is of another kind.
            DatakitError: It cannot be found out.
        """
        match need:
            case LastOutput(target=Target(kind=TargetKind.FLOW)):
                return await self._last_of_flow(need)
            case LastOutput(target=target):
                stage = (need.project, need.stage, need.static)
                return await last_output(self._database, target.status_branch, stage)
            case StatusOf():
                return await self._status(need)
            case TreeOf(commit=commit):
                return (await self._database.commit(commit)).tree
            case IsAfter(newer=newer, older=older):
                return await self._is_after(newer, older)
            case Joined(parts=parts):
                return await self._join(parts)
            case _:
                raise TypeError(f"nobody finds {need!r}")

    async def _last_of_flow(self, need: LastOutput) -> TreeId | None:
        """The newest output: a flow has no history, but its stages' results are nobody else's."""
        some = BuildId(need.project, need.stage, need.static, "")
        head = await self._database.head(some.branch)
        if head is None:
            return None
        root = (await self._database.commit(head)).tree
        runs = await self._database.entry(root, some.directory.rstrip("/"))
        if runs is None or not runs.is_directory:
            return None
        cache = Cache(self._database)
        newest: BuildState | None = None
        for key in await self._database.tree(TreeId(runs.id)):
            state = await cache.read(replace(some, key=key))
            if state is None or state.output is None or state.started is None:
                continue
            if newest is None or newest.started is None or newest.started < state.started:
                newest = state
        return None if newest is None else newest.output

    async def _status(self, need: StatusOf) -> CommitStatus | None:
        """What is said of a commit now; the engine asks again when that changes."""
        head = await self._database.head(BRANCH)
        if head is None:
            return None
        root = (await self._database.commit(head)).tree
        path = status_path(need.project, need.commit, need.context)
        directory = await self._database.entry(root, path)
        if directory is None or not directory.is_directory:
            return None
        files = {
            name: await self._database.blob(BlobId(entry.id))
            for name, entry in (await self._database.tree(TreeId(directory.id))).items()
            if not entry.is_directory
        }
        return CommitStatus.parse(files) if files else None

    async def _join(self, parts: tuple[tuple[str, TreeId], ...]) -> TreeId:
        """One tree from several; what comes later replaces what is at its path."""
        files: dict[str, Entry | bytes] = {}
        for path, tree in parts:
            if path:
                files[path] = Entry(FileMode.DIRECTORY, tree)
            else:
                files.update(await self._database.tree(tree))
        return await self._database.import_tree(files)

    async def _is_after(self, newer: CommitId, older: CommitId) -> bool:
        """Walk back from ``newer``, but not to what is clearly older than ``older``."""
        oldest = (await self._database.commit(older)).committer.time - _SKEW
        pending, seen = [newer], set[CommitId]()
        while pending:
            commit = pending.pop()
            if commit == older:
                return True
            if commit in seen:
                continue
            seen.add(commit)
            read = await self._database.commit(commit)
            if read.committer.time >= oldest:
                pending += read.parents
            if len(seen) % _PAUSE == 0:
                await asyncio.sleep(0)
        return False
