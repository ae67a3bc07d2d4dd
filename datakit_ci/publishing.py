"""Publishing: the far side of flows, their branches in the database.

What a flow has come to becomes the tree of its branch. A flow through every commit also records
each commit that is done, on the branch ``flows`` in the file ``OUTPUT/source-commit``: first the
output, then the record. An engine that is killed in between does the commit again, finds the output
there and writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from datakit_ci.filing import write_files
from datakit_ci.need import NextCommit, PublishedTree
from datakit_ci.target import FLOWS, encode_name
from datakit_core.client.api import CommitId, Database, TreeId
from datakit_core.errors import DatakitError, NoEntry, NotFastForward
from datakit_core.store.objects import parse_id

__all__ = ["FlowBranches"]


@dataclass(slots=True)
class _Backlog:
    """What a flow has yet to go through.

    Attributes:
        head: The head of its source when that was last looked at.
        commits: The newest first.
    """

    head: CommitId | None = None
    commits: list[CommitId] = field(default_factory=list)


class FlowBranches:
    """Reads and writes the branches of flows."""

    def __init__(self, database: Database) -> None:
        """Work on ``database``."""
        self._database = database
        self._backlogs: dict[NextCommit, _Backlog] = {}

    async def next_commit(self, need: NextCommit, head: CommitId | None) -> CommitId | None:
        """The first commit up to ``head`` that is not done; the head itself if all are."""
        if head is None:
            return None
        done = await self._done(need.flow)
        backlog = self._backlogs.setdefault(need, _Backlog())
        if backlog.head != head:
            backlog.commits = await self._until(head, done)
            backlog.head = head
        while done in backlog.commits:
            backlog.commits.pop()
        return backlog.commits[-1] if backlog.commits else head

    async def publish(self, need: PublishedTree) -> CommitId:
        """Make the branch hold the tree; returns its commit that does."""
        commit = await self._publish(need)
        if need.every_commit:
            path = f"{encode_name(need.branch)}/source-commit"
            subject = f"{need.branch}: done with {need.source[:12]}"
            await write_files(self._database, FLOWS, {path: f"{need.source}\n".encode()}, subject)
        return commit

    async def _publish(self, need: PublishedTree) -> CommitId:
        while True:
            async with self._database.transaction(need.branch) as transaction:
                base = transaction.base
                if base is not None and (await self._database.commit(base)).tree == need.tree:
                    return base
                for name in await transaction.list():
                    await transaction.remove(name)
                for name, entry in (await self._database.tree(need.tree)).items():
                    await transaction.graft(name, entry)
                try:
                    return await transaction.commit_if(base, _message(need))
                except NotFastForward:
                    continue  # somebody else has written to the branch: look again

    async def _until(self, head: CommitId, done: CommitId | None) -> list[CommitId]:
        """The first parents of ``head``, newest first, up to what is done.

        If the branch was rewritten, up to the newest commit that is before what is done as well.
        """
        commits: list[CommitId] = []
        async for commit in self._database.history(head):
            if commit.id == done:
                return commits
            commits.append(commit.id)
        if done is None:
            return commits
        try:
            known = {commit.id async for commit in self._database.history(done)}
        except DatakitError:
            return commits  # what was done is gone from the database
        for place, commit_id in enumerate(commits):
            if commit_id in known:
                return commits[:place]
        return commits

    async def _done(self, flow: str) -> CommitId | None:
        head = await self._database.head(FLOWS)
        if head is None:
            return None
        tree: TreeId = (await self._database.commit(head)).tree
        try:
            content = await self._database.read(tree, f"{encode_name(flow)}/source-commit")
            return CommitId(parse_id(content.decode(errors="replace").strip()))
        except (NoEntry, DatakitError):
            return None


def _message(need: PublishedTree) -> str:
    """``clean: from raw 0123456789ab``, with the whole id below."""
    if need.is_commit:
        subject = f"{need.branch}: from {need.origin} {need.source[:12]}"
        return f"{subject}\n\nSource-Commit: {need.source}\n"
    return f"{need.branch}: {need.origin}, at {need.source}\n"
