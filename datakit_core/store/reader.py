"""Reading objects: one long-lived repository handle, and small caches of decoded values.

Reads are synchronous. A look-up takes microseconds once libgit2 has the tree in its cache, and a
small blob tens of microseconds, which is less than handing the work to another thread would cost.
Objects never change, so nothing here is ever invalidated; an object that another process wrote
or repacked is found because libgit2 looks again on a miss.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import pygit2
from pygit2.enums import ObjectType

from datakit_core.errors import StoreError, TooLarge, UnknownObject
from datakit_core.store.names import split_path
from datakit_core.store.objects import (
    EMPTY_TREE,
    BlobId,
    Commit,
    CommitId,
    Entry,
    FileMode,
    ObjectId,
    ObjectKind,
    Tree,
    TreeId,
    decode_commit,
    decode_whole_tree_steps,
    served,
    served_mode,
)
from datakit_core.store.repository import open_repository
from datakit_core.store.steps import Steps, at_once

__all__ = ["MAX_BLOB", "ObjectReader", "Reader", "open_reader"]

MAX_BLOB = 1 << 30
"""Bytes of a blob that may be read into memory at once."""

_TREE_CACHE = 64 << 20
"""Bytes; libgit2 caches no tree above 4096 bytes unless told to, and parses it on each use."""

_LARGE_TREE = 64 << 10
"""Bytes of a tree object, of some 1,500 entries, above which it is decoded in steps."""

_DECODED_ENTRIES = 200_000
_DECODED_COMMITS = 10_000
_FOUND_ENTRIES = 10_000

_KINDS = {
    ObjectType.BLOB: ObjectKind.BLOB,
    ObjectType.TREE: ObjectKind.TREE,
    ObjectType.COMMIT: ObjectKind.COMMIT,
}

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ObjectReader(Protocol):
    """What overlays and merges need of a store: objects by id."""

    def tree(self, tree: TreeId) -> Tree:
        """Read one directory; raises ``UnknownObject``."""
        ...

    def whole_tree(self, tree: TreeId) -> Tree:
        """As :meth:`tree`, with the submodules, which are not served."""
        ...

    def blob(self, blob: BlobId) -> bytes:
        """Read a whole blob; raises ``UnknownObject`` or ``TooLarge``."""
        ...

    def size(self, blob: BlobId) -> int:
        """A blob's length in bytes, without reading it."""
        ...

    def kind(self, object_id: ObjectId) -> ObjectKind | None:
        """What sort of object it is; none if absent."""
        ...

    def entry(self, tree: TreeId, path: str) -> Entry | None:
        """What is at ``path``; none if absent."""
        ...


class Reader:
    """Objects of one repository.

    Every method raises ``UnknownObject`` for an id that is not there or is of another kind, and
    ``StoreError`` for a damaged object.
    """

    def __init__(self, repository: pygit2.Repository) -> None:
        """Read from ``repository``, which nobody else may use meanwhile."""
        pygit2.settings.cache_object_limit(ObjectType.TREE, _TREE_CACHE)
        self._repository = repository
        # Each with its part that is served, which is nearly always all of it.
        self._trees = _Cache[TreeId, tuple[Tree, Tree]](_DECODED_ENTRIES, _weigh)
        self._commits = _Cache[CommitId, Commit](_DECODED_COMMITS, lambda _: 1)
        self._entries = _Cache[tuple[TreeId, str], Entry](_FOUND_ENTRIES, lambda _: 1)

    def commit(self, commit: CommitId) -> Commit:
        """Read a commit."""
        value = self._commits.get(commit)
        if value is None:
            value = decode_commit(commit, self._read(commit, ObjectKind.COMMIT))
            self._commits.put(commit, value)
        return value

    def tree(self, tree: TreeId) -> Tree:
        """Read one directory, without its submodules; the empty tree need not exist."""
        return at_once(self.tree_steps(tree))

    def whole_tree(self, tree: TreeId) -> Tree:
        """As :meth:`tree`, with the submodules: for making another tree of it."""
        return at_once(self.whole_tree_steps(tree))

    def tree_steps(self, tree: TreeId) -> Steps[Tree]:
        """As :meth:`tree`, in steps: decoding 100,000 names takes a tenth of a second."""
        return (yield from self._decoded(tree))[1]

    def whole_tree_steps(self, tree: TreeId) -> Steps[Tree]:
        """As :meth:`whole_tree`, in steps."""
        return (yield from self._decoded(tree))[0]

    def _decoded(self, tree: TreeId) -> Steps[tuple[Tree, Tree]]:
        value = self._trees.get(tree)
        if value is None:
            data = b"" if tree == EMPTY_TREE else self._read(tree, ObjectKind.TREE)
            whole = yield from decode_whole_tree_steps(data)
            value = whole, served(whole)
            self._trees.put(tree, value)
        return value

    def at_hand(self, tree: TreeId) -> bool:
        """Whether :meth:`tree` takes no longer than a few milliseconds."""
        if tree == EMPTY_TREE or self._trees.get(tree) is not None:
            return True
        return self._header(tree)[1] <= _LARGE_TREE

    def blob(self, blob: BlobId) -> bytes:
        """Read a whole blob.

        Raises:
            TooLarge: It has more than :data:`MAX_BLOB` bytes.
        """
        if self.size(blob) > MAX_BLOB:
            raise TooLarge
        return self._read(blob, ObjectKind.BLOB)

    def size(self, blob: BlobId) -> int:
        """A blob's length in bytes; does not read the blob."""
        kind, size = self._header(blob)
        if kind is not ObjectType.BLOB:
            raise UnknownObject(f"no blob {blob}")
        return size

    def kind(self, object_id: ObjectId) -> ObjectKind | None:
        """What sort of object it is; none if absent, or a tag."""
        if object_id == EMPTY_TREE:
            return ObjectKind.TREE
        try:
            return _KINDS.get(self._header(object_id)[0])
        except UnknownObject:
            return None

    def raw(self, object_id: ObjectId) -> bytes:
        """An object's content without Git's header, whatever its kind."""
        if object_id == EMPTY_TREE:
            return b""
        return self._read(object_id, None)

    def entry(self, tree: TreeId, path: str) -> Entry | None:
        """What is at ``path`` below ``tree``; the empty path is the tree itself.

        None also where a file stands in the way, or where Git has something that is not served.
        """
        if not path:
            return Entry(FileMode.DIRECTORY, tree)
        at: TreeId | None = tree
        entry: Entry | None = None
        for part in split_path(path):
            if at is None:
                return None
            entry = self._look_up(at, part)
            at = TreeId(entry.id) if entry is not None and entry.is_directory else None
        return entry

    def _look_up(self, tree: TreeId, name: str) -> Entry | None:
        """One name of a directory, without decoding all the others."""
        known = self._trees.get(tree)
        if known is not None or tree == EMPTY_TREE:
            return known[1].get(name) if known is not None else None
        entry = self._entries.get((tree, name))
        if entry is None:
            entry = self._read_entry(tree, name)
            if entry is not None:
                self._entries.put((tree, name), entry)
        return entry

    def _read_entry(self, tree: TreeId, name: str) -> Entry | None:
        with _translated(tree, "tree"):
            found = self._repository[tree]
        if not isinstance(found, pygit2.Tree):
            raise UnknownObject(f"no tree {tree}")
        try:
            child = found[name]
        except KeyError:
            return None
        mode = served_mode(int(child.filemode))
        return None if mode is None else Entry(mode, ObjectId(str(child.id)))

    async def reopen(self) -> None:
        """Let go of packs that were removed: they take their place until nobody reads them."""
        fresh = await asyncio.to_thread(open_repository, Path(self._repository.path))
        old, self._repository = self._repository, fresh
        old.free()

    def close(self) -> None:
        """Let go of the repository's files."""
        self._repository.free()

    def _header(self, object_id: ObjectId) -> tuple[ObjectType, int]:
        with _translated(object_id, "object"):
            return self._repository.odb.read_header(object_id)

    def _read(self, object_id: ObjectId, wanted: ObjectKind | None) -> bytes:
        what = "object" if wanted is None else wanted.value
        with _translated(object_id, what):
            kind, data = self._repository.odb.read(object_id)
        if wanted is not None and _KINDS.get(kind) is not wanted:
            raise UnknownObject(f"no {what} {object_id}")
        return data


@contextmanager
def _translated(object_id: ObjectId, what: str) -> Iterator[None]:
    """Turn what pygit2 raises about an object into our errors."""
    try:
        yield
    except KeyError:
        raise UnknownObject(f"no {what} {object_id}") from None
    except (pygit2.GitError, ValueError) as error:
        raise StoreError(f"cannot read {what} {object_id}: {error}; run git fsck") from error


def open_reader(path: Path, *more: Path) -> Reader:
    """Open a repository for reading only: without its lock, and without a writer.

    For processes beside the one that has the store, such as builds.

    Args:
        path: A bare repository.
        more: Bare repositories in which objects are looked up that are not there.

    Raises:
        RepositoryError: As :meth:`datakit_core.store.Store.open`, except for locks and rights.
    """
    repository = open_repository(path)
    for other in more:
        opened = open_repository(other)
        for objects in _object_directories(other / "objects"):
            repository.odb.add_disk_alternate(str(objects))
        opened.free()
    return Reader(repository)


def _object_directories(objects: Path) -> Iterator[Path]:
    """A directory of objects, and those that it borrows from (gitrepository-layout(5)).

    libgit2 does not follow ``info/alternates`` of a directory that is added to another database.
    """
    yield objects
    try:
        borrowed = (objects / "info" / "alternates").read_bytes()
    except OSError:
        return
    for line in borrowed.splitlines():
        if line and not line.startswith(b"#"):
            yield from _object_directories(objects / os.fsdecode(line))


class _Cache(Generic[K, V]):
    """The values used last, up to a total weight."""

    def __init__(self, limit: int, weigh: Callable[[V], int]) -> None:
        self._limit, self._weigh = limit, weigh
        self._values: OrderedDict[K, V] = OrderedDict()
        self._weight = 0

    def get(self, key: K) -> V | None:
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        if key in self._values:  # by somebody who has read it meanwhile
            return
        self._values[key] = value
        self._weight += self._weigh(value)
        while self._weight > self._limit and len(self._values) > 1:
            _, dropped = self._values.popitem(last=False)
            self._weight -= self._weigh(dropped)


def _weigh(tree: tuple[Sized, Sized]) -> int:
    return len(tree[0]) + 1
