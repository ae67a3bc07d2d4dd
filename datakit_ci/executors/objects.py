"""The objects that builds read, when the database is on another machine.

Builds are processes that read a repository of their own machine. Of a database that is reached
over the network, :class:`ObjectCache` keeps a bare repository with what builds were given: before
a build, the objects of its input that are missing are copied; a tree that was copied once is
skipped with all that is below it. The copy is bounded: what no build reads is removed when there
is too much. It is a cache and no database; it may be deleted whenever no engine runs.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import (
    AsyncIterator,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
    Sequence,
    Set,
)
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar

from datakit_ci.executors.base import BuildRequest, Executor, LostBuild
from datakit_ci.outcome import Outcome
from datakit_ci.process import Sink
from datakit_core.client.api import BlobId, ObjectId, TreeId
from datakit_core.errors import DatakitError
from datakit_core.store import EMPTY_TREE, new_object
from datakit_core.store.loose import encode_loose, loose_name
from datakit_core.store.objects import NewObject, ObjectKind, decode_tree
from datakit_core.store.repository import create_repository

__all__ = ["CopyingExecutor", "ObjectCache", "ObjectSource"]

DEFAULT_LIMIT = 4 << 30
"""Bytes on disk; a few checkouts of a large project, compressed."""

_AT_ONCE = 16
"""Objects that are asked for at the same time."""

_BATCH = 256
"""Trees or files of a batch, so that neither memory nor tasks grow with the input."""

T = TypeVar("T")


class ObjectSource(Protocol):
    """Where objects come from: a database at the other end of a connection."""

    async def raw_tree(self, tree: TreeId) -> bytes:
        """A tree object's content, as Git has it."""
        ...

    async def blob(self, blob: BlobId) -> bytes:
        """A whole file."""
        ...


@dataclass(frozen=True, slots=True)
class _Copied:
    """A tree that is in the repository with all that is below it.

    Attributes:
        trees: The directories in it.
        blobs: The files in it.
    """

    trees: tuple[TreeId, ...]
    blobs: tuple[BlobId, ...]


class ObjectCache:
    """A repository with the inputs of builds; ``async with`` makes it anew."""

    def __init__(self, source: ObjectSource, path: Path, limit: int = DEFAULT_LIMIT) -> None:
        """Copy from ``source`` into a repository at ``path``, of at most ``limit`` bytes.

        One input may need more than that; it is copied anyway.
        """
        self.path = path
        self._source = source
        self._limit = limit
        self._size = 0
        self._trees: dict[TreeId, _Copied] = {}
        self._blobs: dict[BlobId, int] = {}
        self._bound = limit
        self._held = Counter[TreeId]()
        self._copying = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Begin with an empty repository: an engine that was killed may have left half of one."""
        await asyncio.to_thread(shutil.rmtree, self.path, ignore_errors=True)
        await asyncio.to_thread(create_repository, self.path)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove it."""
        await asyncio.to_thread(shutil.rmtree, self.path, ignore_errors=True)

    @property
    def size(self) -> int:
        """Bytes of the files in it."""
        return self._size

    @property
    def held(self) -> Set[BlobId]:
        """The files in what builds under way are given: the source has them for certain."""
        return {blob for tree in self._below(self._held) for blob in self._trees[tree].blobs}

    @asynccontextmanager
    async def holding(self, tree: TreeId) -> AsyncIterator[None]:
        """Have all of ``tree`` in the repository; it stays until the context is left.

        Raises:
            UnknownObject: The database does not have it.
            OSError: It cannot be written.
        """
        self._held[tree] += 1
        try:
            async with self._copying:
                await self._copy(tree)
                if self._size > self._bound:
                    await self._sweep()
            yield
        finally:
            self._held[tree] -= 1
            if not self._held[tree]:
                del self._held[tree]

    async def _copy(self, root: TreeId) -> None:
        """Copy what is missing of ``root``."""
        found: dict[TreeId, tuple[bytes, _Copied]] = {}
        wanted = {root} - self._trees.keys() - {EMPTY_TREE}
        while wanted:
            below: set[TreeId] = set()
            for batch in _batches(wanted):
                for tree, data in await self._trees_of(batch):
                    copied = _contents(data)
                    found[tree] = data, copied
                    below.update(copied.trees)
            wanted = below - self._trees.keys() - found.keys() - {EMPTY_TREE}
        missing = {blob for _, copied in found.values() for blob in copied.blobs}
        for blobs in _batches(missing - self._blobs.keys()):
            await self._files(blobs)
        for data, _ in found.values():
            self._size += await asyncio.to_thread(_write, self.path, ObjectKind.TREE, data)
        # Only now: what is named here is whole, down to the last file.
        self._trees.update((tree, copied) for tree, (_, copied) in found.items())

    async def _trees_of(self, trees: Sequence[TreeId]) -> list[tuple[TreeId, bytes]]:
        limit = asyncio.Semaphore(_AT_ONCE)

        async def read(tree: TreeId) -> tuple[TreeId, bytes]:
            async with limit:
                return tree, await self._source.raw_tree(tree)

        return await _all([read(tree) for tree in trees])

    async def _files(self, blobs: Sequence[BlobId]) -> None:
        limit = asyncio.Semaphore(_AT_ONCE)

        async def copy(blob: BlobId) -> None:
            async with limit:
                data = await self._source.blob(blob)
                size = await asyncio.to_thread(_write, self.path, ObjectKind.BLOB, data)
            self._blobs[blob] = size
            self._size += size

        await _all([copy(blob) for blob in blobs])

    async def _sweep(self) -> None:
        """Remove what no build reads that is under way."""
        trees = self._below(self._held)
        blobs = {blob for tree in trees for blob in self._trees[tree].blobs}
        gone = [*(self._trees.keys() - trees), *(self._blobs.keys() - blobs)]
        self._trees = {tree: self._trees[tree] for tree in trees}
        self._blobs = {blob: self._blobs[blob] for blob in blobs & self._blobs.keys()}
        self._size -= await asyncio.to_thread(_remove, self.path, gone)
        self._bound = max(self._limit, 2 * self._size)  # what is in use is not looked at each time

    def _below(self, roots: Iterable[TreeId]) -> set[TreeId]:
        """The trees that are copied, of ``roots`` and all that is below them."""
        found: set[TreeId] = set()
        left = list(roots)
        while left:
            tree = left.pop()
            if tree not in found and tree in self._trees:
                found.add(tree)
                left.extend(self._trees[tree].trees)
        return found


class CopyingExecutor:
    """An executor whose builds' inputs are copied first, for a database that is elsewhere."""

    def __init__(self, executor: Executor, cache: ObjectCache) -> None:
        """Run builds by ``executor``, which reads the repository of ``cache``."""
        self.name = executor.name
        self._executor = executor
        self._cache = cache

    async def run(self, request: BuildRequest, log: Sink) -> Outcome:
        """Copy the input, and run the build."""
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._cache.holding(request.input))
                if origin := request.spec.origin:
                    pipeline = TreeId(ObjectId(origin.partition(":")[0]))
                    await stack.enter_async_context(self._cache.holding(pipeline))
            except (DatakitError, OSError) as error:
                raise LostBuild(f"its input cannot be copied: {error}") from error
            return await self._executor.run(request, log)


async def _all(work: Collection[Coroutine[None, None, T]]) -> list[T]:
    """The results of ``work``, done together; one exception is enough."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


def _batches(values: Collection[T]) -> Iterator[Sequence[T]]:
    items = list(values)
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]


def _contents(data: bytes) -> _Copied:
    """What a tree object names, but for what is served to nobody (submodules)."""
    entries = decode_tree(data).values()
    return _Copied(
        tuple(TreeId(entry.id) for entry in entries if entry.is_directory),
        tuple(BlobId(entry.id) for entry in entries if not entry.is_directory),
    )


def _write(repository: Path, kind: ObjectKind, data: bytes) -> int:
    """Write a loose object; the bytes of its file. Readers see it wholly or not at all."""
    new: NewObject = new_object(kind, data)
    path = repository / loose_name(new.id)
    content = encode_loose(new)
    path.parent.mkdir(exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix="tmp_obj_")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
    return len(content)


def _remove(repository: Path, objects: Iterable[ObjectId]) -> int:
    """Remove objects; how many bytes their files had."""
    freed = 0
    for each in objects:
        path = repository / loose_name(each)
        with suppress(OSError):
            size = path.stat().st_size
            path.unlink()
            freed += size
    return freed
