"""Read-only trees: of a commit, of an object id, or of a branch's head as it moves.

Nodes know a path and where the tree comes from. A node in a branch's ``ro`` looks its path up
again when the head has moved, and therefore shows what is there now, or that it has gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from datakit_core.dbfs.contents import Contents
from datakit_core.dbfs.large import LargeReader
from datakit_core.dbfs.listing import Listing
from datakit_core.errors import NoEntry
from datakit_core.store import LARGE_READ, BlobId, Entry, FileMode, Store, Tree, TreeId
from datakit_core.vfs import Answer, Directory, File, Handle, Kind, Node, Stat, inode_of, read_range

__all__ = [
    "MOST_TARGET",
    "BlobFile",
    "FixedTree",
    "Origin",
    "TreeDirectory",
    "kind_of",
    "open_blob",
]

_KEPT_IN_HANDLE = 256 << 10
"""Bytes up to which an open file holds its content itself; above, it asks for it each time."""

MOST_TARGET = 4096
"""Bytes of a link's target (PATH_MAX); a longer one is no path, and is shown empty."""

_KINDS = {
    FileMode.DIRECTORY: Kind.DIRECTORY,
    FileMode.NORMAL: Kind.FILE,
    FileMode.EXECUTABLE: Kind.EXECUTABLE,
    FileMode.LINK: Kind.LINK,
}


def kind_of(mode: FileMode) -> Kind:
    """What a tree entry's mode is called among nodes."""
    return _KINDS[mode]


class Origin(Protocol):
    """Where the tree of a node comes from."""

    @property
    def store(self) -> Store:
        """Where its objects are."""
        ...

    @property
    def contents(self) -> Contents:
        """Where blobs are read."""
        ...

    @property
    def inode(self) -> int:
        """The inode of the root of the tree; those below derive from it."""
        ...

    @property
    def version(self) -> int:
        """0 for a tree that may change, otherwise 1 (:class:`~datakit_core.vfs.Stat`)."""
        ...

    def root(self) -> TreeId:
        """The tree as it is now; raises ``NoEntry`` if it has gone as a whole."""
        ...


@dataclass(frozen=True, slots=True)
class FixedTree:
    """The tree of a snapshot: it never changes, so clients may cache what they read."""

    store: Store
    contents: Contents
    tree: TreeId
    inode: int
    version: int = 1

    def root(self) -> TreeId:
        """The tree."""
        return self.tree


class _Found(NamedTuple):
    """What a look-up of a path has found, and in which tree."""

    root: TreeId
    entry: Entry


class _TreeNode(Node):
    """What is at a path of a tree.

    A node remembers which tree it has looked its path up in, so that walking step by step costs
    one look-up for each step, and a tree that does not change is never looked at twice.
    """

    def __init__(self, origin: Origin, path: str, name: str, found: _Found | None = None) -> None:
        self._origin = origin
        self._path = path
        self._name = name
        self._found = found
        self._inode = inode_of(origin.inode, path) if path else origin.inode

    @property
    def inode(self) -> int:
        """Depends on the path only."""
        return self._inode

    @property
    def version(self) -> int:
        """That of the whole tree."""
        return self._origin.version

    def stat(self) -> Answer[Stat]:
        """What is at the path now."""
        return _describe(self._origin, self._inode, self._name, self._find().entry)

    def _find(self) -> _Found:
        root = self._origin.root()
        found = self._found
        if found is None or found.root != root:
            entry = self._origin.store.entry(root, self._path)
            if entry is None or entry.is_directory is not self.is_directory:
                raise NoEntry
            self._found = found = _Found(root, entry)
        return found


class TreeDirectory(_TreeNode, Directory):
    """A directory of a tree."""

    def __init__(
        self, origin: Origin, path: str = "", name: str = "ro", found: _Found | None = None
    ) -> None:
        """Show ``path`` of the tree of ``origin`` under ``name``."""
        super().__init__(origin, path, name, found)

    def lookup(self, name: str) -> Answer[Node]:
        """The child ``name``, if the tree has it now."""
        if "/" in name:  # one step of a walk is one name, though a session lets it through
            raise NoEntry
        root, directory = self._find()
        entry = self._origin.store.entry(TreeId(directory.id), name)
        if entry is None:
            raise NoEntry
        kind = TreeDirectory if entry.is_directory else TreeFile
        return kind(self._origin, _below(self._path, name), name, _Found(root, entry))

    def list(self) -> Answer[Sequence[Stat]]:
        """The names as they are now; sizes are looked up when they are asked for."""
        tree = TreeId(self._find().entry.id)
        store = self._origin.store
        return self._shown(store.tree(tree)) if store.at_hand(tree) else self._list_later(tree)

    async def _list_later(self, tree: TreeId) -> Sequence[Stat]:
        return self._shown(await self._origin.store.load_tree(tree))

    def _shown(self, tree: Tree) -> Sequence[Stat]:
        return Listing(list(tree.items()), self._describe_child)

    def _describe_child(self, item: tuple[str, Entry]) -> Stat:
        name, entry = item
        inode = inode_of(self._origin.inode, _below(self._path, name))
        return _describe(self._origin, inode, name, entry)


class TreeFile(_TreeNode, File):
    """A file or link of a tree; what is open keeps the content that it was opened with."""

    def open(self) -> Answer[Handle]:
        """Fix the blob, and read it when it is asked for."""
        return open_blob(self._origin, BlobId(self._find().entry.id))


class BlobFile(File):
    """A blob by its id, wherever it is used."""

    def __init__(self, origin: Origin, entry: Entry, name: str) -> None:
        """Show the blob of ``entry``; the tree of ``origin`` does not matter."""
        self._origin = origin
        self._entry = entry
        self._name = name

    @property
    def inode(self) -> int:
        """That of ``origin``, which is made for this file alone."""
        return self._origin.inode

    @property
    def version(self) -> int:
        """Content that has an id never changes."""
        return self._origin.version

    def stat(self) -> Answer[Stat]:
        """A file that never changes."""
        return _describe(self._origin, self._origin.inode, self._name, self._entry)

    def open(self) -> Answer[Handle]:
        """Read the blob."""
        return open_blob(self._origin, BlobId(self._entry.id))


def open_blob(origin: Origin, blob: BlobId) -> Handle:
    """A handle on a blob, however large it is."""
    size = origin.contents.size(blob)
    if size > LARGE_READ:
        return _LargeHandle(LargeReader(origin.store.large, blob, size))
    return _BlobHandle(origin.contents, blob, min(size, _KEPT_IN_HANDLE))


class _LargeHandle(Handle):
    def __init__(self, reader: LargeReader) -> None:
        self._reader = reader

    def read(self, offset: int, count: int) -> Answer[bytes]:
        return self._reader.read(offset, count)

    def close(self) -> None:
        self._reader.close()


class _BlobHandle(Handle):
    def __init__(self, contents: Contents, blob: BlobId, held: int) -> None:
        self._contents = contents
        self._blob = blob
        self._held = held
        self._kept: bytes | None = None

    @property
    def held(self) -> int:
        return self._held

    def read(self, offset: int, count: int) -> Answer[bytes]:
        if self._kept is not None:
            return read_range(self._kept, offset, count)
        content = self._contents.get(self._blob)
        if len(content) <= _KEPT_IN_HANDLE:
            self._kept = content
        return read_range(content, offset, count)


def _below(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def _describe(origin: Origin, inode: int, name: str, entry: Entry) -> Stat:
    if entry.is_directory:
        return Stat(name, Kind.DIRECTORY, inode, version=origin.version)
    blob = BlobId(entry.id)
    target = ""
    size = origin.contents.size(blob)
    if entry.mode is FileMode.LINK and size <= MOST_TARGET:
        target = origin.contents.get(blob).decode(errors="surrogateescape")
    return Stat(name, kind_of(entry.mode), inode, size, target, origin.version)
