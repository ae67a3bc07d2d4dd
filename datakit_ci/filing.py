"""Filing: giving files of a branch the contents that they ought to have.

Only what differs is written. A new directory that is like one beside it is put there as that one:
what is said of a new commit is mostly what was said of the one before, in hundreds of files.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import cached_property

from datakit_ci.memory import MemoryTrees
from datakit_core.client.api import CommitId, Database, Entry, FileMode, ObjectId, Tree, TreeId
from datakit_core.errors import MergeConflict, NotFastForward
from datakit_core.store.objects import EMPTY_TREE, ObjectKind, new_object

__all__ = ["Folder", "blob_id", "write_files"]

_MANY = 20
"""Files of a new directory from which on it is compared with those beside it."""


async def write_files(
    database: Database,
    branch: str,
    files: Mapping[str, bytes | None],
    message: str,
    extra: Mapping[str, bytes] | None = None,
    folders: Mapping[str, Folder] | None = None,
) -> CommitId | None:
    """Make ``files`` have these contents in ``branch``.

    On a lost race the differences are looked at again, so a writer who said the same thing first
    leaves nothing to be done.

    Args:
        database: Where the branch is.
        branch: The branch; made if absent.
        files: Contents by path; none where a file has to be absent.
        message: For the commit.
        extra: Files that are written too if a commit is needed, but are no reason for one.
        folders: More files, by the directory that they are in. One that looks like it already, or
            that is new and like one beside it, costs nothing for each file.

    Returns:
        The commit; none if they had these contents already.
    """
    while True:
        async with database.transaction(branch) as transaction:
            base = transaction.base
            root = EMPTY_TREE if base is None else (await database.commit(base)).tree
            present = _Present(database, root)
            grafts, more = await _folded(present, folders or {})
            changed = await _differing(present, {**files, **more} if more else files)
            if not changed and not grafts:
                return None
            copies, rest = await _copies(present, changed)
            copies = {**copies, **grafts}
            for path, entry in copies.items():
                await transaction.graft(path, entry)
            for path, data in {**rest, **(extra or {})}.items():
                if data is None:
                    await transaction.remove(path)
                else:
                    await transaction.write(path, data)
            try:
                return await transaction.commit(message)
            except (MergeConflict, NotFastForward):
                continue


def blob_id(data: bytes) -> ObjectId:
    """The id of a file with this content."""
    return new_object(ObjectKind.BLOB, data).id


class Folder:
    """The files of a directory, to be used again and again.

    Attributes:
        files: Contents by path in the directory; none where a file has to be absent.
    """

    def __init__(self, files: Mapping[str, bytes | None]) -> None:
        """These files."""
        self.files = files

    @cached_property
    def entry(self) -> Entry:
        """The directory with these files and no others."""
        present = {path: data for path, data in self.files.items() if data is not None}
        return Entry(FileMode.DIRECTORY, MemoryTrees().add(present))


class _Present:
    """What there is below a tree; each directory is read once."""

    def __init__(self, database: Database, root: TreeId) -> None:
        self._database = database
        self._root = root
        self._trees: dict[str, Tree] = {}
        self._missing: dict[str, str] = {"": ""}

    async def directory(self, path: str) -> Tree:
        """What is in a directory; empty if there is none."""
        if path not in self._trees:
            self._trees[path] = await self._read(path)
        return self._trees[path]

    async def missing(self, path: str) -> str:
        """The first directory on the way to the directory ``path`` that is not there, or empty.

        Where a file is in the way, nothing is missing: what is written there has to fail.
        """
        if path not in self._missing:
            above, _, name = path.rpartition("/")
            found = await self.missing(above)
            is_there = found or name in await self.directory(above)
            self._missing[path] = found if is_there else path
        return self._missing[path]

    async def _read(self, path: str) -> Tree:
        if not path:
            return await self._database.tree(self._root)
        above, _, name = path.rpartition("/")
        entry = (await self.directory(above)).get(name)
        if entry is None or not entry.is_directory:
            return {}
        return await self._database.tree(TreeId(entry.id))


async def _folded(
    present: _Present, folders: Mapping[str, Folder]
) -> tuple[Mapping[str, Entry], Mapping[str, bytes | None]]:
    """New directories that are like one beside them, and the files of others that differ."""
    grafts: dict[str, Entry] = {}
    rest: dict[str, bytes | None] = {}
    for directory, folder in folders.items():
        above, _, name = directory.rpartition("/")
        beside = await present.directory(above)
        if name not in beside and folder.entry in beside.values():
            grafts[directory] = folder.entry
        elif beside.get(name) != folder.entry:
            rest |= {f"{directory}/{path}": data for path, data in folder.files.items()}
    return grafts, rest


async def _differing(
    present: _Present, files: Mapping[str, bytes | None]
) -> Mapping[str, bytes | None]:
    """Those of ``files`` that have other contents now; ids are compared, so no content is read."""
    changed: dict[str, bytes | None] = {}
    ids = {data: blob_id(data) for data in set(files.values()) if data is not None}
    for path, data in files.items():
        above, _, name = path.rpartition("/")
        entry = (await present.directory(above)).get(name)
        wanted = None if data is None else ids[data]
        if wanted != (None if entry is None else entry.id):
            changed[path] = data
    return changed


async def _copies(
    present: _Present, changed: Mapping[str, bytes | None]
) -> tuple[Mapping[str, Entry], Mapping[str, bytes | None]]:
    """New directories that are like one beside them, and what has to be written one by one.

    Only trees of the branch itself are used: they are stored, and stay.
    """
    rest = dict(changed)
    new = defaultdict[str, dict[str, bytes | str]](dict)
    for path, data in changed.items():
        directory = await present.missing(path.rpartition("/")[0])
        if directory and data is not None:
            new[directory][path[len(directory) + 1 :]] = data
    copies: dict[str, Entry] = {}
    for directory, files in new.items():
        beside = (await present.directory(directory.rpartition("/")[0])).values()
        if len(files) < _MANY or not beside:
            continue
        made = Entry(FileMode.DIRECTORY, MemoryTrees().add(files))
        if made in beside:
            copies[directory] = made
            for path in files:
                del rest[f"{directory}/{path}"]
    return copies, rest
