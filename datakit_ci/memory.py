"""Trees in memory: directories that are made from files, or from parts of other trees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from datakit_ci.lookup import TreeReader, check_path
from datakit_core.client.api import BlobId, Entry, FileMode, TreeId
from datakit_core.errors import InvalidName
from datakit_core.store.objects import NewObject, ObjectKind, encode_tree, new_object

__all__ = ["MemoryTrees", "narrow"]

ROOT = ""


class MemoryTrees:
    """Objects made here; what was not is read from elsewhere. A reader of both."""

    def __init__(self, below: TreeReader | None = None) -> None:
        """Read what was not made here from ``below``, if that is given."""
        self._below = below
        self._trees: dict[TreeId, Mapping[str, Entry]] = {}
        self._blobs: dict[BlobId, bytes] = {}

    async def tree(self, tree: TreeId) -> Mapping[str, Entry]:
        """One directory."""
        if self._below is not None and tree not in self._trees:
            return await self._below.tree(tree)
        return self._trees[tree]

    async def blob(self, blob: BlobId) -> bytes:
        """A whole file."""
        if self._below is not None and blob not in self._blobs:
            return await self._below.blob(blob)
        return self._blobs[blob]

    def add(self, files: Mapping[str, bytes | str]) -> TreeId:
        """Make the tree of ``files``; directories are closed once all that is below them is.

        Raises:
            InvalidName: A path is not one, or one is both a file and a directory.
        """
        directories: dict[str, dict[str, Entry]] = {ROOT: {}}
        for path in sorted(files):
            if not check_path(path):
                raise InvalidName("a file needs a name: '' is the tree itself")
            content = files[path]
            parent, _, name = path.rpartition("/")
            _make_parents(directories, parent)
            directories[parent][name] = Entry(
                FileMode.NORMAL,
                self.add_file(content if isinstance(content, bytes) else content.encode()),
            )
        for path in sorted(directories, key=lambda path: path.count("/"), reverse=True):
            if path:
                parent, _, name = path.rpartition("/")
                if name in directories[parent]:
                    raise InvalidName(f"{path!r} cannot be both a file and a directory")
                made = self.add_directory(directories[path])
                directories[parent][name] = Entry(FileMode.DIRECTORY, made)
        return self.add_directory(directories[ROOT])

    def add_file(self, content: bytes) -> BlobId:
        """Keep a file's content."""
        blob = BlobId(new_object(ObjectKind.BLOB, content).id)
        self._blobs[blob] = content
        return blob

    def add_directory(self, entries: Mapping[str, Entry]) -> TreeId:
        """Make one directory."""
        made: NewObject = new_object(ObjectKind.TREE, encode_tree(entries))
        self._trees[TreeId(made.id)] = entries
        return TreeId(made.id)


async def narrow(
    reader: TreeReader, tree: TreeId, paths: Sequence[str] | None
) -> tuple[TreeReader, TreeId]:
    """The part of ``tree`` that ``paths`` name (none: all of it), and where to read that.

    It depends on what is at these paths and on nothing else: paths that are not there are left
    out, and with them directories that hold nothing else that is named. The new directories are
    not stored: nobody else needs them.
    """
    if paths is None or ROOT in paths:
        return reader, tree
    memory = MemoryTrees(reader)

    async def part(directory: TreeId, wanted: Sequence[Sequence[str]]) -> dict[str, Entry]:
        below: dict[str, list[Sequence[str]]] = {}
        for name, *rest in wanted:
            below.setdefault(name, []).append(rest)
        entries = await reader.tree(directory)
        kept: dict[str, Entry] = {}
        for name, rests in below.items():
            entry = entries.get(name)
            if entry is not None and [] in rests:
                kept[name] = entry
            elif (
                entry is not None
                and entry.is_directory
                and (inner := await part(TreeId(entry.id), rests))
            ):
                kept[name] = Entry(FileMode.DIRECTORY, memory.add_directory(inner))
        return kept

    wanted = [path.split("/") for path in paths]
    return memory, memory.add_directory(await part(tree, wanted))


def _make_parents(directories: dict[str, dict[str, Entry]], path: str) -> None:
    while path not in directories:
        directories[path] = {}
        path = path.rpartition("/")[0]
