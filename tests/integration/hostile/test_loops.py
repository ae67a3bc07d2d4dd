"""The same request again and again: nothing stays behind, in whatever dialect and however it ends.

``DATAKIT_REQUESTS`` is how often each of them is made; ``make soak`` makes a million of each.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import pytest

from datakit_core.ninep.dialect import LINUX, UNIX, Dialect
from datakit_core.ninep.linux_messages import (
    Rlerror,
    Tgetattr,
    Tlcreate,
    Tlock,
    Tlopen,
    Tmkdir,
    Treaddir,
    Trenameat,
    Tsetattr,
    Tsymlink,
    Tunlinkat,
    Txattrwalk,
)
from datakit_core.ninep.messages import (
    KEEP,
    Mode,
    Record,
    Rerror,
    Tattach,
    Tclunk,
    Tcreate,
    Tflush,
    Topen,
    Tread,
    Tremove,
    Tstat,
    Twalk,
    Twrite,
    Twstat,
)
from datakit_core.ninep.wire import NO_FID, Fid, Tag
from tests.support.peer import ONE, ROOT, THREE, TWO
from tests.support.raw import Raw
from tests.support.scenarios import commit_files
from tests.support.wire import RawClient

REQUESTS = int(os.environ.get("DATAKIT_REQUESTS", "2500"))
BATCH = 50
PLACE = ("branch", "master", "transactions", "t")

NEW = Fid(9)
"""A fid that each loop binds and frees."""


class Loop(NamedTuple):
    """Requests that leave everything as it was.

    Attributes:
        name: What is repeated.
        requests: Sent in this order. ONE is the transaction's tree, TWO a file in it that is open
            for reading and writing, THREE an open directory.
        fails: Whether each of them is refused.
    """

    name: str
    requests: Sequence[Record]
    fails: bool = False


SHARED = (
    Loop("walk", [Twalk(ROOT, NEW, (*PLACE, "rw", "file")), Tclunk(NEW)]),
    Loop("walk_to_nothing", [Twalk(ROOT, NEW, (*PLACE, "rw", "none"))], fails=True),
    Loop("walk_below_a_file", [Twalk(TWO, NEW, ("x",))], fails=True),
    Loop("look_at_other_branches", [Twalk(ROOT, NEW, ("branch", "none"))], fails=True),
    Loop("look_at_paths", [Twalk(ROOT, NEW, (*PLACE[:2], "watch", "x.node")), Tclunk(NEW)]),
    Loop("read", [Tread(TWO, 0, 100)]),
    Loop("read_beyond", [Tread(TWO, 1 << 62, 100)], fails=True),
    Loop("write", [Twrite(TWO, 0, b"0123456")]),
    Loop("write_far_away", [Twrite(TWO, 1 << 62, b"x")], fails=True),
    Loop("attach", [Tattach(NEW, NO_FID, "me", ""), Tclunk(NEW)]),
    Loop("flush_nothing", [Tflush(Tag(4711))]),
    Loop("use_an_unknown_fid", [Tread(NEW, 0, 1), Tclunk(NEW)], fails=True),
    Loop("remove_what_must_stay", [Tremove(NEW)], fails=True),
)
CLASSIC = (
    Loop("stat", [Tstat(TWO)]),
    Loop("wstat", [Twstat(TWO, KEEP)]),
    Loop("wstat_nonsense", [Twstat(ONE, replace(KEEP, length=1))], fails=True),
    Loop("open", [Twalk(TWO, NEW, ()), Topen(NEW, 2), Tclunk(NEW)]),
    Loop("list", [Tread(THREE, 0, 8000)]),
    Loop(
        "create_and_remove",
        [Twalk(ONE, NEW, ()), Tcreate(NEW, "new", 0o644, 2), Twrite(NEW, 0, b"x"), Tremove(NEW)],
    ),
)
LINUX_ONLY = (
    Loop("getattr", [Tgetattr(TWO, 0x7FF)]),
    Loop("setattr", [Tsetattr(TWO, 9, 0o644, size=7)]),
    Loop("open", [Twalk(TWO, NEW, ()), Tlopen(NEW, 2), Tclunk(NEW)]),
    Loop("list", [Treaddir(THREE, 0, 8000)]),
    Loop("list_a_file", [Treaddir(TWO, 0, 8000)], fails=True),
    Loop(
        "create_and_remove",
        [Twalk(ONE, NEW, ()), Tlcreate(NEW, "new", 0o102, 0o644, 0), Tremove(NEW)],
    ),
    Loop("mkdir_and_rmdir", [Tmkdir(ONE, "new", 0o755, 0), Tunlinkat(ONE, "new", 0x200)]),
    Loop("link_and_unlink", [Tsymlink(ONE, "new", "file", 0), Tunlinkat(ONE, "new", 0)]),
    Loop("rename", [Trenameat(ONE, "file", ONE, "new"), Trenameat(ONE, "new", ONE, "file")]),
    Loop("xattr", [Txattrwalk(TWO, NEW, "security.capability")], fails=True),
    Loop("lock", [Tlock(TWO, 1, 0, 0, 0, 7, "host")]),
)


async def repeat(wire: RawClient, loop: Loop, times: int) -> None:
    """Make the requests of a loop so often, some at a time."""
    frames = b"".join(wire.encode(request, 1) for request in loop.requests)
    for _ in range(times // BATCH):
        wire.writer.write(frames * BATCH)
        for _ in range(BATCH * len(loop.requests)):
            _, reply = await wire.receive()
            assert isinstance(reply, Rerror | Rlerror) == loop.fails, reply


def blocks() -> int:
    """How much of what Python has allocated is in use."""
    gc.collect()
    return sys.getallocatedblocks()


@pytest.mark.timeout(60 + REQUESTS // 500)
@pytest.mark.parametrize(
    ("dialect", "loop"),
    [
        pytest.param(dialect, loop, id=f"{dialect.version}-{loop.name}")
        for dialect, loops in ((UNIX, SHARED + CLASSIC), (LINUX, SHARED + LINUX_ONLY))
        for loop in loops
    ],
)
async def test_a_request_that_is_repeated_leaves_nothing(
    raw: Raw, wire: RawClient, dialect: Dialect, loop: Loop
) -> None:
    await commit_files(raw, "master", {"file": b"content", "dir/file": b""})
    await wire.attach(dialect=dialect)
    linux = dialect is LINUX
    open_ = Tlopen if linux else Topen
    start: list[Record] = [
        Twalk(ROOT, ONE, PLACE[:-1]),
        Tmkdir(ONE, "t", 0o755, 0) if linux else Tcreate(ONE, "t", Mode.DIRECTORY, 0),
        Tclunk(ONE),
        Twalk(ROOT, ONE, (*PLACE, "rw")),
        Twalk(ONE, TWO, ("file",)),
        Twalk(ONE, THREE, ("dir",)),
        open_(TWO, 2),
        open_(THREE, 0),
    ]
    for request in start:
        wire.send(request, 1)
        _, reply = await wire.receive()
        assert not isinstance(reply, Rerror | Rlerror), (request, reply)
    await repeat(wire, loop, 200)  # fills what is kept on purpose
    before = blocks()
    await repeat(wire, loop, REQUESTS)
    # One block for every fifth request would be a leak; what varies are logs and caches.
    assert blocks() - before < max(500, REQUESTS // 5)
