"""The text of ``diff`` files, and the directories that hold one for every commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from datakit_core.store import Change, CommitId, Store, TreeId, parse_id
from datakit_core.store.steps import Steps
from datakit_core.vfs import Answer, DynamicDirectory, TextFile, inode_of

__all__ = ["diff_directory", "diff_text"]

_STEP = 512
"""Lines that are written in one step."""


def diff_text(changes: Iterable[Change]) -> Steps[bytes]:
    """One line for each path: ``+``, ``-`` or ``*``, a space, the path."""
    lines = []
    for change in changes:
        lines.append(f"{change.kind.value} {change.path}\n")
        if not len(lines) % _STEP:
            yield
    return "".join(lines).encode(errors="surrogateescape")


def diff_directory(
    store: Store, inode: int, diff_from: Callable[[TreeId], Answer[bytes]]
) -> DynamicDirectory:
    """The directory ``diff``: its file COMMIT says what differs from that commit's tree.

    Args:
        store: Where to look for the commit.
        inode: Of the directory.
        diff_from: The text for a commit's tree, made when somebody reads it.
    """

    def lookup(name: str) -> TextFile:
        tree = store.commit(CommitId(parse_id(name))).tree
        return TextFile(name, lambda: diff_from(tree), inode=inode_of(inode, name))

    return DynamicDirectory("diff", lookup, inode=inode)
