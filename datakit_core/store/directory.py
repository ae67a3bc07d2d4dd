"""A directory of this machine, stored as a tree."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pygit2
from pygit2.enums import ObjectType

from datakit_core.errors import IoFailed
from datakit_core.store.disk import sync_file_system
from datakit_core.store.names import check_path, join
from datakit_core.store.objects import (
    EMPTY_TREE,
    Entry,
    FileMode,
    ObjectId,
    TreeId,
    encode_tree,
)

__all__ = ["import_directory"]


def import_directory(repository: pygit2.Repository, path: Path) -> TreeId:
    """Store the files below ``path``: contents, links (not followed), executable bits.

    Left out are empty directories, sockets and the like, and everything called ``.git``: a
    checkout's own Git data is not its content.

    Raises:
        IoFailed: Something could not be read; named by its path below ``path``.
        InvalidArgument: A name is not allowed in a tree.
    """
    entry = _directory(repository, path, "")
    if entry is None:
        repository.odb.write(ObjectType.TREE, b"")
    # Thousands of files, to which nothing refers yet: one sync for all of them.
    sync_file_system(repository.path)
    return EMPTY_TREE if entry is None else TreeId(entry.id)


def _directory(repository: pygit2.Repository, directory: Path, shown: str) -> Entry | None:
    entries: dict[str, Entry] = {}
    with _naming(shown or "the directory"), os.scandir(directory) as found:
        children = [child for child in found if child.name != ".git"]
    for child in children:
        path = join(shown, child.name)
        check_path(path)
        entry = _child(repository, child, path)
        if entry is not None:
            entries[child.name] = entry
    if not entries:
        return None
    tree = repository.odb.write(ObjectType.TREE, encode_tree(entries))
    return Entry(FileMode.DIRECTORY, ObjectId(str(tree)))


def _child(repository: pygit2.Repository, child: os.DirEntry[str], shown: str) -> Entry | None:
    with _naming(shown):
        status = child.stat(follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            return _directory(repository, Path(child.path), shown)
        if stat.S_ISLNK(status.st_mode):
            target = os.readlink(os.fsencode(child.path))  # noqa: PTH115  # its bytes, not a path
            link = repository.odb.write(ObjectType.BLOB, target)
            return Entry(FileMode.LINK, ObjectId(str(link)))
        if not stat.S_ISREG(status.st_mode):
            return None
        # Streamed, and past Git's filters, which would change line ends.
        with io.FileIO(child.path) as file:
            blob = repository.create_blob_fromiobase(file)
        mode = FileMode.EXECUTABLE if status.st_mode & 0o100 else FileMode.NORMAL
        return Entry(mode, ObjectId(str(blob)))


@contextmanager
def _naming(shown: str) -> Iterator[None]:
    """Say which file could not be read, by its path inside the imported directory."""
    try:
        yield
    except OSError as error:
        raise IoFailed(f"cannot read {shown}: {error.strerror}") from error
