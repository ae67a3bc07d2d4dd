"""What differs between two trees: recursion that skips equal ids.

The cost follows the change and not the size of the repository: two directories with one id are
never read. (libgit2's own diff reads every file name of both trees.)
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from datakit_core.store.names import join
from datakit_core.store.objects import Entry, Tree, TreeId

__all__ = ["Change", "ChangeKind", "TreeReader", "changed_names", "diff"]

TreeReader: TypeAlias = Callable[[TreeId], Tree]
"""Reads one directory; raises ``UnknownObject``."""

_EMPTY: Tree = {}


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
    changes = list(_walk(read, old, new))
    changes.sort(key=lambda change: change.path.encode(errors="surrogateescape"))
    return changes


def changed_names(old: Tree, new: Tree) -> Iterator[tuple[str, Entry | None, Entry | None]]:
    """The names of one directory whose entries differ, with both entries."""
    for name, after in new.items():
        before = old.get(name)
        if before != after:
            yield name, before, after
    for name, before in old.items():
        if name not in new:
            yield name, before, None


def _walk(read: TreeReader, old: TreeId | None, new: TreeId | None) -> Iterator[Change]:
    # A list of what is left to compare, and not recursion: trees that were pushed by others may
    # be deeper than Python's stack.
    left: list[tuple[str, TreeId | None, TreeId | None]] = [("", old, new)]
    while left:
        directory, old, new = left.pop()
        if old == new:
            continue
        before_tree = read(old) if old else _EMPTY
        after_tree = read(new) if new else _EMPTY
        for name, before, after in changed_names(before_tree, after_tree):
            path = join(directory, name)
            before_id, after_id = _tree_of(before), _tree_of(after)
            if before_id or after_id:
                left.append((path, before_id, after_id))
            yield from _file_change(path, before, after)


def _tree_of(entry: Entry | None) -> TreeId | None:
    return TreeId(entry.id) if entry is not None and entry.is_directory else None


def _file_change(path: str, before: Entry | None, after: Entry | None) -> Iterator[Change]:
    was = before is not None and not before.is_directory
    now = after is not None and not after.is_directory
    match was, now:
        case True, True:
            yield Change(ChangeKind.MODIFIED, path)
        case True, False:
            yield Change(ChangeKind.REMOVED, path)
        case False, True:
            yield Change(ChangeKind.ADDED, path)
        case _:
            return
