"""Streams that follow a branch, and the directories below ``watch``."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from datakit_core.dbfs.view import Branch, View
from datakit_core.errors import NoEntry, TooMany
from datakit_core.store import (
    EMPTY_TREE,
    CommitId,
    Entry,
    FileMode,
    Store,
    Subscription,
    TreeId,
)
from datakit_core.store.names import MAX_DEPTH
from datakit_core.vfs import (
    Answer,
    Directory,
    Kind,
    Latest,
    Named,
    Node,
    Source,
    Stat,
    StreamFile,
    inode_of,
)

__all__ = ["WatchDirectory", "head_line", "head_stream", "reflog_stream"]

_NODE = ".node"
_LIVE = "tree.live"

_REFLOG_BACKLOG = 10_000
"""Heads that a reader of ``reflog`` may be behind; 0.5 MB."""


def head_line(head: CommitId | None) -> bytes:
    """How files show a head: its id, or nothing, and a newline."""
    return f"{head or ''}\n".encode()


def head_stream(store: Store, branch: Branch) -> StreamFile:
    """``head.live``: the head now, then each newest one."""

    def open_source() -> Source:
        return _follow(
            head_line(store.head(branch.name)),
            lambda publish: store.subscribe_head(
                branch.name, lambda head: publish(head_line(head))
            ),
        )

    return StreamFile("head.live", open_source, inode=inode_of(branch.inode, "head.live"))


def reflog_stream(store: Store, branch: Branch) -> StreamFile:
    """``reflog``: every head from now on, none left out."""
    return StreamFile(
        "reflog", lambda: _Reflog(store, branch.name), inode=inode_of(branch.inode, "reflog")
    )


class WatchDirectory(Named, Directory):
    """``watch`` and all directories below it, one for each path, whether it exists or not."""

    def __init__(self, view: View, branch: Branch, path: str = "", name: str = "watch") -> None:
        """Watch ``path`` on ``branch``."""
        super().__init__(name, inode=inode_of(branch.inode, "watch", path))
        self._view = view
        self._branch = branch
        self._path = path

    def stat(self) -> Answer[Stat]:
        """A directory."""
        return Stat(self.name, Kind.DIRECTORY, self.inode)

    def lookup(self, name: str) -> Answer[Node]:
        """``tree.live``, or the directory of a child, which need not exist."""
        if name == _LIVE:
            return self._stream()
        child = name.removesuffix(_NODE)
        deep = self._path.count("/") + 1 >= MAX_DEPTH
        if child == name or child in ("", ".", "..") or "/" in child or deep:
            raise NoEntry
        return WatchDirectory(self._view, self._branch, self._below(child), name)

    def list(self) -> Answer[Sequence[Stat]]:
        """The stream, and a directory for each child that exists now."""
        inode = inode_of(self._branch.inode, "watch", self._path, _LIVE)
        stats = [Stat(_LIVE, Kind.FILE, inode)]
        for child in self._children():
            child_inode = inode_of(self._branch.inode, "watch", self._below(child))
            stats.append(Stat(child + _NODE, Kind.DIRECTORY, child_inode))
        return stats

    def _children(self) -> Sequence[str]:
        entry = self._entry()
        if entry is None or not entry.is_directory:
            return ()
        return list(self._view.store.tree(TreeId(entry.id)))

    def _entry(self) -> Entry | None:
        store = self._view.store
        head = store.head(self._branch.name)
        return None if head is None else store.entry(store.commit(head).tree, self._path)

    def _stream(self) -> StreamFile:
        def open_source() -> Source:
            store, branch = self._view.store, self._branch.name
            return _follow(
                self._line(self._entry()),
                lambda publish: store.subscribe_path(
                    branch, self._path, lambda entry: publish(self._line(entry))
                ),
            )

        return StreamFile(_LIVE, open_source, inode=inode_of(self.inode, _LIVE))

    def _line(self, entry: Entry | None) -> bytes:
        if entry is None and not self._path:
            entry = Entry(FileMode.DIRECTORY, EMPTY_TREE)
        return f"{entry or ''}\n".encode()

    def _below(self, child: str) -> str:
        return f"{self._path}/{child}" if self._path else child


class _Reflog:
    """A source that skips nothing.

    A reader that is too far behind is told so and loses the stream: memory is bounded, and a log
    with a gap that nobody notices would be worse than none.
    """

    def __init__(self, store: Store, branch: str) -> None:
        self._lines: deque[bytes] = deque()
        self._lost = False
        self._wake: Callable[[], None] | None = None
        self._subscription = store.subscribe_head(branch, self._add)

    def next(self) -> bytes | None:
        if self._lost:
            raise TooMany(
                f"This reader is more than {_REFLOG_BACKLOG} heads behind; "
                "open the file again and read the commits' parents"
            )
        return self._lines.popleft() if self._lines else None

    def subscribe(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def close(self) -> None:
        self._wake = None
        self._subscription.close()

    def _add(self, head: CommitId | None) -> None:
        if len(self._lines) >= _REFLOG_BACKLOG:
            self._lost = True
            self._lines.clear()
        else:
            self._lines.append(head_line(head))
        if self._wake is not None and not self._lost:
            self._wake()


def _follow(first: bytes, subscribe: Callable[[Callable[[bytes], None]], Subscription]) -> Source:
    """A source that starts with ``first`` and follows a subscription until it is closed."""
    latest = Latest(first, on_close=lambda: subscription.close())
    subscription = subscribe(latest.publish)
    return latest
