"""A repository's snapshot in the database: reading it as it changes, and writing to it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from datakit_ci.bridges.github.resources import (
    Key,
    PullKey,
    RefKey,
    Snapshot,
    Value,
    directory,
    files,
    parse,
)
from datakit_ci.bridges.github.scope import WHOLE, Scope
from datakit_core.client.api import BlobId, CommitId, Database, Entry, Transaction, TreeId
from datakit_core.errors import NoEntry
from datakit_core.store.objects import EMPTY_TREE

__all__ = ["Record", "Records", "monitored", "write"]

_MARK = ".dirty"


@dataclass(frozen=True, slots=True)
class Record:
    """What a commit says of one repository.

    Attributes:
        head: The commit; none if the branch has none.
        snapshot: What it says.
        marks: The marks that ask for another look: their paths, relative to the repository's
            directory, and what is in them.
    """

    head: CommitId | None
    snapshot: Snapshot
    marks: Mapping[str, bytes]

    @property
    def asked(self) -> Scope:
        """What the marks ask for."""
        asked = Scope()
        for mark in self.marks:
            asked |= _asked(mark.removesuffix(_MARK).rstrip("/"))
        return asked


def _asked(path: str) -> Scope:
    match path.split("/", 2):
        case ["pr", number] if number.isdigit():
            return Scope(pulls=frozenset({int(number)}))
        case ["ref", kind, name]:
            return Scope(refs=frozenset({RefKey(kind, name)}))
        case _:
            return WHOLE


class Records:
    """Reads one repository's directory on a branch, again and again.

    A reading costs what has changed since the one before.
    """

    def __init__(self, database: Database, branch: str, project: str) -> None:
        """Read ``project`` (``USER/REPO``) on ``branch``."""
        self._database = database
        self._branch = branch
        self._project = project
        self._tree = EMPTY_TREE
        self.contents: dict[str, bytes] = {}

    async def read(self) -> Record:
        """What the branch's head says now."""
        head = await self._database.head(self._branch)
        return await self.at(head)

    async def at(self, head: CommitId | None) -> Record:
        """What a commit says."""
        tree = await self._project_tree(head)
        contents = dict(self.contents)
        for change in await self._database.diff(self._tree, tree):
            entry = await self._database.entry(tree, change.path)
            if entry is None or not _is_file(entry):
                contents.pop(change.path, None)
            else:
                contents[change.path] = await self._database.blob(BlobId(entry.id))
        self._tree, self.contents = tree, contents
        marks = {path: said for path, said in contents.items() if path.rpartition("/")[2] == _MARK}
        return Record(head, parse(contents), marks)

    async def _project_tree(self, head: CommitId | None) -> TreeId:
        if head is None:
            return EMPTY_TREE
        root = (await self._database.commit(head)).tree
        entry = await self._database.entry(root, self._project)
        return TreeId(entry.id) if entry is not None and entry.is_directory else EMPTY_TREE


def _is_file(entry: Entry) -> bool:
    return entry.mode.is_file


async def write(
    transaction: Transaction,
    project: str,
    changes: Mapping[Key, Value | None],
    marks: Collection[str] = (),
) -> None:
    """Make ``changes`` to a repository's directory, and remove ``marks`` that were heeded."""
    removed = {key: value for key, value in changes.items() if value is None}
    for path in [*_gone(removed), *sorted(marks)]:
        with suppress(NoEntry):
            await transaction.remove(f"{project}/{path}")
    for key, value in changes.items():
        if value is None:
            continue
        for name, content in files(key, value).items():
            path = f"{project}/{directory(key)}/{name}"
            if content is not None:
                await transaction.write(path, content)
            elif await transaction.entry(path) is not None:
                await transaction.remove(path)


_NAMES: Mapping[str, Sequence[str]] = {
    "CommentKey": ("id", "user", "body"),
    "RefKey": ("head",),
    "StatusKey": ("state", "description", "target_url"),
}


def _gone(removed: Mapping[Key, object]) -> list[str]:
    """The paths to remove: files, since a branch ``a`` may go when there is a branch ``a/b``."""
    paths = []
    for key in removed:
        if isinstance(key, PullKey):  # and all that is said there
            paths.append(directory(key))
        else:
            paths += [f"{directory(key)}/{name}" for name in _NAMES[type(key).__name__]]
    return paths


async def monitored(database: Database, head: CommitId | None) -> frozenset[str]:
    """The repositories that a commit asks to be watched: those with a file ``.monitor``."""
    if head is None:
        return frozenset()
    root = (await database.commit(head)).tree
    found = set()
    for user, users in (await database.tree(root)).items():
        if not users.is_directory:
            continue
        for repository, entry in (await database.tree(TreeId(users.id))).items():
            if entry.is_directory and ".monitor" in await database.tree(TreeId(entry.id)):
                found.add(f"{user}/{repository}")
    return frozenset(found)
