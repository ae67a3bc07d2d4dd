"""Trees: what a stage is given and what it makes.

A :class:`Tree` is the id of a Git tree and, where it can be read, a reader. Nothing is loaded that
is not asked for: finding ``a/b/c`` reads two directories besides the root, however large they are.
The engine passes trees around without a reader; a stage gets one that can be read.

The tree that a stage is given also notes each question that the stage asks by looking at it. It
keeps its id to itself until it is asked for, since the id answers all questions at once.
"""

from __future__ import annotations

import glob
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from datakit_ci.disk import write_file
from datakit_ci.lookup import TreeReader, check_path, find_entry, find_matches, join_path
from datakit_ci.memory import MemoryTrees
from datakit_ci.question import Question, QuestionKind
from datakit_core.client.api import BlobId, Entry, FileMode, TreeId
from datakit_core.errors import ClientError, IsDirectory, NoEntry, NotDirectory

__all__ = ["Observer", "PlainTree", "Tree"]

T = TypeVar("T")

ROOT = ""

Observer: TypeAlias = Callable[[Question], None]
"""Is told each question before its answer is used."""


class Tree:
    """An immutable directory, known by its Git tree id; equal ids are equal trees.

    Paths are ``/``-separated and relative, without ``.`` or ``..``; ``""`` is the tree itself;
    others raise ``InvalidName``. Links are not followed: reading one gives its target.
    """

    __slots__ = ("_id", "_observer", "_place", "reader")

    def __init__(
        self,
        tree: TreeId,
        reader: TreeReader | None = None,
        observer: Observer | None = None,
        place: str = ROOT,
    ) -> None:
        """A tree by its id.

        Args:
            tree: The id.
            reader: Where it is read from.
            observer: Who is told what is asked of it; none: nobody.
            place: Where the tree is in the one that the observer knows.
        """
        self._id = tree
        self.reader = reader
        self._observer = observer
        self._place = place

    @classmethod
    def from_files(cls, files: Mapping[str, bytes | str]) -> Tree:
        """Make a tree in memory from file contents by path; text becomes UTF-8.

        Raises:
            InvalidName: A path is not one, or one is both a file and a directory.
        """
        memory = MemoryTrees()
        return cls(memory.add(files), memory)

    @property
    def id(self) -> TreeId:
        """The Git tree id. Whoever asks for it has looked at all of the tree."""
        self._observe(QuestionKind.TREE, ROOT)
        return self._id

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tree):
            return NotImplemented
        return self._is_same_place(other) or self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        """The id, unless showing it would give it away."""
        return f"Tree({self._id!r})" if self._observer is None else f"<Tree at {self._place!r}>"

    async def entry(self, path: str) -> Entry | None:
        """What is at ``path``: its mode and object id; none if nothing is."""
        self._observe(QuestionKind.TREE, check_path(path))
        return await self._find(path)

    async def read(self, path: str) -> bytes:
        """The content of the file at ``path``; raises ``NoEntry`` or ``IsDirectory``."""
        self._observe(QuestionKind.FILE, check_path(path))
        entry = await self._existing(path)
        if entry.is_directory:
            raise IsDirectory(f"Is a directory: {path or '.'}")
        return await self._source.blob(BlobId(entry.id))

    async def exists(self, path: str) -> bool:
        """Whether anything is at ``path``."""
        self._observe(QuestionKind.KIND, check_path(path))
        return await self._find(path) is not None

    async def list(self, path: str = ROOT) -> Sequence[str]:
        """The names in a directory, sorted; raises ``NoEntry`` or ``NotDirectory``."""
        self._observe(QuestionKind.LIST, check_path(path))
        return sorted(await self._source.tree(await self._directory(path)))

    async def subtree(self, path: str) -> Tree:
        """The directory at ``path`` as a tree; raises ``NoEntry`` or ``NotDirectory``.

        Of what is in it, nothing counts as looked at before it is.
        """
        self._observe(QuestionKind.KIND, check_path(path))
        directory = await self._directory(path)
        return Tree(directory, self.reader, self._observer, join_path(self._place, path))

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
        self._observe(QuestionKind.GLOB, pattern)
        for path, _ in await find_matches(self._source, self._id, pattern):
            yield path

    async def diff_from(self, other: Tree) -> Sequence[str]:
        """The paths of files and links that differ from those in ``other``, sorted.

        That is what was added, removed, or changed in content or mode since ``other``. Directories
        with equal ids are not read. Of both trees, everything counts as looked at.
        """
        differing: list[str] = []
        left: list[tuple[str, Entry | None, Entry | None]] = [
            (ROOT, Entry(FileMode.DIRECTORY, other.id), Entry(FileMode.DIRECTORY, self.id))
        ]
        while left:
            path, before, after = left.pop()
            if before == after:
                continue
            if any(entry is not None and not entry.is_directory for entry in (before, after)):
                differing.append(path)
            old, new = await other._entries(before), await self._entries(after)
            left.extend(
                (join_path(path, name), old.get(name), new.get(name)) for name in {*old, *new}
            )
        return sorted(differing)

    async def checkout(self, directory: str | Path, *paths: str) -> Path:
        """Write files and links to a new directory, where a program can use them.

        Args:
            directory: Made here; a relative one is in the build's own directory.
            paths: The files and directories to write, each at its path in ``directory``; none
                means everything. All that is in them counts as looked at.

        Returns:
            The directory.

        Raises:
            FileExistsError: ``directory`` is there.
            NoEntry: One of ``paths`` is not.
        """
        target = Path(directory)
        target.mkdir(parents=True)  # noqa: ASYNC240 - in a build's process nobody else waits
        for path in _outermost(paths or (ROOT,)):
            self._observe(QuestionKind.TREE, check_path(path))
            await self._write(target / path, await self._existing(path))
        return target

    async def _write(self, path: Path, entry: Entry) -> None:
        """Write what is at ``entry``; never outside of ``path``, whatever the tree holds."""
        left = [(path, entry)]
        while left:
            place, found = left.pop()
            if found.is_directory:
                place.mkdir(parents=True, exist_ok=place == path)
                entries = await self._entries(found)
                left.extend((place / check_path(name), entries[name]) for name in entries)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                write_file(place, found.mode, await self._source.blob(BlobId(found.id)))

    def _observe(self, kind: QuestionKind, path: str) -> None:
        if self._observer is not None:
            place = self._place
            if kind is QuestionKind.GLOB:
                place = glob.escape(place)
            self._observer(Question(kind, join_path(place, path)))

    def _is_same_place(self, other: Tree) -> bool:
        """Whether both are one place in one observed tree: equal, without looking."""
        mine, others = (self._observer, self._place), (other._observer, other._place)
        return self._observer is not None and mine == others

    @property
    def _source(self) -> TreeReader:
        if self.reader is None:
            raise ClientError(f"tree {self._id} can be read only inside a stage")
        return self.reader

    async def _find(self, path: str) -> Entry | None:
        return await find_entry(self._source, self._id, path)

    async def _existing(self, path: str) -> Entry:
        entry = await self._find(path)
        if entry is None:
            raise NoEntry(f"No such file or directory: {path}")
        return entry

    async def _directory(self, path: str) -> TreeId:
        entry = await self._existing(path)
        if not entry.is_directory:
            raise NotDirectory(f"Is not a directory: {path}")
        return TreeId(entry.id)

    async def _entries(self, entry: Entry | None) -> Mapping[str, Entry]:
        """What is in a directory; nothing if it is none."""
        if entry is None or not entry.is_directory:
            return {}
        return await self._source.tree(TreeId(entry.id))


def _outermost(paths: Sequence[str]) -> Sequence[str]:
    """Each path once, without those that lie in another."""
    if ROOT in paths:
        return (ROOT,)
    unique = dict.fromkeys(paths)
    return [path for path in unique if not any(path.startswith(f"{one}/") for one in unique)]


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
        """As :attr:`Tree.id`."""
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

    def diff_from(self, other: PlainTree) -> Sequence[str]:
        """As :meth:`Tree.diff_from`."""
        return self._wait(self.tree.diff_from(other.tree))

    def checkout(self, directory: str | Path, *paths: str) -> Path:
        """As :meth:`Tree.checkout`."""
        return self._wait(self.tree.checkout(directory, *paths))

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        result: T = self.wait(coroutine)
        return result
