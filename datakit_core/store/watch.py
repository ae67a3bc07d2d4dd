"""Who wants to know when a branch, or a path in it, changes.

Watching is level-triggered: a subscriber is told the latest state, and states in between may be
skipped. A subscriber is a record and not a task. Callbacks run on the event loop, in the midst
of what changed the head, so they must be short and must not wait; when there are very many, some
run a little later.

The cost of a change follows the change: the paths watched in a branch form a tree, which is
walked only where the ids of directories differ.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol, TypeAlias

from datakit_core.errors import DatakitError, InvalidArgument
from datakit_core.store.names import MAX_DEPTH, split_path
from datakit_core.store.objects import Commit, CommitId, Entry, FileMode, Tree, TreeId
from datakit_core.store.subscribers import Soon, Subscribers, Subscription

__all__ = ["BranchesCallback", "HeadCallback", "PathCallback", "Watches"]

_log = logging.getLogger(__name__)

HeadCallback: TypeAlias = Callable[[CommitId | None], None]
PathCallback: TypeAlias = Callable[[Entry | None], None]
BranchesCallback: TypeAlias = Callable[[frozenset[str]], None]

_EMPTY: Tree = {}


class CommitReader(Protocol):
    """What watching needs of a store."""

    def commit(self, commit: CommitId) -> Commit:
        """Read a commit."""
        ...

    def tree(self, tree: TreeId) -> Tree:
        """Read one directory."""
        ...


class Watches:
    """The heads as far as they are known, and the subscribers."""

    def __init__(self, reader: CommitReader, soon: Soon) -> None:
        """Know no head yet.

        Args:
            reader: Where trees are read.
            soon: For telling those who cannot all be told at once.
        """
        self._reader, self._soon = reader, soon
        self._heads: dict[str, CommitId] = {}
        self._by_head: dict[str, Subscribers[CommitId | None]] = {}
        self._by_path: dict[str, _Node] = {}
        self._by_branch = Subscribers[frozenset[str]](soon)
        self._count = 0

    @property
    def subscribers(self) -> int:
        """How many subscriptions there are."""
        return self._count

    @property
    def heads(self) -> Mapping[str, CommitId]:
        """Every branch and its head, as of the last :meth:`publish`."""
        return MappingProxyType(self._heads)

    def publish(self, heads: Mapping[str, CommitId | None]) -> None:
        """Tell the subscribers of every head in ``heads`` that differs from what is known.

        Args:
            heads: Branch to head; none if the branch has gone.
        """
        changed = {name: head for name, head in heads.items() if self._heads.get(name) != head}
        for branch, head in changed.items():
            if head is None:
                del self._heads[branch]
            else:
                self._heads[branch] = head
        for branch, head in changed.items():
            if branch in self._by_head:
                self._by_head[branch].tell(head)
            if branch in self._by_path:
                self._publish_paths(branch)
        if changed:
            self._by_branch.tell(frozenset(changed))

    def subscribe_head(self, branch: str, callback: HeadCallback) -> Subscription:
        """Call back with the head of ``branch`` whenever it is another one."""
        subscribers = self._by_head.setdefault(branch, Subscribers(self._soon))

        def forget() -> None:
            if not subscribers and self._by_head.get(branch) is subscribers:
                del self._by_head[branch]

        return subscribers.add(callback, self._counted(forget))

    def subscribe_branches(self, callback: BranchesCallback) -> Subscription:
        """Call back with the names of the branches whose heads have changed."""
        return self._by_branch.add(callback, self._counted(lambda: None))

    def subscribe_path(self, branch: str, path: str, callback: PathCallback) -> Subscription:
        """Call back with what is at ``path`` whenever that is something else."""
        parts = split_path(path)
        if len(parts) > MAX_DEPTH:
            raise InvalidArgument(f"a path may have at most {MAX_DEPTH} directories")
        if branch not in self._by_path:
            self._by_path[branch] = _Node(self._root_entry(branch), Subscribers(self._soon))
        node = root = self._by_path[branch]
        for part in parts:
            node = node.child(part, self._tree_of(node.entry), self._soon)

        def forget() -> None:
            root.prune(parts)
            if root.idle and self._by_path.get(branch) is root:
                del self._by_path[branch]

        return node.subscribers.add(callback, self._counted(forget))

    def _counted(self, forget: Callable[[], None]) -> Callable[[], None]:
        """Count a new subscription, until what is returned is called in place of ``forget``."""
        self._count += 1

        def forget_and_count() -> None:
            self._count -= 1
            forget()

        return forget_and_count

    def _root_entry(self, branch: str) -> Entry | None:
        head = self._heads.get(branch)
        if head is None:
            return None
        try:
            return Entry(FileMode.DIRECTORY, self._reader.commit(head).tree)
        except DatakitError as error:
            _log.warning("branch %r has an unusable head: %s", branch, error)
            return None

    def _tree_of(self, entry: Entry | None) -> Tree:
        if entry is None or not entry.is_directory:
            return _EMPTY
        try:
            return self._reader.tree(TreeId(entry.id))
        except DatakitError as error:
            _log.warning("a watched directory cannot be read: %s", error)
            return _EMPTY

    def _publish_paths(self, branch: str) -> None:
        told: list[tuple[Subscribers[Entry | None], Entry | None]] = []
        left = [(self._by_path[branch], self._root_entry(branch))]
        while left:
            node, entry = left.pop()
            if node.entry == entry:
                continue
            node.entry = entry
            told.append((node.subscribers, entry))
            if node.children:
                left.extend(node.affected(self._tree_of(entry)))
        for subscribers, entry in told:
            subscribers.tell(entry)


@dataclass(slots=True)
class _Node:
    """A path that is watched, or leads to one.

    Attributes:
        entry: What was there when its subscribers were last told.
        subscribers: Whom to tell.
        children: By name.
        present: The names of those children whose entry is not none.
    """

    entry: Entry | None
    subscribers: Subscribers[Entry | None]
    children: dict[str, _Node] = field(default_factory=dict)
    present: set[str] = field(default_factory=set)

    @property
    def idle(self) -> bool:
        """Whether nobody watches here or below."""
        return not self.subscribers and not self.children

    def child(self, name: str, tree: Tree, soon: Soon) -> _Node:
        """The node for ``name``, made if need be; ``tree`` is what the directory holds now."""
        if name not in self.children:
            self.children[name] = _Node(tree.get(name), Subscribers(soon))
            self._note(name, tree.get(name))
        return self.children[name]

    def affected(self, tree: Tree) -> Iterator[tuple[_Node, Entry | None]]:
        """The children that ``tree`` may have changed, with their new entries.

        A child that was absent and still is does not count, so that any number of watchers of
        absent names costs nothing.
        """
        few = len(self.children) <= len(tree) + len(self.present)
        for name in list(self.children) if few else self.present.union(tree):
            child = self.children.get(name)
            if child is not None:
                self._note(name, tree.get(name))
                yield child, tree.get(name)

    def prune(self, parts: Sequence[str]) -> None:
        """Drop the nodes along ``parts`` that nobody needs any more."""
        if not parts or parts[0] not in self.children:
            return
        child = self.children[parts[0]]
        child.prune(parts[1:])
        if child.idle:
            del self.children[parts[0]]
            self.present.discard(parts[0])

    def _note(self, name: str, entry: Entry | None) -> None:
        if entry is None:
            self.present.discard(name)
        else:
            self.present.add(name)
