"""One open transaction as a connection works on it: its files, commands and merges."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from datakit_core.budget import Budget
from datakit_core.dbfs.contents import Contents
from datakit_core.dbfs.diff import diff_text
from datakit_core.errors import Busy, InvalidArgument, ReadOnly
from datakit_core.store import (
    EMPTY_TREE,
    LARGE_READ,
    BlobId,
    CommitId,
    Entry,
    FileMode,
    NewObject,
    ObjectId,
    Store,
    Tree,
    TreeId,
    parse_id,
)
from datakit_core.store.diff import diff_steps
from datakit_core.store.names import MAX_DEPTH, join, split_path
from datakit_core.store.objects import decode_tree_steps
from datakit_core.store.slices import in_slices
from datakit_core.store.steps import Steps
from datakit_core.vfs import Answer, CommandFile, MemoryFile, inode_of, weakly

__all__ = ["Edit", "Merged"]

T = TypeVar("T")

_NO_MESSAGE = "(no commit message)"

_MOST_HELD = 1 << 20
"""Bytes that a transaction holds of merges; what is more is kept in the repository by a ref."""

_BASE = 6000
"""Bytes that a transaction takes before anything is edited, roughly."""

_BUSY = "The transaction is being committed or merged; wait for that"


@dataclass(frozen=True, slots=True)
class Merged:
    """The trees of the last merge; ``base`` is the empty one without a common ancestor."""

    ours: TreeId
    theirs: TreeId
    base: TreeId


class Edit:
    """A transaction of one connection.

    Attributes:
        transaction: The store's side of it.
        contents: Where stored blobs are read.
        large: Where large ones are.
        inode: Not used by any other transaction of the connection.
        message: The file ``msg``.
        parents: The file ``parents``: text that only a commit or a merge looks at.
        ctl: The command file that commits or closes.
        merge: The command file that merges a commit into the edits.
        merged: What was merged last; none before the first merge.
        conflicts: Paths that the last merge could not resolve and nobody has touched since,
            sorted by their bytes.
    """

    def __init__(
        self,
        store: Store,
        contents: Contents,
        branch: str,
        inode: int,
        finished: Callable[[], None],
        budget: Budget | None = None,
    ) -> None:
        """Start from the head of ``branch``; call ``finished`` after the commit or the close.

        Raises:
            NoMemory: The ``budget``, which the edits take their memory from, is used up.
        """
        self.contents = contents
        self._store = store
        self._finished = finished
        self._busy = False
        self._looking = 0
        self._over = False
        self._merged_objects: dict[ObjectId, NewObject] = {}
        self._kept: list[CommitId] = []
        self._copying = asyncio.Lock()
        self.large = store.large
        self._budget = Budget(1 << 62, "transaction", budget)
        try:
            self._budget.take(_BASE)
            self.transaction = store.transaction(branch, self._budget)
        except BaseException:
            self._budget.close()
            raise
        self.inode = inode
        self.message = MemoryFile("msg", inode=inode_of(inode, "msg"), budget=self._budget)
        parents = self.transaction.parents.encode()
        self.parents = MemoryFile(
            "parents", parents, inode=inode_of(inode, "parents"), budget=self._budget
        )
        self.ctl = CommandFile("ctl", weakly(self._control), inode=inode_of(inode, "ctl"))
        self.merge = CommandFile("merge", weakly(self._merge), inode=inode_of(inode, "merge"))
        self.merged: Merged | None = None
        self.conflicts: dict[str, None] = {}
        self._conflict_directories: set[str] = set()

    def check_open(self) -> None:
        """Refuse a change that no commit would contain.

        Raises:
            ReadOnly: The transaction is over.
            Busy: It is being committed or merged.
        """
        if self._over:
            raise ReadOnly("The transaction is closed; start another one")
        if self._busy or self._looking:
            raise Busy(_BUSY)

    def change_file(self, path: str, change: Callable[[], T]) -> Answer[T]:
        """Change a file at ``path``, which may have to be copied into a spool first.

        Raises:
            ReadOnly: The transaction is over.
            Busy: It is being committed or merged.
        """
        self.check_open()
        entry = self.transaction.tree.unedited(path)
        if entry is None or entry.is_directory:
            return change()
        size = self.contents.size(BlobId(entry.id))
        if size > LARGE_READ:
            return self._change_large(path, entry, size, change)
        return self.when_loaded(path.rpartition("/")[0], change)

    def when_loaded(self, directory: str, change: Callable[[], T]) -> Answer[T]:
        """Do what needs the names in a directory, and in those above it.

        Decoding a directory of 100,000 names takes a tenth of a second, so it is done in slices,
        once: then they are at hand.
        """
        missing = self._missing(directory)
        return change() if missing is None else self._load_first(missing, directory, change)

    def _missing(self, directory: str) -> TreeId | None:
        """A tree on the way to ``directory`` that is not at hand."""
        tree, at = self.transaction.tree, ""
        if tree.unedited(directory) is None:  # it is edited, and so is all that is above it
            return None
        for part in ("", *split_path(directory)):
            at = join(at, part) if part else at
            entry = tree.unedited(at)
            if entry is not None and entry.is_directory:
                missing = TreeId(entry.id)
                if not self._store.at_hand(missing):
                    return missing
        return None

    async def _load_first(self, missing: TreeId, directory: str, change: Callable[[], T]) -> T:
        for _ in range(MAX_DEPTH):
            await self._store.load_tree(missing)
            found = self._missing(directory)
            if found is None:
                break
            missing = found
        return change()

    async def _change_large(self, path: str, entry: Entry, size: int, change: Callable[[], T]) -> T:
        async with self._copying:  # of several writes at once, the first one copies
            if self.transaction.tree.unedited(path) == entry:
                spool = await self.large.copy(BlobId(entry.id), size)
                self.transaction.tree.adopt(path, entry, spool)
        self.check_open()
        return change()

    def touched(self, path: str) -> None:
        """Somebody has dealt with ``path`` and all below it: conflicts there are resolved."""
        self.conflicts.pop(path, None)
        if path in self._conflict_directories:
            below = f"{path}/" if path else ""
            for conflict in [each for each in self.conflicts if each.startswith(below)]:
                del self.conflicts[conflict]
            self._conflict_directories.discard(path)

    def close(self) -> None:
        """Forget the edits; what is open shows the tree before them. Nothing after a commit."""
        if not self._over:
            self.transaction.close()
            self._end()

    async def diff_from(self, tree: TreeId) -> bytes:
        """What differs from ``tree`` to the edits as they are now, one path to a line.

        Raises:
            Busy: It is being committed or merged.
        """
        with self._still():
            now, objects = await self._store.freeze(self.transaction.tree)
        new = {item.id: item for item in objects}

        def read(wanted: TreeId) -> Steps[Tree]:
            found = new.get(ObjectId(wanted))
            if found is None:
                return self._store.tree_steps(wanted)
            return decode_tree_steps(found.data)

        return await in_slices(diff_text(await in_slices(diff_steps(read, tree, now))))

    def _control(self, command: str) -> Answer[bytes]:
        match command.split(" ", 2):
            case ["close"]:
                return self._close()
            case ["commit"]:
                return self._commit(self.transaction.commit)
            case ["commit-if", head]:
                expected = None if head == "none" else CommitId(parse_id(head))
                return self._commit(lambda: self.transaction.commit_if(expected))
            case ["graft", entry, path]:
                return self._graft(entry, path)
            case ["graft", entry]:
                return self._graft(entry, "")
            case ["tree"]:
                return self._store_tree()
            case _:
                raise InvalidArgument(f'Unknown command "{command}"')

    def _close(self) -> bytes:
        if self._busy or self._looking:
            raise Busy(_BUSY)
        self.close()
        return b""

    def _commit(self, commit: Callable[[], Awaitable[CommitId]]) -> Answer[bytes]:
        """Commit, and give the id of the commit that the branch got."""
        self._begin_alone()
        self.transaction.message = self._message()
        self.transaction.parents = _text(self.parents)
        return self._land(commit)

    async def _land(self, commit: Callable[[], Awaitable[CommitId]]) -> bytes:
        with self._alone():
            if self._merged_objects:  # which no ref has kept since, if somebody ran git gc --prune
                await self._store.write_objects(list(self._merged_objects.values()))
            head = await commit()
            for kept in self._kept:
                await self._store.forget_commit(kept)
        self._end()
        return f"{head}\n".encode()

    def _graft(self, entry: str, path: str) -> bytes:
        self.check_open()
        self.transaction.tree.graft(path, _parse_entry(entry))
        self.touched(path)
        return b""

    async def _store_tree(self) -> bytes:
        """Store the tree as it is now, without a commit, so that it can be used elsewhere."""
        self.check_open()
        with self._still():
            tree, objects = await self._store.freeze(self.transaction.tree)
        await self._store.write_objects(objects)
        return f"{Entry(FileMode.DIRECTORY, tree)}\n".encode()

    def _merge(self, command: str) -> Answer[bytes]:
        """Merge a commit into the edits, which are committed first, without a branch."""
        self._begin_alone()
        return self._merge_alone(command)

    async def _merge_alone(self, command: str) -> bytes:
        with self._alone():
            theirs = CommitId(parse_id(command))
            their_tree = self._store.commit(theirs).tree
            long = bool(self.transaction.tree.unstored())
            our_tree, objects = await self._store.freeze(self.transaction.tree)
            ours = await self._store.create_commit(
                our_tree, self._parent_ids(), self._message(), objects=objects
            )
            base = await self._store.merge_base(ours, theirs)
            base_tree = None if base is None else self._store.commit(base).tree
            result = await self._store.merge_trees(base_tree, our_tree, their_tree)
            await self._store.write_objects(result.objects)
            await self._store.load_tree(result.tree)
            if long or not self._hold((*objects, *result.objects)):
                message = "Merged in a transaction, and not committed yet"
                self._kept.append(
                    await self._store.create_commit(result.tree, [ours, theirs], message, kept=True)
                )
            self.transaction.tree.graft("", Entry(FileMode.DIRECTORY, result.tree))
        self.merged = Merged(our_tree, their_tree, base_tree or EMPTY_TREE)
        self.conflicts = dict.fromkeys(result.conflicts)
        self._conflict_directories = {at for path in self.conflicts for at in _above(path)}
        parents = self.parents.content
        separator = b"\n" if parents and not parents.endswith(b"\n") else b""
        self.parents.content = parents + separator + f"{theirs}\n".encode()
        return b"ok"

    def _hold(self, objects: Sequence[NewObject]) -> bool:
        """Hold what a merge has stored, which no ref keeps, for the commit; unless it is much."""
        held = self._merged_objects | {item.id: item for item in objects}
        if sum(len(item.data) for item in held.values()) > _MOST_HELD:
            return False
        self._merged_objects = held
        return True

    def _begin_alone(self) -> None:
        """Let nobody change the edits from now on: they are on their way into the store.

        Called before the first coroutine, so that requests count in the order in which they came.
        """
        self.check_open()
        if self.conflicts:
            raise InvalidArgument("conflicts file is not empty")
        self._busy = True

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """After :meth:`_begin_alone`, and until the edits are stored or refused."""
        try:
            yield
        finally:
            self._busy = False

    @contextmanager
    def _still(self) -> Iterator[None]:
        """Let nobody change the edits while they are looked at as a whole; any number may look."""
        if self._busy:
            raise Busy(_BUSY)
        self._looking += 1
        try:
            yield
        finally:
            self._looking -= 1

    def _parent_ids(self) -> list[CommitId]:
        lines = (line.strip() for line in _text(self.parents).splitlines())
        return [self._store.commit(CommitId(parse_id(line))).id for line in lines if line]

    def _message(self) -> str:
        return _text(self.message) or _NO_MESSAGE

    def _end(self) -> None:
        if not self._over:
            self._over = True
            self._finished()
            self._budget.close()


def _above(path: str) -> Iterator[str]:
    """The directories that ``path`` is below, the root included."""
    while path:
        path = path.rpartition("/")[0]
        yield path


def _text(file: MemoryFile) -> str:
    return file.content.decode(errors="surrogateescape")


def _parse_entry(text: str) -> Entry:
    """``F-<id>``, as ``/trees`` and watches write it."""
    letter, _, digits = text.partition("-")
    mode = FileMode.from_letter(letter)
    if mode is None:
        raise InvalidArgument(f'"{text}" is not D-, F-, X- or L- and an object id')
    return Entry(mode, parse_id(digits))
