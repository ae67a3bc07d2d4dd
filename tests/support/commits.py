"""Commits made in a line, for tests of the store."""

from __future__ import annotations

from datakit_core.store import CommitId, Store

__all__ = ["commit", "files_of"]


async def commit(store: Store, branch: str, **files: bytes | None) -> CommitId:
    """Commit ``files`` to ``branch``; none removes one, two underscores stand for a slash."""
    transaction = store.transaction(branch)
    for name, content in files.items():
        path = name.replace("__", "/")
        if content is None:
            transaction.tree.remove(path)
        else:
            transaction.tree.put(path, content)
    transaction.message = f"change {', '.join(files)}\n"
    return await transaction.commit()


def files_of(store: Store, commit: CommitId) -> dict[str, bytes]:
    """The contents of a commit's tree by path."""
    overlay = store.overlay(store.commit(commit).tree)
    return {
        change.path: overlay.read(change.path)
        for change in store.diff(None, store.commit(commit).tree)
    }
