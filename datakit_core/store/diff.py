"""What differs between two trees: recursion that skips equal ids.

The cost follows the change and not the size of the repository: two directories with one id are
never read. (libgit2's own diff reads every file name of both trees.)
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import TypeAlias

from datakit_core.store.names import join
from datakit_core.store.objects import Entry, Tree, TreeId
from datakit_core.store.steps import Steps, at_once

__all__ = [
    "Change",
    "ChangeKind",
    "TreeReader",
    "TreeSteps",
    "changed_names",
    "diff",
    "diff_steps",
    "stepping",
]

TreeReader: TypeAlias = Callable[[TreeId], Tree]
"""Reads one directory; raises ``UnknownObject``."""

TreeSteps: TypeAlias = Callable[[TreeId], Steps[Tree]]
"""Reads one directory in steps."""

_EMPTY: Tree = {}
_STEP = 256
"""Changed names in one step."""


class ChangeKind(enum.Enum):
    """How a path differs between two trees; the value is its mark in ``diff`` files."""

    ADDED = "+"
    REMOVED = "-"
    MODIFIED = "*"


@dataclass(frozen=True, slots=True)
class Change:
    """One path that differs between two trees. Only files and links are listed."""

    kind: ChangeKind
    path: str


def diff(read: TreeReader, old: TreeId | None, new: TreeId | None) -> list[Change]:
    """The files that differ from ``old`` to ``new``, sorted by the bytes of their paths.

    A changed mode is a change. A file that became a directory is removed, and what is in the
    directory is added.

    Args:
        read: Reads a tree.
        old: The former tree; none is an empty one.
        new: The present tree; none is an empty one.
    """
    return at_once(diff_steps(stepping(read), old, new))


def diff_steps(read: TreeSteps, old: TreeId | None, new: TreeId | None) -> Steps[list[Change]]:
    """As :func:`diff`, in steps."""
    changes: list[tuple[bytes, Change]] = []
    # A list of what is left to compare, and not recursion: trees that were pushed by others may
    # be deeper than Python's stack.
    left: list[tuple[str, TreeId | None, TreeId | None]] = [("", old, new)]
    while left:
        directory, old, new = left.pop()
        if old == new:
            continue
        before_tree = (yield from read(old)) if old else _EMPTY
        after_tree = (yield from read(new)) if new else _EMPTY
        for name, before, after in changed_names(before_tree, after_tree):
            path = join(directory, name)
            before_id, after_id = _tree_of(before), _tree_of(after)
            if before_id or after_id:
                left.append((path, before_id, after_id))
            kind = _file_change(before, after)
            if kind is not None:
                changes.append((path.encode(errors="surrogateescape"), Change(kind, path)))
                if not len(changes) % _STEP:
                    yield
    changes.sort(key=itemgetter(0))
    yield
    return [change for _, change in changes]


def stepping(read: TreeReader) -> TreeSteps:
    """A reader that takes one step for each directory."""

    def steps(tree: TreeId) -> Steps[Tree]:
        yield
        return read(tree)

    return steps


def changed_names(old: Tree, new: Tree) -> Iterator[tuple[str, Entry | None, Entry | None]]:
    """The names of one directory whose entries differ, with both entries."""
    for name, after in new.items():
        before = old.get(name)
        if before != after:
            yield name, before, after
    for name, before in old.items():
        if name not in new:
            yield name, before, None


def _tree_of(entry: Entry | None) -> TreeId | None:
    return TreeId(entry.id) if entry is not None and entry.is_directory else None


def _file_change(before: Entry | None, after: Entry | None) -> ChangeKind | None:
    """What became of the file at a path, if there is or was one."""
    was = before is not None and not before.is_directory
    now = after is not None and not after.is_directory
    match was, now:
        case True, True:
            return ChangeKind.MODIFIED
        case True, False:
            return ChangeKind.REMOVED
        case False, True:
            return ChangeKind.ADDED
        case _:
            return None
