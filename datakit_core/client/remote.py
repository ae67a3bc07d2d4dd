"""The client API over 9P: a database that a server has, here or on another machine.

Objects are read by their ids and never change, so trees and commits that were read once are kept;
a new head costs one request for each directory that is new. Edits are made in a transaction at
the server, and are lost with the connection.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Generic, TypeVar

from datakit_core.client.api import Change, Database, Transaction
from datakit_core.client.edits import RemoteTransaction
from datakit_core.client.pieces import check_range, pieces_of
from datakit_core.client.scan import read_target, scan
from datakit_core.errors import (
    AlreadyExists,
    Busy,
    Disconnected,
    IoFailed,
    IsDirectory,
    NoEntry,
    NotFastForward,
    NotPermitted,
    ReadOnly,
    UnknownObject,
)
from datakit_core.ninep.client import Client
from datakit_core.ninep.client import connect as connect_9p
from datakit_core.store import (
    EMPTY_TREE,
    BlobId,
    Commit,
    CommitId,
    Entry,
    FileMode,
    ObjectId,
    Tree,
    TreeId,
    diff,
    parse_id,
)
from datakit_core.store.diff import changed_names
from datakit_core.store.names import split_path
from datakit_core.store.objects import decode_commit, decode_tree

__all__ = ["RemoteDatabase", "connect"]

_KEPT_ENTRIES = 200_000
_KEPT_COMMITS = 10_000

_SCRATCH = "datakit-scratch"
"""The branch on which trees are put together; nothing is ever committed to it."""

K = TypeVar("K", bound=str)
V = TypeVar("V")


@asynccontextmanager
async def connect(address: str) -> AsyncIterator[Database]:
    """Connect to a database that is served over 9P.

    Args:
        address: ``tcp://HOST[:PORT]`` or ``unix:///PATH``.

    Raises:
        ConfigError: The address makes no sense.
        Disconnected: Nobody serves there.
    """
    async with connect_9p(address) as client:
        yield RemoteDatabase(client)


class RemoteDatabase:
    """A :class:`~datakit_core.client.api.Database` at the other end of a 9P connection."""

    def __init__(self, client: Client, *, of: RemoteDatabase | None = None) -> None:
        """Use ``client``, which stays the caller's.

        Args:
            client: The connection.
            of: A database whose trees and commits are at hand; an id means the same everywhere.
        """
        self._client = client
        self._trees: _Kept[TreeId, Tree]
        self._commits: _Kept[CommitId, Commit]
        if of is None:
            self._trees = _Kept(_KEPT_ENTRIES, lambda tree: len(tree) + 1)
            self._commits = _Kept(_KEPT_COMMITS, lambda _: 1)
        else:
            self._trees, self._commits = of._trees, of._commits  # noqa: SLF001 - of our class
        self._names = itertools.count(1)
        self._fetching = asyncio.Lock()

    async def branches(self) -> Mapping[str, CommitId]:
        """All branches that have a head."""
        text = await self._client.read([".datakit", "heads"])
        lines = text.decode(errors="surrogateescape").splitlines()
        return {line[41:]: CommitId(ObjectId(line[:40])) for line in lines}

    async def head(self, branch: str) -> CommitId | None:
        """A branch's head, read anew."""
        try:
            return _parse_head(await self._client.read(["branch", branch, "head"]))
        except NoEntry:
            return None

    async def watch_head(self, branch: str) -> AsyncGenerator[CommitId | None, None]:
        """The head now, then each newest head; states in between may be skipped."""
        await self._make(branch)
        async with aclosing(self._client.lines(["branch", branch, "head.live"])) as lines:
            async for line in lines:
                yield _parse_head(line)

    async def commit(self, commit: CommitId) -> Commit:
        """Read a commit."""
        found = self._commits.get(commit)
        if found is None:
            found = decode_commit(commit, await self._object("commit", commit))
            self._commits.put(commit, found)
        return found

    async def tree(self, tree: TreeId) -> Tree:
        """Read one directory."""
        found = self._trees.get(tree)
        if found is None:
            found = {} if tree == EMPTY_TREE else decode_tree(await self._object("tree", tree))
            self._trees.put(tree, found)
        return found

    async def raw_tree(self, tree: TreeId) -> bytes:
        """A tree object's content as Git has it, also what of it is not served."""
        return b"" if tree == EMPTY_TREE else await self._object("tree", tree)

    async def blob(self, blob: BlobId) -> bytes:
        """Read a whole blob."""
        return await self._object("blob", blob)

    async def blob_size(self, blob: BlobId) -> int:
        """A blob's length in bytes, without reading it."""
        try:
            return (await self._client.stat([".datakit", "blob", blob])).length
        except NoEntry:
            raise UnknownObject(f"no blob {blob}") from None

    async def stream_blob(
        self, blob: BlobId, offset: int = 0, length: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """A blob, or a part of it, in pieces: one message each."""
        check_range(offset, length)
        size = await self.blob_size(blob)
        end = size if length is None else min(offset + length, size)
        async with self._client.open([".datakit", "blob", blob]) as file:
            while offset < end:
                piece = await file.read(offset, end - offset)
                if not piece:
                    raise IoFailed(f"blob {blob} ends at byte {offset} of {size}")
                offset += len(piece)
                yield piece

    async def entry(self, tree: TreeId, path: str) -> Entry | None:
        """What is at ``path`` below ``tree``; the root is its own entry."""
        entry = Entry(FileMode.DIRECTORY, tree)
        for part in split_path(path):
            if not entry.is_directory:
                return None
            found = (await self.tree(TreeId(entry.id))).get(part)
            if found is None:
                return None
            entry = found
        return entry

    async def read(self, tree: TreeId, path: str) -> bytes:
        """The content of the file at ``path``."""
        entry = await self.entry(tree, path)
        if entry is None:
            raise NoEntry
        if entry.is_directory:
            raise IsDirectory
        return await self.blob(BlobId(entry.id))

    async def history(self, commit: CommitId) -> AsyncGenerator[Commit, None]:
        """``commit`` and its first parents, newest first."""
        at: CommitId | None = commit
        while at is not None:
            found = await self.commit(at)
            yield found
            at = found.parents[0] if found.parents else None

    async def diff(self, old: TreeId, new: TreeId) -> Sequence[Change]:
        """The files that differ, sorted by path."""
        trees: dict[TreeId, Tree] = {}
        pairs = {(old, new)} if old != new else set()
        while pairs:  # level by level, all directories of one level at a time
            wanted = {tree for pair in pairs for tree in pair if tree not in trees}
            trees.update(await self._read_trees(wanted))
            pairs = {
                (_tree_of(before), _tree_of(after))
                for one, other in pairs
                for _, before, after in changed_names(trees[one], trees[other])
            } - {(EMPTY_TREE, EMPTY_TREE)}
        return diff(lambda tree: trees.get(tree, {}), old, new)

    @asynccontextmanager
    async def transaction(self, branch: str) -> AsyncIterator[Transaction]:
        """Edit ``branch`` from its present head; closed on leaving unless committed."""
        async with self._edit(branch) as transaction:
            yield transaction

    async def create_branch(self, branch: str, commit: CommitId) -> None:
        """Make a branch whose head is ``commit``."""
        await self._client.mkdir(["branch", branch])
        await self._client.command(["branch", branch, "fast-forward"], f"create {commit}")

    async def fast_forward(self, branch: str, commit: CommitId) -> None:
        """Move ``branch`` to a descendant of its head."""
        await self._client.mkdir(["branch", branch])
        await self._client.command(["branch", branch, "fast-forward"], commit)

    async def merge(self, branch: str, commit: CommitId, message: str = "") -> CommitId:
        """Bring ``commit`` into ``branch``."""
        found = await self.commit(commit)
        try:
            await self.fast_forward(branch, commit)
        except NotFastForward:
            pass
        else:
            return commit
        head = await self.head(branch)
        if head is not None and await self._has(head, found):
            return head
        async with self._edit(branch) as transaction:
            await transaction.merge(commit)
            return await transaction.commit(message or f"Merge {commit}")

    async def _has(self, head: CommitId, wanted: Commit) -> bool:
        """Whether ``wanted`` is in the history of ``head``.

        Only commits that are not older than it are looked at. DataKit's commit times never
        decrease; where another program's do, the answer may be no in spite of the truth, and a
        merge that was not needed changes nothing.
        """
        left, seen = [head], {head}
        while left:
            commit = await self.commit(left.pop())
            if commit.id == wanted.id:
                return True
            if commit.committer.time >= wanted.committer.time:
                left += [parent for parent in commit.parents if parent not in seen]
                seen.update(commit.parents)
        return False

    async def remove_branch(self, branch: str) -> None:
        """Delete a branch's ref; absent is no error."""
        with suppress(NoEntry):
            await self._client.remove(["branch", branch])

    async def rename_branch(self, old: str, new: str) -> None:
        """Give a branch another name, in one step."""
        if old == new:  # which is nothing to do over 9P
            raise NoEntry if await self.head(old) is None else AlreadyExists
        try:
            await self._client.rename(["branch", old], new)
        except IsDirectory:  # as the server calls a name that is taken
            raise AlreadyExists from None

    async def import_directory(self, path: Path) -> TreeId:
        """Store a directory of this machine; its files travel over the connection."""
        found = await asyncio.to_thread(lambda: list(scan(path)))
        async with self._scratch() as transaction:
            for file in found:
                if file.mode.is_file:
                    await transaction.write_stream(
                        file.path, pieces_of(path / file.path), file.mode
                    )
                else:
                    target = await asyncio.to_thread(read_target, path, file)
                    await transaction.write(file.path, target, file.mode)
            return await transaction.store_tree()

    async def import_tree(self, files: Mapping[str, Entry | bytes]) -> TreeId:
        """Store a tree made of contents (normal files) and existing entries, by path."""
        async with self._scratch() as transaction:
            for path, content in files.items():
                if isinstance(content, Entry):
                    await transaction.graft(path, content)
                else:
                    await transaction.write(path, content)
            return await transaction.store_tree()

    async def fetch(self, url: str, ref: str) -> CommitId:
        """Bring a commit and its history from another repository, which the server reaches."""
        remote = ["remotes", "fetch"]
        async with self._fetching:
            with suppress(AlreadyExists):
                await self._client.mkdir(remote)
            await self._client.write([*remote, "url"], url.encode(errors="surrogateescape"))
            await self._client.command([*remote, "fetch"], ref)
            return CommitId(parse_id((await self._client.read([*remote, "head"])).decode().strip()))

    async def _make(self, branch: str) -> None:
        """Make a branch to be watched; one that is there can also be watched without that right."""
        with suppress(ReadOnly, NotPermitted):
            await self._client.mkdir(["branch", branch])

    async def _read_trees(self, wanted: Iterable[TreeId]) -> Mapping[TreeId, Tree]:
        """Several directories, asked for together."""
        try:
            async with asyncio.TaskGroup() as tasks:
                reading = {tree: tasks.create_task(self.tree(tree)) for tree in wanted}
        except ExceptionGroup as group:  # one reason is enough, and callers know our errors
            raise group.exceptions[0] from None
        return {tree: task.result() for tree, task in reading.items()}

    async def _object(self, kind: str, wanted: ObjectId) -> bytes:
        try:
            return await self._client.read([".datakit", kind, wanted])
        except NoEntry:
            raise UnknownObject(f"no {kind} {wanted}") from None

    @asynccontextmanager
    async def _edit(self, branch: str) -> AsyncIterator[RemoteTransaction]:
        await self._client.mkdir(["branch", branch])
        place = ["branch", branch, "transactions", str(next(self._names))]
        await self._client.mkdir(place)
        parents = (await self._client.read([*place, "parents"])).decode().split()
        base = CommitId(parse_id(parents[0])) if parents else None
        transaction = RemoteTransaction(self._client, place, branch, base)
        try:
            yield transaction
        finally:
            # Nothing to close: the connection that had it is gone, or who waited for the commit
            # was cancelled, and it is being committed, or was.
            with suppress(Disconnected, Busy, NoEntry):
                await transaction.close()

    @asynccontextmanager
    async def _scratch(self) -> AsyncIterator[RemoteTransaction]:
        """An empty tree to be filled; no branch is touched."""
        async with self._edit(_SCRATCH) as transaction:
            await transaction.graft("", Entry(FileMode.DIRECTORY, EMPTY_TREE))
            yield transaction


class _Kept(Generic[K, V]):
    """The values that were used last, up to a total weight."""

    def __init__(self, budget: int, weigh: Callable[[V], int]) -> None:
        self._budget, self._weigh = budget, weigh
        self._used = 0
        self._values: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        if key in self._values:
            return
        self._values[key] = value
        self._used += self._weigh(value)
        while self._used > self._budget:
            _, dropped = self._values.popitem(last=False)
            self._used -= self._weigh(dropped)


def _parse_head(line: bytes) -> CommitId | None:
    text = line.decode().strip()
    return CommitId(parse_id(text)) if text else None


def _tree_of(entry: Entry | None) -> TreeId:
    return TreeId(entry.id) if entry is not None and entry.is_directory else EMPTY_TREE
