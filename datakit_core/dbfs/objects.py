"""``/trees`` and ``/.datakit``: objects by their ids, wherever they are used.

They never change, so a client may keep what it has read for ever.
"""

from __future__ import annotations

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

__all__ = ["raw_objects_directory", "trees_directory"]


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


def raw_objects_directory(view: View) -> Layout:
    """``tree/ID``, ``blob/ID`` and ``commit/ID``: objects as Git has them, without a header."""

    def kind_directory(kind: ObjectKind) -> DynamicDirectory:
        def lookup(name: str) -> Node:
            wanted = parse_id(name)
            if view.store.kind(wanted) is not kind:
                raise NoEntry
            inode = inode_of("raw", wanted)
            return TextFile(name, lambda: view.store.raw(wanted), inode=inode, version=1)

        return DynamicDirectory(kind.value, lookup, inode=inode_of("raw", kind.value))

    kinds = (ObjectKind.TREE, ObjectKind.BLOB, ObjectKind.COMMIT)
    children = {kind.value: lambda kind=kind: kind_directory(kind) for kind in kinds}
    return Layout(".datakit", children, inode_of("raw"))
