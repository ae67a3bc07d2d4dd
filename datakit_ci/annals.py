"""The annals: what was recorded of targets, change by change, and of the commits they were at."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import cast

from datakit_ci.history import INDEX_BRANCH
from datakit_ci.ledger import read_state, target_of
from datakit_ci.state import TargetState
from datakit_ci.target import Target
from datakit_core.client.api import BlobId, Commit, CommitId, Database, TreeId
from datakit_core.errors import DatakitError
from datakit_core.store.objects import parse_id

__all__ = ["Annals", "Change", "described"]


@dataclass(frozen=True, slots=True)
class Change:
    """A state that a target came to.

    Attributes:
        commit: The commit of its history that says so.
        state: What it came to; ``updated`` is when. There is no graph.
    """

    commit: CommitId
    state: TargetState


class Annals:
    """Reads histories; given a database of the past, up to then."""

    def __init__(self, database: Database) -> None:
        """Read from ``database``."""
        self._database = database

    async def changes(self, target: Target, skip: int, most: int) -> Sequence[Change]:
        """What a target came to, the newest first.

        Args:
            target: Which; an unknown one has no history.
            skip: Changes that are left out at the beginning; they are hardly looked at.
            most: Changes that are returned at most.
        """
        head = await self._database.head(target.status_branch)
        if head is None or most <= 0:
            return ()
        found: list[Change] = []
        history = cast("AsyncGenerator[Commit, None]", self._database.history(head))
        async with aclosing(history):
            async for commit in history:
                if skip > 0:
                    skip -= 1
                    continue
                state = await read_state(self._database, target, commit)
                found.append(Change(commit.id, await described(self._database, state)))
                if len(found) == most:
                    break
        return found

    async def states_at(self, project: str, commit: CommitId) -> Sequence[TargetState]:
        """What each target of a project came to while it was at a source commit, by name."""
        head = await self._database.head(INDEX_BRANCH)
        if head is None:
            return ()
        root = (await self._database.commit(head)).tree
        entry = await self._database.entry(root, f"{commit[:2]}/{commit}")
        if entry is None or not entry.is_directory:
            return ()
        found = [
            await self._state(target, BlobId(named.id))
            for branch, named in (await self._database.tree(TreeId(entry.id))).items()
            if (target := target_of(branch)) is not None and target.project == project
        ]
        return sorted(
            (state for state in found if state is not None and state.head == commit),
            key=lambda state: state.target,
        )

    async def _state(self, target: Target, name: BlobId) -> TargetState | None:
        """The state in the commit that a file of the index names; none if either is damaged."""
        try:
            text = (await self._database.blob(name)).decode(errors="replace").strip()
            commit = await self._database.commit(CommitId(parse_id(text)))
            return await described(self._database, await read_state(self._database, target, commit))
        except DatakitError:
            return None


async def described(database: Database, state: TargetState) -> TargetState:
    """With what the source commit says of itself, if it is (still) there."""
    if state.head is None:
        return state
    with suppress(DatakitError):
        commit = await database.commit(state.head)
        return replace(
            state,
            subject=commit.message.partition("\n")[0],
            author=commit.author.name,
            committed=datetime.fromtimestamp(commit.committer.time, UTC),
        )
    return state
