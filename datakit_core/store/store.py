"""The store: one bare Git repository, read in place and written through one writer.

This is where the parts of the package are put together; each method says what it promises and
hands the work on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from weakref import WeakSet

from datakit_core.budget import Budget
from datakit_core.errors import TooLarge, UnknownObject
from datakit_core.store.activity import Activity, Batches, Batching
from datakit_core.store.applier import Durability
from datakit_core.store.branch import Branches
from datakit_core.store.commits import Commits
from datakit_core.store.diff import Change, diff, diff_steps
from datakit_core.store.freezing import freeze_overlay
from datakit_core.store.largeblobs import LARGE_READ, LargeBlobs
from datakit_core.store.merge import Merge, merge_steps
from datakit_core.store.names import check_branch
from datakit_core.store.notice import RefNotices
from datakit_core.store.objects import (
    EMPTY_TREE,
    BlobId,
    Commit,
    CommitId,
    Entry,
    NewObject,
    ObjectId,
    ObjectKind,
    Tree,
    TreeId,
)
from datakit_core.store.process import ProcessWriter
from datakit_core.store.reader import MAX_BLOB, Reader
from datakit_core.store.recovery import recover_repository
from datakit_core.store.refs import RefFiles
from datakit_core.store.remote import Remotes
from datakit_core.store.repository import (
    create_repository,
    lock_repository,
    open_repository,
    prepare_repository,
)
from datakit_core.store.requests import ImportDirectory
from datakit_core.store.slices import in_slices
from datakit_core.store.spool import SpoolSpace
from datakit_core.store.steps import Steps
from datakit_core.store.subscribers import Subscription
from datakit_core.store.transaction import Transaction
from datakit_core.store.tree import Overlay
from datakit_core.store.watch import BranchesCallback, HeadCallback, PathCallback, Watches
from datakit_core.store.writer import Writer, WriterFactory

__all__ = ["Store"]


class Store:
    """A database in a bare repository. Made by :meth:`open`; belongs to one event loop.

    Reads return at once. Writes are coroutines, which return when the outcome is on disk; one
    that is cancelled after it was submitted is carried out all the same.

    Attributes:
        path: The repository.
        activity: What became of commits.
        batches: What each of the writers did at a time; none if they do one thing at a time.
        large: Blobs that are too large to be read at once.
    """

    def __init__(
        self,
        path: Path,
        reader: Reader,
        writer: Writer,
        bulk: Writer,
        clock: Callable[[], float],
        large: LargeBlobs,
    ) -> None:
        """Put the parts together; see :meth:`open`."""
        self.path = path
        self.activity = Activity()
        self.batches: Sequence[Batches] = [
            each.batches for each in (writer, bulk) if isinstance(each, Batching)
        ]
        self.large = large
        self._reader, self._bulk = reader, bulk
        self._watches = Watches(reader, asyncio.get_running_loop().call_soon)
        self._branches = Branches(RefFiles(path), reader, self._watches, writer, bulk)
        self._commits = Commits(self._branches, clock, self.activity)
        self._remotes = Remotes(path)
        self._transactions: WeakSet[Transaction] = WeakSet()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: Path,
        *,
        create: bool = False,
        durability: Durability = Durability.FULL,
        writer: WriterFactory | None = None,
        clock: Callable[[], float] = time.time,
    ) -> AsyncIterator[Store]:
        """Serve the repository at ``path`` until the context is left.

        Args:
            path: A bare repository.
            create: Make it if the directory is absent or empty.
            durability: What an acknowledged write survives.
            writer: What writes, in place of processes of that durability.
            clock: Seconds since 1970, for the times of commits.

        Raises:
            RepositoryError: The repository is not there, cannot be served, is served by another
                DataKit, or cannot be written; says which, and what to do.
        """
        path = _absolute(path)
        writer = writer or partial(ProcessWriter, durability=durability)
        if create:
            create_repository(path)
        repository = open_repository(path)
        with lock_repository(path) as unclean_since:
            prepare_repository(repository)
            reader, main, bulk = Reader(repository), writer(path), writer(path)
            large = LargeBlobs(path, SpoolSpace(path), synced=durability is Durability.FULL)
            large.space.clear()
            store = cls(path, reader, main, bulk, clock, large)
            notices = RefNotices(path, store._branches.notice, store._branches.compare)
            try:
                notices.start()
                store._branches.compare(await asyncio.to_thread(_survey, path, unclean_since))
                yield store
            finally:
                await notices.close()
                await large.close()
                await main.close()
                await bulk.close()
                reader.close()

    @property
    def oldest_transaction(self) -> float:
        """Seconds for which the oldest open transaction has been open; 0 if none is."""
        begun = [each.begun for each in self._transactions if not each.closed]
        return time.monotonic() - min(begun) if begun else 0.0

    @property
    def transaction_bases(self) -> set[CommitId]:
        """The commits with which open transactions began."""
        bases = {each.base for each in self._transactions if not each.closed}
        return {base for base in bases if base is not None}

    async def reopen(self) -> None:
        """Let go of files that maintenance has removed; what is read stays the same."""
        await self._reader.reopen()

    @property
    def subscribers(self) -> int:
        """How many watch a branch, a path or all branches."""
        return self._watches.subscribers

    def head(self, branch: str) -> CommitId | None:
        """A branch's head, from disk, so that it is never stale; raises ``InvalidName``."""
        return self._branches.head(branch)

    def heads(self) -> Mapping[str, CommitId]:
        """Every branch and its head, as a live view.

        What another process has done in the last milliseconds may be missing.
        """
        return self._watches.heads

    def commit(self, commit: CommitId) -> Commit:
        """Read a commit; raises ``UnknownObject``."""
        return self._reader.commit(commit)

    def tree(self, tree: TreeId) -> Tree:
        """Read one directory; raises ``UnknownObject``."""
        return self._reader.tree(tree)

    def whole_tree(self, tree: TreeId) -> Tree:
        """As :meth:`tree`, with the submodules, which are not served: for merging."""
        return self._reader.whole_tree(tree)

    def at_hand(self, tree: TreeId) -> bool:
        """Whether :meth:`tree` would answer within a few milliseconds."""
        return self._reader.at_hand(tree)

    def tree_steps(self, tree: TreeId) -> Steps[Tree]:
        """As :meth:`tree`, in steps."""
        return self._reader.tree_steps(tree)

    async def load_tree(self, tree: TreeId) -> Tree:
        """As :meth:`tree`; others have their turn meanwhile."""
        return await in_slices(self._reader.tree_steps(tree))

    def blob(self, blob: BlobId) -> bytes:
        """Read a whole blob; raises ``UnknownObject`` or ``TooLarge``."""
        return self._reader.blob(blob)

    async def read_blob(self, blob: BlobId) -> bytes:
        """Read a whole blob, and let others have their turn if it is large."""
        size = self._reader.size(blob)
        if size <= LARGE_READ:
            return self._reader.blob(blob)
        if size > MAX_BLOB:
            raise TooLarge
        return await self.large.read(blob, size)

    def size(self, blob: BlobId) -> int:
        """A blob's length in bytes; does not read it."""
        return self._reader.size(blob)

    def kind(self, object_id: ObjectId) -> ObjectKind | None:
        """What sort of object it is; none if absent."""
        return self._reader.kind(object_id)

    def raw(self, object_id: ObjectId) -> bytes:
        """An object's content without Git's header; raises ``UnknownObject``."""
        return self._reader.raw(object_id)

    def entry(self, tree: TreeId, path: str) -> Entry | None:
        """What is at ``path`` below ``tree``, which ``""`` is itself; none if absent."""
        return self._reader.entry(tree, path)

    def diff(self, old: TreeId | None, new: TreeId | None) -> list[Change]:
        """The files that differ, sorted by path; equal directories are not read."""
        return diff(self._reader.tree, old, new)

    async def diff_in_slices(self, old: TreeId | None, new: TreeId | None) -> list[Change]:
        """As :meth:`diff`; others have their turn meanwhile."""
        return await in_slices(diff_steps(self._reader.tree_steps, old, new))

    async def merge_trees(self, base: TreeId | None, ours: TreeId, theirs: TreeId) -> Merge:
        """Merge stored trees as :func:`datakit_core.store.merge.merge` does; stores nothing."""
        return await in_slices(merge_steps(self._reader.whole_tree_steps, base, ours, theirs))

    def transaction(self, branch: str, budget: Budget | None = None) -> Transaction:
        """Begin to edit ``branch`` from its present head; it need not exist.

        Args:
            branch: The branch.
            budget: What the edits take their memory from, until the transaction is released.

        Raises:
            NoMemory: The budget is used up.
        """
        check_branch(branch)
        made = Transaction(self._reader, self._branches, self._commits, self.large, branch, budget)
        self._transactions.add(made)
        return made

    def overlay(self, base: TreeId | None) -> Overlay:
        """Begin to edit a tree that belongs to no branch; none begins with nothing."""
        return Overlay(self._reader, base, space=self.large.space)

    async def freeze(self, overlay: Overlay) -> tuple[TreeId, tuple[NewObject, ...]]:
        """Name an edited tree, which nobody may edit meanwhile, and store its long files.

        Returns:
            The tree, and the objects that are still to be stored for it.
        """
        return await freeze_overlay(overlay, self.large)

    async def create_commit(
        self,
        tree: TreeId,
        parents: Sequence[CommitId],
        message: str,
        *,
        objects: Sequence[NewObject] = (),
        kept: bool = False,
    ) -> CommitId:
        """Store a commit; no branch moves.

        Args:
            tree: Its tree, stored already or among ``objects``.
            parents: Stored commits.
            message: Its message.
            objects: What is stored with it.
            kept: Whether a private ref keeps it, as it does a fetched commit.

        Raises:
            UnknownObject: The tree or a parent is not there.
        """
        new = {new.id for new in objects}
        if tree not in new and self.kind(tree) is not ObjectKind.TREE:
            raise UnknownObject(f"no tree {tree}")
        commit = self._commits.new(tree, parents, message, objects)
        if kept:
            await self._branches.keep(commit.id, commit.objects)
        else:
            await self._branches.write(commit.objects)
        return commit.id

    async def forget_commit(self, commit: CommitId) -> None:
        """Let go a commit that was created as ``kept``, which a branch has now."""
        await self._branches.forget(commit)

    async def update_head(self, branch: str, old: CommitId | None, new: CommitId | None) -> None:
        """Move a branch from ``old`` to ``new``, wherever that is; none stands for no branch.

        Raises:
            HeadMoved: The head is not ``old``.
            UnknownObject: ``new`` is not a commit here.
            InvalidName: The branch cannot be, for its name or for others beside it.
        """
        await self._branches.update(branch, old, new)

    async def create_branch(self, branch: str, commit: CommitId) -> None:
        """Make a branch whose head is ``commit``.

        Raises:
            AlreadyExists: It has a head; it stays there.
            UnknownObject: ``commit`` is not a commit here.
            InvalidName: The branch cannot be, for its name or for others beside it.
        """
        await self._branches.create(branch, commit)

    async def fast_forward(self, branch: str, commit: CommitId) -> None:
        """Move a branch to a descendant of its head; the head itself is no error.

        Raises:
            NotFastForward: ``commit`` does not descend from the head.
            UnknownObject: It is not a commit here.
        """
        await self._branches.fast_forward(branch, commit)

    async def merge(self, branch: str, commit: CommitId, message: str) -> CommitId:
        """Bring a stored commit into a branch; a merge, if one is needed, has ``message``.

        Returns:
            The branch's head: the commit if that simply moves the branch, the old head if the
            branch has the commit already, else a merge of both.

        Raises:
            MergeConflict: Both sides changed a path.
            UnknownObject: It is not a commit here.
        """
        own = self._commits.stored(commit, message)
        head = self.head(branch)
        if head is not None and await self.is_ancestor(commit, head):
            return head
        return await self._commits.land(branch, own)

    async def remove_branch(self, branch: str) -> None:
        """Delete a branch; absent is no error."""
        await self._branches.remove(branch)

    async def rename_branch(self, old: str, new: str) -> None:
        """Give a branch another name; raises ``NoEntry`` or ``AlreadyExists``."""
        await self._branches.rename(old, new)

    async def merge_base(self, a: CommitId, b: CommitId) -> CommitId | None:
        """The best common ancestor of two commits; none if their histories are apart."""
        return await self._branches.merge_base(a, b)

    async def is_ancestor(self, ancestor: CommitId, descendant: CommitId) -> bool:
        """Whether ``descendant`` is ``ancestor`` or has it in its history."""
        return await self._branches.is_ancestor(ancestor, descendant)

    async def import_directory(self, path: Path) -> TreeId:
        """Store a directory of this machine: files, links, executable bits.

        Raises:
            IoFailed: Something cannot be read.
            InvalidArgument: A name is not allowed in a tree.
        """
        tree = await self._bulk.submit(ImportDirectory(_absolute(path)))
        return TreeId(ObjectId(tree)) if isinstance(tree, str) else EMPTY_TREE

    async def write_objects(self, objects: Sequence[NewObject]) -> None:
        """Store objects to which nothing refers yet."""
        await self._branches.write(objects)

    async def fetch(self, url: str, ref: str, *, anonymous: bool = False) -> CommitId:
        """Bring a commit and its history from another repository; a private ref keeps it.

        Args:
            url: A URL with an allowed scheme, or an absolute path; see
                :class:`~datakit_core.store.policy.FetchPolicy` for URLs that clients name.
            ref: A full ref name, or a commit where the other side allows that.
            anonymous: Whether passwords that our user has stored stay unused over HTTP.

        Raises:
            InvalidArgument: The URL or the ref is not allowed.
            StoreError: Git could not fetch it.
        """
        return await self._remotes.fetch(url, ref, anonymous=anonymous)

    def subscribe_head(self, branch: str, callback: HeadCallback) -> Subscription:
        """Call back with every new head of ``branch``; heads in between may be skipped.

        The callback runs on the event loop, must not wait, and may be told the head that was
        there when it subscribed.
        """
        return self._watches.subscribe_head(check_branch(branch), callback)

    def subscribe_path(self, branch: str, path: str, callback: PathCallback) -> Subscription:
        """Call back with what is at ``path`` of ``branch`` whenever that changes."""
        return self._watches.subscribe_path(check_branch(branch), path, callback)

    def subscribe_branches(self, callback: BranchesCallback) -> Subscription:
        """Call back with the names of the branches whose heads have changed."""
        return self._watches.subscribe_branches(callback)


def _survey(path: Path, unclean_since: float | None) -> Mapping[str, CommitId]:
    """The heads to begin with, once what a dead process has left is put right."""
    recover_repository(path, unclean_since)
    return RefFiles(path).heads()


def _absolute(path: Path) -> Path:
    """``path`` from the root; the writer's process may have another working directory."""
    return path.absolute()
