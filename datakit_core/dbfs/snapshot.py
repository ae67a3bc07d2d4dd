"""``/snapshots`` and ``/commits``: what a commit says, and the tree that it holds."""

from __future__ import annotations

import json

from datakit_core.dbfs.diff import diff_directory, diff_text
from datakit_core.dbfs.layout import Layout
from datakit_core.dbfs.tree import TreeDirectory
from datakit_core.dbfs.view import View
from datakit_core.store import Commit, CommitId, Signature, TreeId, parse_id
from datakit_core.store.slices import in_slices
from datakit_core.vfs import DynamicDirectory, Node, TextFile, inode_of

__all__ = ["commits_directory", "snapshots_directory"]


def snapshots_directory(view: View) -> DynamicDirectory:
    """A directory for every commit there is; it lists none of them."""

    def lookup(name: str) -> Node:
        return _snapshot(view, view.store.commit(CommitId(parse_id(name))))

    return DynamicDirectory("snapshots", lookup, inode=inode_of("snapshots"))


def commits_directory(view: View) -> DynamicDirectory:
    """A JSON file for every commit there is; it lists none of them."""

    def lookup(name: str) -> Node:
        commit = view.store.commit(CommitId(parse_id(name)))
        inode = inode_of("commits", commit.id)
        return TextFile(name, lambda: _commit_json(commit), inode=inode, version=1)

    return DynamicDirectory("commits", lookup, inode=inode_of("commits"))


def _snapshot(view: View, commit: Commit) -> Layout:
    inode = inode_of("snapshots", commit.id)
    parents = "".join(f"{parent}\n" for parent in commit.parents)

    def file(name: str, text: str) -> TextFile:
        content = text.encode(errors="surrogateescape")
        return TextFile(name, content, inode=inode_of(inode, name), version=1)

    def tree() -> TreeDirectory:
        return TreeDirectory(view.fixed_tree(commit.tree, inode_of(inode, "ro")))

    def differences() -> DynamicDirectory:
        async def diff_from(old: TreeId) -> bytes:
            changes = await view.store.diff_in_slices(old, commit.tree)
            return await in_slices(diff_text(changes))

        return diff_directory(view.store, inode_of(inode, "diff"), diff_from)

    return Layout(
        commit.id,
        {
            "ro": tree,
            "hash": lambda: file("hash", commit.id),
            "msg": lambda: file("msg", f"{commit.message}\n"),
            "parents": lambda: file("parents", parents),
            "diff": differences,
        },
        inode,
    )


def _commit_json(commit: Commit) -> bytes:
    value = {
        "author": _person(commit.author),
        "committer": _person(commit.committer),
        "id": commit.id,
        "message": _printable(commit.message),
        "parents": list(commit.parents),
        "tree": commit.tree,
        "version": 1,
    }
    return json.dumps(value, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def _person(who: Signature) -> dict[str, str | int]:
    return {
        "email": _printable(who.email),
        "name": _printable(who.name),
        "offset": who.offset,
        "time": who.time,
    }


def _printable(text: str) -> str:
    """JSON is Unicode; bytes that are not become replacement characters."""
    return text.encode(errors="surrogateescape").decode(errors="replace")
