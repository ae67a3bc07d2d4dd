"""Three-way merge of trees, path by path.

A pure function over tree ids with a callback that reads a tree; equal subtrees are never read.
The unit is a file: its content and its mode together. Each path is judged by itself:

- equal on both sides, or changed on one side only (deleting is a change): that is taken;
- changed on both sides, differently: a conflict.

A directory has no being of its own: it is the files below it. A path can therefore turn out to be
a file by one side and a directory by the other; that is a conflict of the path. The rules and the
texts of the reasons are those of the original DataKit, and part of the 9P interface.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from datakit_core.errors import StoreError
from datakit_core.store.diff import TreeReader, TreeSteps, stepping
from datakit_core.store.names import join
from datakit_core.store.objects import (
    EMPTY_TREE,
    Entry,
    FileMode,
    NewObject,
    ObjectKind,
    Tree,
    TreeId,
    encode_tree_steps,
    new_object,
)
from datakit_core.store.steps import Steps, at_once

__all__ = ["Merge", "Reason", "conflict_file", "merge", "merge_steps"]

_MAX_DEPTH = 300
"""Directories below one another that a merge follows; each takes two frames of Python's stack."""

_EMPTY: Tree = {}
_STEP = 128
"""Names of a directory that are looked at in one step."""


class Reason(enum.Enum):
    """Why a path could not be merged; the value is the text that is shown."""

    BOTH_CHANGED = "Changed on both branches"
    CHANGED_AND_DELETED = "option: add/del"
    ADDED_TWICE = "default: add/add and no common ancestor"
    FILE_AND_DIRECTORY = "File vs dir"


@dataclass(frozen=True, slots=True)
class Merge:
    """The outcome of a merge.

    Attributes:
        tree: The merged tree; a path in conflict holds :func:`conflict_file`.
        objects: What has to be written for it: directories, and the conflict files.
        conflicts: Path to reason, sorted by the bytes of the paths; empty when the merge is clean.
    """

    tree: TreeId
    objects: tuple[NewObject, ...]
    conflicts: Mapping[str, Reason]


def conflict_file(reason: Reason) -> bytes:
    """The content that stands where a path is in conflict."""
    return f"** Conflict **\n{reason.value}\n".encode()


def merge(read: TreeReader, base: TreeId | None, ours: TreeId, theirs: TreeId) -> Merge:
    """Merge the changes from ``base`` to ``ours`` and from ``base`` to ``theirs``.

    Args:
        read: Reads a tree, with its submodules: they are merged as files are.
        base: The tree of the best common ancestor; none if there is none.
        ours: One side.
        theirs: The other; swapping the sides gives the same outcome.

    Raises:
        StoreError: The trees are too deep.
    """
    return at_once(merge_steps(stepping(read), base, ours, theirs))


def merge_steps(read: TreeSteps, base: TreeId | None, ours: TreeId, theirs: TreeId) -> Steps[Merge]:
    """As :func:`merge`, in steps."""
    merger = _Merger(read)
    tree = yield from merger.directories("", base, ours, theirs, 0)
    yield
    conflicts = yield from _sorted(merger.conflicts)
    return Merge(tree or EMPTY_TREE, tuple(merger.objects.values()), conflicts)


def _sorted(conflicts: Mapping[str, Reason]) -> Steps[Mapping[str, Reason]]:
    rows: list[tuple[bytes, str]] = []
    for path in conflicts:
        rows.append((path.encode(errors="surrogateescape"), path))
        if not len(rows) % _STEP:
            yield
    rows.sort()
    return {path: conflicts[path] for _, path in rows}


@dataclass(slots=True)
class _Merger:
    read: TreeSteps
    objects: dict[str, NewObject] = field(default_factory=dict)
    conflicts: dict[str, Reason] = field(default_factory=dict)

    def directories(
        self, path: str, base: TreeId | None, ours: TreeId | None, theirs: TreeId | None, depth: int
    ) -> Steps[TreeId | None]:
        """Merge three directories, of which any may be absent; none if nothing is left."""
        if ours == theirs or theirs == base:
            return ours
        if ours == base:
            return theirs
        if depth > _MAX_DEPTH:
            raise StoreError(f"cannot merge trees that are deeper than {_MAX_DEPTH} directories")
        before = (yield from self.read(base)) if base else _EMPTY
        our = (yield from self.read(ours)) if ours else _EMPTY
        their = (yield from self.read(theirs)) if theirs else _EMPTY
        merged: dict[str, Entry] = {}
        for number, name in enumerate(dict.fromkeys((*our, *their))):
            if not number % _STEP:
                yield
            sides = before.get(name), our.get(name), their.get(name)
            entry = yield from self._entry(join(path, name), *sides, depth)
            if entry is not None:
                merged[name] = entry
        return (yield from self._keep_tree(merged))

    def _entry(
        self, path: str, base: Entry | None, ours: Entry | None, theirs: Entry | None, depth: int
    ) -> Steps[Entry | None]:
        if ours == theirs or theirs == base:
            return ours
        if ours == base:
            return theirs
        file, reason = _merge_files(_file(base), _file(ours), _file(theirs))
        known = len(self.conflicts)
        tree = yield from self.directories(path, _tree(base), _tree(ours), _tree(theirs), depth + 1)
        if tree is None:
            return file if reason is None else self._conflict(path, reason)
        if file is None and reason is None:
            return Entry(FileMode.DIRECTORY, tree)
        while len(self.conflicts) > known:  # those below the path
            self.conflicts.popitem()
        return self._conflict(path, Reason.FILE_AND_DIRECTORY)

    def _conflict(self, path: str, reason: Reason) -> Entry:
        self.conflicts[path] = reason
        blob = new_object(ObjectKind.BLOB, conflict_file(reason))
        self.objects[blob.id] = blob
        return Entry(FileMode.NORMAL, blob.id)

    def _keep_tree(self, entries: Mapping[str, Entry]) -> Steps[TreeId | None]:
        if not entries:
            return None
        tree = new_object(ObjectKind.TREE, (yield from encode_tree_steps(entries)))
        self.objects[tree.id] = tree
        return TreeId(tree.id)


def _merge_files(
    base: Entry | None, ours: Entry | None, theirs: Entry | None
) -> tuple[Entry | None, Reason | None]:
    """The merged file, or why there is none."""
    if ours == theirs or theirs == base:
        return ours, None
    if ours == base:
        return theirs, None
    if ours is None or theirs is None:
        return None, Reason.CHANGED_AND_DELETED
    return None, Reason.ADDED_TWICE if base is None else Reason.BOTH_CHANGED


def _file(entry: Entry | None) -> Entry | None:
    return None if entry is None or entry.is_directory else entry


def _tree(entry: Entry | None) -> TreeId | None:
    return TreeId(entry.id) if entry is not None and entry.is_directory else None
