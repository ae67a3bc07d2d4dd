"""Trees in memory: an object reader without a repository."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from datakit_core.errors import UnknownObject
from datakit_core.store.names import join
from datakit_core.store.objects import (
    EMPTY_TREE,
    BlobId,
    Entry,
    FileMode,
    NewObject,
    ObjectId,
    ObjectKind,
    Tree,
    TreeId,
    decode_whole_tree,
    encode_tree,
    new_object,
    served,
)

__all__ = ["MemoryObjects"]


class MemoryObjects:
    """An :class:`~datakit_core.store.reader.ObjectReader` over a dict.

    Attributes:
        reads: The ids of trees and blobs that were read, in order.
    """

    def __init__(self) -> None:
        self._objects: dict[ObjectId, NewObject] = {}
        self.reads: list[ObjectId] = []

    def add(self, objects: Iterable[NewObject]) -> None:
        """Store ``objects``."""
        self._objects.update({new.id: new for new in objects})

    def make(self, files: Mapping[str, str], modes: Mapping[str, FileMode] | None = None) -> TreeId:
        """Store a tree of texts by path; files are normal unless ``modes`` says otherwise."""
        entries: dict[str, Entry] = {}
        directories: dict[str, dict[str, str]] = {}
        for path, content in files.items():
            name, _, rest = path.partition("/")
            if rest:
                directories.setdefault(name, {})[rest] = content
            else:
                mode = (modes or {}).get(path, FileMode.NORMAL)
                entries[name] = Entry(mode, self._keep(ObjectKind.BLOB, content.encode()))
        for name, below in directories.items():
            prefix = f"{name}/"
            inner = {
                path.removeprefix(prefix): mode
                for path, mode in (modes or {}).items()
                if path.startswith(prefix)
            }
            entries[name] = Entry(FileMode.DIRECTORY, self.make(below, inner))
        return TreeId(self._keep(ObjectKind.TREE, encode_tree(entries)))

    def texts(self, tree: TreeId) -> dict[str, str]:
        """The texts of a tree by path, sorted."""
        found: dict[str, str] = {}
        for name, entry in self.tree(tree).items():
            if entry.is_directory:
                below = self.texts(TreeId(entry.id))
                found.update({join(name, path): content for path, content in below.items()})
            else:
                found[name] = self.blob_of(entry).decode(errors="surrogateescape")
        return dict(sorted(found.items()))

    def blob_of(self, entry: Entry) -> bytes:
        """The content of a file's entry."""
        return self.blob(BlobId(entry.id))

    def tree(self, tree: TreeId) -> Tree:
        return served(self.whole_tree(tree))

    def whole_tree(self, tree: TreeId) -> Tree:
        self.reads.append(tree)
        return {} if tree == EMPTY_TREE else decode_whole_tree(self._get(tree, ObjectKind.TREE))

    def blob(self, blob: BlobId) -> bytes:
        self.reads.append(blob)
        return self._get(blob, ObjectKind.BLOB)

    def size(self, blob: BlobId) -> int:
        return len(self._get(blob, ObjectKind.BLOB))

    def kind(self, object_id: ObjectId) -> ObjectKind | None:
        if object_id == EMPTY_TREE:
            return ObjectKind.TREE
        found = self._objects.get(object_id)
        return None if found is None else found.kind

    def entry(self, tree: TreeId, path: str) -> Entry | None:
        entry: Entry | None = Entry(FileMode.DIRECTORY, tree)
        for part in path.split("/") if path else ():
            if entry is None or not entry.is_directory:
                return None
            entry = self.tree(TreeId(entry.id)).get(part)
        return entry

    def _keep(self, kind: ObjectKind, data: bytes) -> ObjectId:
        new = new_object(kind, data)
        self.add([new])
        return new.id

    def _get(self, object_id: ObjectId, kind: ObjectKind) -> bytes:
        found = self._objects.get(object_id)
        if found is None or found.kind is not kind:
            raise UnknownObject(f"no {kind.value} {object_id}")
        return found.data
