"""Catching what blocks the event loop.

Under :func:`nothing_blocks` a call of ours that may block raises ``BlockingError`` when it is made
on an event loop: reading and writing files, sleeping, waiting for locks, and so on. What is
deliberately done inline is listed in :data:`INLINE`, each with its reason; libgit2's own reads are
not seen, as it is not Python.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from blockbuster import BlockBuster

__all__ = ["INLINE", "nothing_blocks"]

INLINE: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("datakit_core/store/refs.py", ("head", "packed", "below", "_names", "repacked", "heads"),
     "a ref is a file of 41 bytes in the page cache: microseconds, less than handing it over"),
    ("datakit_core/store/branch.py", ("notice",), "as refs: whether a path is still there"),
    ("datakit_core/store/reader.py", ("raw", "blob", "tree", "commit", "size", "kind"),
     "objects are read in place; large ones are the business of their readers"),
    ("datakit_core/store/spool.py",
     ("create", "reserve", "read", "write", "truncate", "close", "clear"),
     "scratch files in the page cache, a message of 9P at a time"),
    ("datakit_core/store/largeblobs.py", ("ready", "filled", "_write_loose", "fill"),
     "how far a scratch file has come; the other two run in threads"),
    ("datakit_core/store/store.py", ("open",), "before anybody is served, and at the end"),
    ("datakit_core/store/writer.py", ("submit",), "only where a test writes in its own process"),
    ("datakit_core/store/notice.py", ("start", "close"), "starting and ending a thread"),
    ("datakit_core/store/process.py", ("_start",), "starting the writer: once in its life"),
    ("datakit_core/ninep/listening.py", ("open_socket", "remove_socket"),
     "when the server starts and ends"),
    ("datakit_core/metrics/page.py", ("_reply",), "what /proc tells is in memory"),
    ("datakit_core/client/pieces.py", ("_read_some",), "a pipe that has something to be read"),
    ("datakit_ci/spool.py", ("create", "remove", "recover", "interrupted"),
     "making and removing one file; recover is before the engine runs"),
    ("datakit_ci/livelog.py", ("follow",), "a bounded piece of a file that was just written"),
    ("datakit_ci/pipeline.py", ("located",), "where a mistake is, for a person"),
    ("datakit_ci/runner.py", ("run", "_attempt"), "making the directories of one build"),
    ("logging/__init__.py", ("emit",), "a line of the log; asyncio has no other way"),
)  # fmt: skip
"""File, functions in it (and whatever they call), and why."""


@contextmanager
def nothing_blocks() -> Iterator[None]:
    """Let every call that blocks an event loop raise, if it is ours and not in the list."""
    detector = BlockBuster(["datakit_core", "datakit_ci"])
    for file, functions, _ in INLINE:
        for function in detector.functions.values():
            function.can_block_in(file, functions)
    detector.activate()
    try:
        yield
    finally:
        detector.deactivate()
