"""Which targets there are, and where their heads are: read from ``github-metadata``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from datakit_ci.edits import compare
from datakit_ci.metadata import (
    BRANCH,
    parse_commit_path,
    parse_field,
    parse_head_path,
    parse_target_file,
    title_path,
)
from datakit_ci.target import Target
from datakit_core.client.api import BlobId, CommitId, Database, TreeId
from datakit_core.errors import DatakitError
from datakit_core.store.objects import EMPTY_TREE, parse_id

__all__ = ["FixedHeads", "Heads", "HeadsSource", "MetadataHeads", "read_title"]

_LONGEST_TITLE = 256
"""Characters; GitHub has no more of them."""


@dataclass(frozen=True, slots=True)
class Heads:
    """All targets at one moment.

    Attributes:
        metadata: The commit of ``github-metadata`` that says so; none if nothing does.
        commits: The head of each target.
        moved: The targets that may be elsewhere since the last heads of the same watch; none:
            any of them.
        said: The commits, with their projects, of which something else may be said; none: any.
    """

    metadata: CommitId | None
    commits: Mapping[Target, CommitId]
    moved: frozenset[Target] | None = None
    said: frozenset[tuple[str, CommitId]] | None = None


class HeadsSource(Protocol):
    """Where an engine learns of targets."""

    def watch(self) -> AsyncIterator[Heads]:
        """The heads now, then each newest state of them; states in between may be skipped."""
        ...


class FixedHeads:
    """Heads that never change."""

    def __init__(self, commits: Mapping[Target, CommitId]) -> None:
        """Know these heads."""
        self._heads = Heads(None, commits)

    async def watch(self) -> AsyncIterator[Heads]:
        """The heads, once."""
        yield self._heads


class MetadataHeads:
    """Heads as bridges write them.

    A reading costs what has changed since the last one, and not how many targets there are.
    """

    def __init__(self, database: Database) -> None:
        """Watch ``github-metadata`` in ``database``."""
        self._database = database
        self._known: dict[TreeId, Mapping[str, CommitId]] = {}

    async def watch(self) -> AsyncIterator[Heads]:
        """The heads after each commit to the branch, also of those that change no head."""
        last: tuple[TreeId, Mapping[Target, CommitId]] | None = None
        async for commit in self._database.watch_head(BRANCH):
            tree = EMPTY_TREE if commit is None else (await self._database.commit(commit)).tree
            if last is None:
                heads = Heads(commit, await self.read(tree))
                self._known = {}  # only a few directories of it would be looked at again
            else:
                heads = await self._follow(commit, tree, *last)
            last = tree, heads.commits
            yield heads

    async def _follow(
        self,
        commit: CommitId | None,
        tree: TreeId,
        old: TreeId,
        commits: Mapping[Target, CommitId],
    ) -> Heads:
        """The heads in ``tree``, when those in the tree ``old`` were ``commits``."""
        paths = await self._touched(old, tree)
        moved = frozenset(target for path in paths if (target := parse_target_file(path)))
        said = frozenset(about for path in paths if (about := parse_commit_path(path)))
        if not moved:
            return Heads(commit, commits, moved, said)
        now = dict(commits)
        for target in moved:
            now.pop(target, None)
            if (head := await self._target(tree, target)) is not None:
                now[target] = head
        return Heads(commit, now, moved, said)

    async def _touched(self, old: TreeId, new: TreeId) -> Collection[str]:
        """The files that differ, and what else says as much.

        Of a commit about which something is said for the first time, only the directory: what is
        in it would be hundreds of files, of which there is nothing to learn.
        """
        edit = await compare(self._database, old, new)
        if edit is None or not all(map(parse_commit_path, edit.replaced)):
            return [change.path for change in await self._database.diff(old, new)]
        return edit.touched

    async def _target(self, root: TreeId, target: Target) -> CommitId | None:
        """The head of one target; none if it has none, or is closed."""
        directory = await self._database.entry(root, target.path)
        if directory is None or not directory.is_directory:
            return None
        entries = await self._database.tree(TreeId(directory.id))
        head, state = entries.get("head"), entries.get("state")
        if head is None or head.is_directory:
            return None
        if state is not None and await self._field(BlobId(state.id)) == "closed":
            return None
        return (await self._head(BlobId(head.id))).get("head")

    async def read(self, root: TreeId) -> Mapping[Target, CommitId]:
        """The heads in one tree of the branch."""
        commits: dict[Target, CommitId] = {}
        fresh: dict[TreeId, Mapping[str, CommitId]] = {}
        for user, users in await self._directories(root):
            for repository, project in await self._directories(users):
                for kind in ("ref", "pr"):
                    entry = await self._database.entry(project, kind)
                    if entry is None or not entry.is_directory:
                        continue
                    for path, head in (await self._scan(TreeId(entry.id), fresh)).items():
                        target = parse_head_path(f"{user}/{repository}/{kind}/{path}")
                        if target is not None:
                            commits[target] = head
        self._known = fresh
        return commits

    async def _directories(self, tree: TreeId) -> list[tuple[str, TreeId]]:
        entries = await self._database.tree(tree)
        return [(name, TreeId(entry.id)) for name, entry in entries.items() if entry.is_directory]

    async def _scan(
        self, tree: TreeId, fresh: dict[TreeId, Mapping[str, CommitId]]
    ) -> Mapping[str, CommitId]:
        """The ``head`` files below ``tree``, by path; those of closed pull requests left out."""
        known = fresh.get(tree) or self._known.get(tree)
        if known is None:
            found: dict[str, CommitId] = {}
            entries = await self._database.tree(tree)
            head, state = entries.get("head"), entries.get("state")
            is_open = state is None or await self._field(BlobId(state.id)) != "closed"
            if head is not None and not head.is_directory and is_open:
                found |= await self._head(BlobId(head.id))
            for name, below in await self._directories(tree):
                for path, commit in (await self._scan(below, fresh)).items():
                    found[f"{name}/{path}"] = commit
            known = found
        fresh[tree] = known
        return known

    async def _head(self, blob: BlobId) -> Mapping[str, CommitId]:
        """A head that cannot be read (half written by hand) is no head."""
        try:
            return {"head": CommitId(parse_id(await self._field(blob)))}
        except DatakitError:
            return {}

    async def _field(self, blob: BlobId) -> str:
        return parse_field(await self._database.blob(blob))


async def read_title(database: Database, metadata: CommitId | None, target: Target) -> str:
    """What a pull request is about, in one line; empty if nobody says so, or it is none.

    Args:
        database: Where it is read.
        metadata: The commit of ``github-metadata`` that counts; none: there is none.
        target: Any target.
    """
    path = title_path(target)
    if path is None or metadata is None:
        return ""
    try:
        entry = await database.entry((await database.commit(metadata)).tree, path)
        if entry is None or entry.is_directory:
            return ""
        said = parse_field(await database.blob(BlobId(entry.id)))
    except DatakitError:
        return ""  # a title is worth less than the target
    return " ".join(said.split())[:_LONGEST_TITLE]
