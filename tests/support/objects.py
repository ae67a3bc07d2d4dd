"""Git objects in memory, for what reads a repository's objects and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from datakit_core.store.objects import (
    BlobId,
    Entry,
    FileMode,
    ObjectKind,
    TreeId,
    encode_tree,
    new_object,
)

__all__ = ["MemoryObjects"]


class MemoryObjects:
    """A reader of trees made with :meth:`add`."""

    def __init__(self) -> None:
        self.trees: dict[TreeId, Mapping[str, Entry]] = {}
        self.blobs: dict[BlobId, bytes] = {}

    def tree(self, tree: TreeId, /) -> Mapping[str, Entry]:
        """One directory."""
        return self.trees[tree]

    def blob(self, blob: BlobId, /) -> bytes:
        """A whole file."""
        return self.blobs[blob]

    def file(self, data: bytes, mode: FileMode = FileMode.NORMAL) -> Entry:
        """Keep a file or link."""
        blob = BlobId(new_object(ObjectKind.BLOB, data).id)
        self.blobs[blob] = data
        return Entry(mode, blob)

    def directory(self, entries: Mapping[str, Entry]) -> TreeId:
        """Keep a directory, whatever its names are."""
        tree = TreeId(new_object(ObjectKind.TREE, encode_tree(entries)).id)
        self.trees[tree] = dict(entries)
        return tree

    def add(self, files: Mapping[str, bytes | Entry]) -> TreeId:
        """Keep a tree of files by path."""
        entries: dict[str, Entry] = {}
        below: dict[str, dict[str, bytes | Entry]] = {}
        for path, content in files.items():
            name, _, rest = path.partition("/")
            if rest:
                below.setdefault(name, {})[rest] = content
            else:
                entries[name] = content if isinstance(content, Entry) else self.file(content)
        for name, part in below.items():
            entries[name] = Entry(FileMode.DIRECTORY, self.add(part))
        return self.directory(entries)
