"""``/trees`` and ``/.datakit``: objects by their ids, wherever they are used.

They never change, so a client may keep what it has read for ever. ``/.datakit`` is for programs;
besides the objects it has all heads in one file, since reading 10,000 of them one by one takes
a while.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from datakit_core.dbfs.layout import Layout
from datakit_core.dbfs.tree import BlobFile, TreeDirectory
from datakit_core.dbfs.view import View
from datakit_core.errors import InvalidHash, NoEntry
from datakit_core.store import (
    EMPTY_TREE,
    Entry,
    FileMode,
    ObjectKind,
    TreeId,
    parse_id,
)
from datakit_core.vfs import DynamicDirectory, Node, TextFile, inode_of

__all__ = ["programs_directory", "trees_directory"]


def trees_directory(view: View) -> DynamicDirectory:
    """``D-<id>``, ``F-<id>``, ``X-<id>``, ``L-<id>``, as watches write them; lists none."""

    def lookup(name: str) -> Node:
        letter, _, digits = name.partition("-")
        mode = FileMode.from_letter(letter)
        if mode is None:
            raise NoEntry
        try:
            entry = Entry(mode, parse_id(digits))
        except InvalidHash:
            raise NoEntry from None
        wanted = ObjectKind.TREE if entry.is_directory else ObjectKind.BLOB
        if entry.id != EMPTY_TREE and view.store.kind(entry.id) is not wanted:
            raise NoEntry
        origin = view.fixed_tree(TreeId(entry.id), inode_of("trees", name))
        return TreeDirectory(origin) if entry.is_directory else BlobFile(origin, entry, name)

    return DynamicDirectory("trees", lookup, inode=inode_of("trees"))


def programs_directory(view: View) -> Layout:
    """``tree/ID``, ``blob/ID`` and ``commit/ID``: objects without Git's header; and ``heads``."""
    children: dict[str, Callable[[], Node]] = {
        kind.value: functools.partial(_raw_objects_directory, view, kind)
        for kind in (ObjectKind.TREE, ObjectKind.BLOB, ObjectKind.COMMIT)
    }
    children["heads"] = lambda: TextFile("heads", lambda: _heads(view), inode=inode_of("heads"))
    return Layout(".datakit", children, inode_of("raw"))


def _raw_objects_directory(view: View, kind: ObjectKind) -> DynamicDirectory:
    def lookup(name: str) -> Node:
        wanted = parse_id(name)
        if view.store.kind(wanted) is not kind:
            raise NoEntry
        inode = inode_of("raw", wanted)
        if kind is ObjectKind.BLOB:
            origin = view.fixed_tree(TreeId(wanted), inode)
            return BlobFile(origin, Entry(FileMode.NORMAL, wanted), name)
        return TextFile(name, lambda: view.store.raw(wanted), inode=inode, version=1)

    return DynamicDirectory(kind.value, lookup, inode=inode_of("raw", kind.value))


def _heads(view: View) -> bytes:
    """A line for each branch that has one: the head, a space, the name."""
    return "".join(f"{head} {name}\n" for name, head in sorted(view.heads().items())).encode(
        errors="surrogateescape"
    )
