"""Branches: where their heads are, and how they are moved.

Every move is a compare-and-swap under Git's own lock, so a ref that another Git process moves is
never overwritten. Moves that have been submitted and not yet acknowledged form a chain: the next
commit to the same branch builds on the last of them instead of waiting. Nobody else sees them; if
one fails, so do those that build on it, and each of them starts again from the head that is there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from datakit_core.errors import AlreadyExists, HeadMoved, NoEntry, NotFastForward, UnknownObject
from datakit_core.store.names import check_branch
from datakit_core.store.objects import (
    Commit,
    CommitId,
    NewObject,
    ObjectId,
    ObjectKind,
    Tree,
    TreeId,
    decode_commit,
    decode_whole_tree_steps,
)
from datakit_core.store.reader import Reader
from datakit_core.store.refs import MERGED, RefFiles, ref_of
from datakit_core.store.requests import LARGE, Bulk, IsAncestor, MergeBase, RefUpdate, Write
from datakit_core.store.steps import Steps
from datakit_core.store.watch import Watches
from datakit_core.store.writer import Writer

__all__ = ["Branches", "Staged"]

_MOST_IN_PART = 500
"""Objects that the writer is given at a time."""

_ATTEMPTS = 1000
"""Lost races after which a move is given up: something moves the branch all the time."""


class Staged:
    """Objects that were submitted and are not yet acknowledged, over those that are stored.

    Only the next commit of a chain reads through this.
    """

    def __init__(self, reader: Reader) -> None:
        """Nothing is submitted yet."""
        self._reader = reader
        self._objects: dict[ObjectId, NewObject] = {}
        self._uses: Counter[ObjectId] = Counter()

    @contextlib.contextmanager
    def holding(self, objects: Iterable[NewObject]) -> Iterator[None]:
        """Make ``objects`` readable here for a while."""
        held = [new for new in objects if new.kind is not ObjectKind.BLOB]
        for new in held:
            self._objects[new.id] = new
            self._uses[new.id] += 1
        try:
            yield
        finally:
            for new in held:
                self._uses[new.id] -= 1
                if not self._uses[new.id]:
                    del self._uses[new.id], self._objects[new.id]

    def whole_tree_steps(self, tree: TreeId) -> Steps[Tree]:
        """Read one directory, submodules included, in steps."""
        new = self._objects.get(tree)
        if new is None:
            return self._reader.whole_tree_steps(tree)
        return decode_whole_tree_steps(new.data)

    def commit(self, commit: CommitId) -> Commit:
        """Read a commit."""
        new = self._objects.get(commit)
        return self._reader.commit(commit) if new is None else decode_commit(commit, new.data)


@dataclass(slots=True)
class _Chain:
    """Moves of one branch that are under way, each from where the one before leads to."""

    tip: CommitId | None = None
    length: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Branches:
    """The branches of one store."""

    def __init__(
        self, files: RefFiles, reader: Reader, watches: Watches, writer: Writer, bulk: Writer
    ) -> None:
        """Know nothing yet; see :meth:`compare`.

        Args:
            files: The refs on disk.
            reader: The objects on disk.
            watches: Whom to tell.
            writer: Moves refs, and writes what is small.
            bulk: Writes what is large, so that it holds up nobody.
        """
        self.staged = Staged(reader)
        self._files, self._reader, self._watches = files, reader, watches
        self._writer, self._bulk = writer, bulk
        self._chains: dict[str, _Chain] = {}

    def head(self, branch: str) -> CommitId | None:
        """The head on disk; none also for a ref that holds no commit."""
        head = self._files.head(check_branch(branch))
        return head if head is not None and self._is_commit(branch, head) else None

    def tip(self, branch: str) -> CommitId | None:
        """The head as it will be when everything submitted has succeeded."""
        chain = self._chains.get(branch)
        return self.head(branch) if chain is None else chain.tip

    def refresh(self, branches: Iterable[str]) -> None:
        """Read the heads of ``branches`` from disk again, and tell the watchers."""
        self._watches.publish({name: self._served(name) for name in set(branches)})

    def compare(self, heads: Mapping[str, CommitId]) -> None:
        """Refresh where ``heads``, all that were found on disk a moment ago, differ."""
        known = self._watches.heads
        names = known.keys() | heads.keys()
        self._refresh_idle(name for name in names if known.get(name) != heads.get(name))

    def notice(self, paths: Iterable[Path]) -> None:
        """Refresh the branches whose files are, or were, at ``paths``."""
        known = self._watches.heads
        # Packing thousands of refs gives each of them a line that says what is known.
        packed = self._files.repacked().items()
        named = {name for name, head in packed if known.get(name) != head}
        gone: set[str] = set()
        for path in paths:
            below = set(self._files.below(path))
            named |= below
            if not path.exists():  # it may have been a directory, with branches
                gone |= below
        if gone:
            named.update(
                name for name in known if "/" in name and not gone.isdisjoint(_above(name))
            )
        self._refresh_idle(named)

    def _refresh_idle(self, branches: Iterable[str]) -> None:
        """Refresh those of ``branches`` that we are not moving ourselves.

        The files of the others may show a head that is not acknowledged yet, or the second of two;
        each of our moves tells its own, and then looks at the disk.
        """
        self.refresh(branch for branch in branches if branch not in self._chains)

    async def move(
        self,
        branch: str,
        old: CommitId | None,
        new: CommitId | None,
        objects: Sequence[NewObject] = (),
    ) -> None:
        """Write ``objects``, then move ``branch`` from ``old`` to ``new``.

        Raises:
            HeadMoved: The branch is not, or no longer, at ``old``.
        """
        chain = self._chains.setdefault(branch, _Chain())
        chain.tip = new
        chain.length += 1
        try:
            with self.staged.holding(objects):
                update = RefUpdate(ref_of(branch), old, new)
                await self._writer.submit(Write(tuple(objects), (update,)))
            self._tell_of_move(branch, old, new)
        except BaseException:
            # All that builds on this fails too; who comes next begins with what is on disk.
            chain.length = 0
            raise
        finally:
            chain.length -= 1
            if chain.length <= 0 and self._chains.get(branch) is chain:
                del self._chains[branch]
                chain.ended.set()
            self.refresh([branch])

    def _tell_of_move(self, branch: str, old: CommitId | None, new: CommitId | None) -> None:
        """Tell the watchers of a head that may have been followed by another one already.

        Moves that were written together are acknowledged one by one; the disk would only show
        where the last one led.
        """
        if self._watches.heads.get(branch) == old:
            self._watches.publish({branch: new})

    async def settled(self, branch: str) -> None:
        """Wait until nothing that was submitted for ``branch`` is without an outcome."""
        while (chain := self._chains.get(branch)) is not None:
            await chain.ended.wait()

    async def write_ahead(self, objects: Sequence[NewObject]) -> Sequence[NewObject]:
        """Store ``objects`` now if they are large; what is left to be written with the move."""
        parts = list(_parts(objects))
        if len(parts) <= 1:
            return objects
        for number, part in enumerate(parts, 1):
            await self._bulk.submit(Bulk(part, last=number == len(parts)))
        return ()

    async def write(self, objects: Sequence[NewObject]) -> None:
        """Store objects to which nothing refers yet."""
        left = await self.write_ahead(objects)
        if left:
            await self._writer.submit(Write(tuple(left)))

    async def merge_base(self, one: CommitId, other: CommitId) -> CommitId | None:
        """The best common ancestor of two stored commits."""
        base = await self._writer.submit(MergeBase(one, other))
        return CommitId(ObjectId(base)) if isinstance(base, str) else None

    async def is_ancestor(self, ancestor: CommitId, descendant: CommitId) -> bool:
        """Whether ``descendant`` is ``ancestor`` or has it in its history."""
        return bool(await self._writer.submit(IsAncestor(ancestor, descendant)))

    async def update(self, branch: str, old: CommitId | None, new: CommitId | None) -> None:
        """Move ``branch`` wherever ``new`` is; raises ``HeadMoved`` or ``UnknownObject``."""
        check_branch(branch)
        self._check_commit(new)
        await self.move(branch, old, new)

    async def create(self, branch: str, commit: CommitId) -> None:
        """Make a branch whose head is ``commit``; raises ``AlreadyExists`` if it has one."""
        try:
            await self.update(branch, None, commit)
        except HeadMoved:
            raise AlreadyExists from None

    async def keep(self, commit: CommitId, objects: Sequence[NewObject]) -> None:
        """Store a commit that is on no branch; a private ref keeps it, as it does fetched ones."""
        left = await self.write_ahead(objects)
        update = RefUpdate(MERGED + commit, None, commit)
        with contextlib.suppress(HeadMoved):  # it is kept already
            await self._writer.submit(Write(tuple(left), (update,)))

    async def forget(self, commit: CommitId) -> None:
        """Remove the ref that keeps a commit, since a branch has it now; absent is no error."""
        with contextlib.suppress(HeadMoved):
            await self._writer.submit(Write((), (RefUpdate(MERGED + commit, commit, None),)))

    async def fast_forward(self, branch: str, commit: CommitId) -> None:
        """Move ``branch`` to ``commit``, a descendant of its head or the head itself."""
        self._check_commit(commit)
        for _ in range(_ATTEMPTS):
            head = self.head(branch)
            if head == commit:
                return
            if head is not None and not await self.is_ancestor(head, commit):
                raise NotFastForward
            try:
                await self.move(branch, head, commit)
            except HeadMoved:
                continue
            return
        raise HeadMoved(branch, commit, self.head(branch))

    async def remove(self, branch: str) -> None:
        """Delete a branch; absent is no error."""
        while (head := self.head(branch)) is not None:
            try:
                await self.move(branch, head, None)
            except HeadMoved:
                continue
            return

    async def rename(self, old: str, new: str) -> None:
        """Give a branch another name, in one step.

        Raises:
            NoEntry: There is no branch ``old``.
            AlreadyExists: There is a branch ``new``.
        """
        head = self.head(old)
        if head is None:
            raise NoEntry
        if self.head(new) is not None:
            raise AlreadyExists
        updates = (RefUpdate(ref_of(old), head, None), RefUpdate(ref_of(new), None, head))
        try:
            await self._writer.submit(Write((), updates))
        finally:
            self.refresh([old, new])

    def _served(self, branch: str) -> CommitId | None:
        head = self._files.head(branch)
        return head if head is not None and self._is_commit(branch, head) else None

    def _is_commit(self, branch: str, head: CommitId) -> bool:
        known = self._watches.heads.get(branch)
        return head == known or self._reader.kind(head) is ObjectKind.COMMIT

    def _check_commit(self, commit: CommitId | None) -> None:
        if commit is not None and self._reader.kind(commit) is not ObjectKind.COMMIT:
            raise UnknownObject(f"no commit {commit}")


def _above(branch: str) -> Iterator[str]:
    """The directories that a branch's file is in, below that of all branches."""
    at = branch.rfind("/")
    while at > 0:
        yield branch[:at]
        at = branch.rfind("/", 0, at)


def _parts(objects: Sequence[NewObject]) -> Iterator[tuple[NewObject, ...]]:
    """Cut ``objects`` so that no part takes long to hand over; none of them is a single part."""
    start = size = 0
    for number, new in enumerate(objects):
        size += len(new.data)
        if size > LARGE or number - start >= _MOST_IN_PART:
            yield tuple(objects[start : number + 1])
            start, size = number + 1, 0
    if start < len(objects):
        yield tuple(objects[start:])
