"""Trees: what a stage is given and what it makes.

A :class:`Tree` is the id of a Git tree and, where it can be read, a reader. Nothing is loaded that
is not asked for: finding ``a/b/c`` reads two directories besides the root, however large they are.
The engine passes trees around without a reader; a stage gets one that can be read.
"""

from __future__ import annotations

from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

from datakit_ci.pattern import Pattern, States
from datakit_core.client.api import BlobId, Entry, FileMode, TreeId
from datakit_core.errors import ClientError, InvalidName, IsDirectory, NoEntry, NotDirectory
from datakit_core.store.objects import NewObject, ObjectKind, encode_tree, new_object

__all__ = ["PlainTree", "Tree", "TreeReader", "check_path"]

T = TypeVar("T")

ROOT = ""


class TreeReader(Protocol):
    """Where trees are read from: any ``Database`` will do."""

    async def tree(self, tree: TreeId) -> Mapping[str, Entry]:
        """One directory."""
        ...

    async def blob(self, blob: BlobId) -> bytes:
        """A whole file."""
        ...


def check_path(path: str) -> str:
    """Return ``path`` if it may name a file or directory inside a tree (``""`` is the root).

    Raises:
        InvalidName: It is absolute, leads out of the tree, or has a part that Git refuses.
    """
    for part in path.split("/") if path else ():
        if part in ("", ".", "..") or "\0" in part or part.lower() == ".git":
            raise InvalidName(
                f"{path!r} cannot be a path in a tree: write it relative to the root, "
                "without '.', '..', '.git' or a slash at either end"
            )
    return path


@dataclass(frozen=True, slots=True)
class Tree:
    """An immutable directory, known by its Git tree id; equal ids are equal trees.

    Paths are ``/``-separated and relative, without ``.`` or ``..``; ``""`` is the tree itself.
    Links are not followed: reading one gives its target.
    """

    id: TreeId
    reader: TreeReader | None = field(default=None, compare=False, repr=False)

    @classmethod
    def from_files(cls, files: Mapping[str, bytes | str]) -> Tree:
        """Make a tree in memory from file contents by path; text becomes UTF-8.

        Raises:
            InvalidName: A path is not one (see :func:`check_path`), or one is both a file and a
                directory.
        """
        memory = _Memory()
        return cls(memory.add(files), memory)

    async def entry(self, path: str) -> Entry | None:
        """What is at ``path``: its mode and object id; none if nothing is."""
        found: Entry | None = Entry(FileMode.DIRECTORY, self.id)
        for name in path.split("/") if path else ():
            if found is None or not found.is_directory:
                return None
            found = (await self._source.tree(TreeId(found.id))).get(name)
        return found

    async def read(self, path: str) -> bytes:
        """The content of the file at ``path``; raises ``NoEntry`` or ``IsDirectory``."""
        entry = await self._existing(path)
        if entry.is_directory:
            raise IsDirectory(f"Is a directory: {path or '.'}")
        return await self._source.blob(BlobId(entry.id))

    async def exists(self, path: str) -> bool:
        """Whether anything is at ``path``."""
        return await self.entry(path) is not None

    async def list(self, path: str = ROOT) -> Sequence[str]:
        """The names in a directory, sorted; raises ``NoEntry`` or ``NotDirectory``."""
        entry = await self._directory(path)
        return sorted(await self._source.tree(TreeId(entry.id)))

    async def subtree(self, path: str) -> Tree:
        """The directory at ``path`` as a tree; raises ``NoEntry`` or ``NotDirectory``."""
        return Tree(TreeId((await self._directory(path)).id), self.reader)

    async def walk(self) -> AsyncIterator[str]:
        """The paths of all files and links, each directory sorted by name."""
        async for path in self.glob("**"):
            yield path

    async def glob(self, pattern: str) -> AsyncIterator[str]:
        """The paths of files and links that match, each directory sorted by name.

        Args:
            pattern: ``*``, ``?`` and ``[...]`` match within one name, also a leading dot; a part
                ``**`` matches any number of directories, and at the end all files below.
                Directories that cannot hold a match are not read.
        """
        wanted = Pattern.parse(pattern)
        found = [_Found("", Entry(FileMode.DIRECTORY, self.id), wanted.start)]
        while found:
            path, entry, states = found.pop()
            if not entry.is_directory:
                if wanted.is_match(states):
                    yield path
            elif wanted.is_open(states):
                entries = await self._source.tree(TreeId(entry.id))
                found.extend(
                    _Found(f"{path}/{name}" if path else name, entries[name], matched)
                    for name in sorted(entries, reverse=True)
                    if (matched := wanted.step(states, name))
                )

    @property
    def _source(self) -> TreeReader:
        if self.reader is None:
            raise ClientError(f"tree {self.id} can be read only inside a stage")
        return self.reader

    async def _existing(self, path: str) -> Entry:
        entry = await self.entry(path)
        if entry is None:
            raise NoEntry(f"No such file or directory: {path}")
        return entry

    async def _directory(self, path: str) -> Entry:
        entry = await self._existing(path)
        if not entry.is_directory:
            raise NotDirectory(f"Is not a directory: {path}")
        return entry


@dataclass(frozen=True, slots=True)
class PlainTree:
    """A tree for stages that are plain functions: the same methods, without ``await``.

    Attributes:
        tree: The tree itself.
        wait: Runs a coroutine to its end from this thread; the process that runs the stage has
            one.
    """

    tree: Tree
    wait: Callable[[Coroutine[Any, Any, Any]], Any] = field(compare=False, repr=False)

    @property
    def id(self) -> TreeId:
        """The Git tree id."""
        return self.tree.id

    def entry(self, path: str) -> Entry | None:
        """As :meth:`Tree.entry`."""
        return self._wait(self.tree.entry(path))

    def read(self, path: str) -> bytes:
        """As :meth:`Tree.read`."""
        return self._wait(self.tree.read(path))

    def exists(self, path: str) -> bool:
        """As :meth:`Tree.exists`."""
        return self._wait(self.tree.exists(path))

    def list(self, path: str = ROOT) -> Sequence[str]:
        """As :meth:`Tree.list`."""
        return self._wait(self.tree.list(path))

    def subtree(self, path: str) -> PlainTree:
        """As :meth:`Tree.subtree`."""
        return PlainTree(self._wait(self.tree.subtree(path)), self.wait)

    def walk(self) -> Iterator[str]:
        """As :meth:`Tree.walk`."""
        return self.glob("**")

    def glob(self, pattern: str) -> Iterator[str]:
        """As :meth:`Tree.glob`; the matches are all found before the first is given."""

        async def collect() -> Sequence[str]:
            return [path async for path in self.tree.glob(pattern)]

        yield from self._wait(collect())

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        result: T = self.wait(coroutine)
        return result


class _Memory:
    """The objects of a tree made from files; a reader of it."""

    def __init__(self) -> None:
        self._trees: dict[TreeId, Mapping[str, Entry]] = {}
        self._blobs: dict[BlobId, bytes] = {}

    async def tree(self, tree: TreeId) -> Mapping[str, Entry]:
        return self._trees[tree]

    async def blob(self, blob: BlobId) -> bytes:
        return self._blobs[blob]

    def add(self, files: Mapping[str, bytes | str]) -> TreeId:
        """Make the tree of ``files``; directories are closed once all that is below them is."""
        directories: dict[str, dict[str, Entry]] = {ROOT: {}}
        for path in sorted(files):
            if not check_path(path):
                raise InvalidName("a file needs a name: '' is the tree itself")
            content = files[path]
            parent, _, name = path.rpartition("/")
            _make_parents(directories, parent)
            directories[parent][name] = Entry(
                FileMode.NORMAL,
                self._blob(content if isinstance(content, bytes) else content.encode()),
            )
        for path in sorted(directories, key=lambda path: path.count("/"), reverse=True):
            if path:
                parent, _, name = path.rpartition("/")
                if name in directories[parent]:
                    raise InvalidName(f"{path!r} cannot be both a file and a directory")
                directories[parent][name] = self._directory(directories[path])
        return TreeId(self._directory(directories[ROOT]).id)

    def _blob(self, content: bytes) -> BlobId:
        blob = BlobId(new_object(ObjectKind.BLOB, content).id)
        self._blobs[blob] = content
        return blob

    def _directory(self, entries: Mapping[str, Entry]) -> Entry:
        made: NewObject = new_object(ObjectKind.TREE, encode_tree(entries))
        self._trees[TreeId(made.id)] = entries
        return Entry(FileMode.DIRECTORY, made.id)


def _make_parents(directories: dict[str, dict[str, Entry]], path: str) -> None:
    while path not in directories:
        directories[path] = {}
        path = path.rpartition("/")[0]


class _Found(NamedTuple):
    """A path met while matching, and where in the pattern that has come to."""

    path: str
    entry: Entry
    states: States
