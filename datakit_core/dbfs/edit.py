"""One open transaction as a connection works on it: its files, commands and merges."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from datakit_core.dbfs.contents import Contents
from datakit_core.dbfs.diff import diff_text
from datakit_core.errors import Busy, InvalidArgument, ReadOnly
from datakit_core.store import (
    EMPTY_TREE,
    CommitId,
    Entry,
    FileMode,
    ObjectId,
    Store,
    Tree,
    TreeId,
    diff,
    merge,
    parse_id,
)
from datakit_core.store.objects import decode_tree
from datakit_core.vfs import Answer, CommandFile, MemoryFile, inode_of

__all__ = ["Edit", "Merged"]

_NO_MESSAGE = "(no commit message)"


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
        inode: Not used by any other transaction of the connection.
        message: The file ``msg``.
        parents: The file ``parents``: text that only a commit or a merge looks at.
        ctl: The command file that commits or closes.
        merge: The command file that merges a commit into the edits.
        merged: What was merged last; none before the first merge.
        conflicts: Paths that the last merge could not resolve and nobody has touched since.
    """

    def __init__(
        self,
        store: Store,
        contents: Contents,
        branch: str,
        inode: int,
        finished: Callable[[], None],
    ) -> None:
        """Start from the head of ``branch``; call ``finished`` after the commit or the close."""
        self.contents = contents
        self._store = store
        self._finished = finished
        self._busy = False
        self._over = False
        self.transaction = store.transaction(branch)
        self.inode = inode
        self.message = MemoryFile("msg", inode=inode_of(inode, "msg"))
        parents = self.transaction.parents.encode()
        self.parents = MemoryFile("parents", parents, inode=inode_of(inode, "parents"))
        self.ctl = CommandFile("ctl", self._control, inode=inode_of(inode, "ctl"))
        self.merge = CommandFile("merge", self._merge, inode=inode_of(inode, "merge"))
        self.merged: Merged | None = None
        self.conflicts: set[str] = set()

    def check_open(self) -> None:
        """Refuse a change that no commit would contain.

        Raises:
            ReadOnly: The transaction is over.
            Busy: It is being committed or merged.
        """
        if self._over:
            raise ReadOnly("The transaction is closed; start another one")
        if self._busy:
            raise Busy("The transaction is being committed or merged; wait for that")

    def touched(self, path: str) -> None:
        """Somebody has dealt with ``path`` and all below it: conflicts there are resolved."""
        if self.conflicts:
            below = f"{path}/"
            self.conflicts = {
                conflict
                for conflict in self.conflicts
                if conflict != path and not conflict.startswith(below)
            }

    def close(self) -> None:
        """Forget the edits; what is open can still be read. Does nothing after a commit."""
        if not self._over:
            self.transaction.close()
            self._end()

    def diff_from(self, tree: TreeId) -> bytes:
        """What differs from ``tree`` to the edits as they are now, one path to a line."""
        now, objects = self.transaction.tree.freeze()
        new = {item.id: item for item in objects}

        def read(wanted: TreeId) -> Tree:
            found = new.get(ObjectId(wanted))
            return self._store.tree(wanted) if found is None else decode_tree(found.data)

        return diff_text(diff(read, tree, now))

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
        if self._busy:
            raise Busy("The transaction is being committed or merged; wait for that")
        self.close()
        return b""

    async def _commit(self, commit: Callable[[], Awaitable[CommitId]]) -> bytes:
        """Commit, and give the id of the commit that the branch got."""
        with self._alone():
            self.transaction.message = self._message()
            self.transaction.parents = _text(self.parents)
            head = await commit()
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
        tree, objects = self.transaction.tree.freeze()
        await self._store.write_objects(objects)
        return f"{Entry(FileMode.DIRECTORY, tree)}\n".encode()

    async def _merge(self, command: str) -> bytes:
        """Merge a commit into the edits, which are committed first, without a branch."""
        with self._alone():
            theirs = CommitId(parse_id(command))
            their_tree = self._store.commit(theirs).tree
            our_tree, objects = self.transaction.tree.freeze()
            ours = await self._store.create_commit(
                our_tree, self._parent_ids(), self._message(), objects=objects
            )
            base = await self._store.merge_base(ours, theirs)
            base_tree = None if base is None else self._store.commit(base).tree
            result = merge(self._store.whole_tree, base_tree, our_tree, their_tree)
            await self._store.write_objects(result.objects)
            self.transaction.tree.graft("", Entry(FileMode.DIRECTORY, result.tree))
        self.merged = Merged(our_tree, their_tree, base_tree or EMPTY_TREE)
        self.conflicts = set(result.conflicts)
        parents = self.parents.content
        separator = b"\n" if parents and not parents.endswith(b"\n") else b""
        self.parents.content = parents + separator + f"{theirs}\n".encode()
        return b"ok"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let nobody change the edits while they are on their way into the store."""
        self.check_open()
        if self.conflicts:
            raise InvalidArgument("conflicts file is not empty")
        self._busy = True
        try:
            yield
        finally:
            self._busy = False

    def _parent_ids(self) -> list[CommitId]:
        lines = (line.strip() for line in _text(self.parents).splitlines())
        return [self._store.commit(CommitId(parse_id(line))).id for line in lines if line]

    def _message(self) -> str:
        return _text(self.message) or _NO_MESSAGE

    def _end(self) -> None:
        if not self._over:
            self._over = True
            self._finished()


def _text(file: MemoryFile) -> str:
    return file.content.decode(errors="surrogateescape")


def _parse_entry(text: str) -> Entry:
    """``F-<id>``, as ``/trees`` and watches write it."""
    letter, _, digits = text.partition("-")
    mode = FileMode.from_letter(letter)
    if mode is None:
        raise InvalidArgument(f'"{text}" is not D-, F-, X- or L- and an object id')
    return Entry(mode, parse_id(digits))
