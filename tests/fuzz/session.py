"""The target of the fuzzers: bytes go into a session on a small tree, and its rules are checked.

* No exception escapes but ProtocolError, which ends the session.
* Every frame is answered at most once, now or later, and only under a tag that is in use.
* What the session holds is bounded: fids, tags, and bytes that are no whole frame.

Run directly, it is a target for atheris; ``docs/attacks.md`` has the command.
"""

from __future__ import annotations

from collections import Counter

from datakit_core.errors import ProtocolError
from datakit_core.ninep.codec import tag_of
from datakit_core.ninep.session import Limits, Session, Work
from datakit_core.vfs import CommandFile, Directory, Live, MemoryFile, StaticDirectory, StreamFile
from tests.support.tree import TreeDirectory

__all__ = ["run_session", "small_tree"]

LIMITS = Limits(max_msize=4096, first_frame=4096, max_fids=16, max_waiting=8)


def small_tree() -> Directory:
    """One of each kind of node."""
    tree = TreeDirectory("t")
    tree.add_directory("d").add_file("f", b"content")
    live = Live(b"line\n")
    return StaticDirectory(
        "/",
        [
            _Named(tree),
            MemoryFile("m", b"text", limit=10_000),
            CommandFile("c", lambda command: command.encode(errors="surrogateescape")),
            StreamFile("s", live.open),
        ],
    )


class _Named(StaticDirectory):
    """A directory that shows a tree below it."""

    def __init__(self, tree: TreeDirectory) -> None:
        super().__init__("t", [])
        self.lookup = tree.lookup  # type: ignore[method-assign]
        self.list = tree.list  # type: ignore[method-assign]
        self.create = tree.create  # type: ignore[method-assign]


def run_session(data: bytes, root: Directory | None = None) -> int:
    """Feed ``data`` to a new session; the number of frames that it took."""
    later: list[bytes] = []
    session = Session(root or small_tree(), later.append, LIMITS)
    asked: Counter[int] = Counter()
    taken = 0
    session.framer.feed(data)
    try:
        for frame in session.framer.frames():
            taken += 1
            asked[tag_of(frame)] += 1
            answer = session.receive(frame)
            assert not isinstance(answer, Work), "no node of the tree takes its time"
            for reply in (*later, *([answer] if answer else [])):
                _check(reply, asked)
            later.clear()
            assert session.fids <= LIMITS.max_fids
            assert session.waiting <= LIMITS.max_waiting
    except ProtocolError:
        pass
    session.close()
    assert (session.fids, session.waiting) == (0, 0)
    return taken


def _check(reply: bytes, asked: Counter[int]) -> None:
    """A reply is a whole frame of its size, and belongs to a request that has none."""
    assert int.from_bytes(reply[:4], "little") == len(reply) <= LIMITS.max_msize
    tag = tag_of(reply)
    asked[tag] -= 1
    assert asked[tag] >= 0, f"tag {tag} was answered more often than asked"


if __name__ == "__main__":
    import sys

    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, run_session)
    atheris.Fuzz()
