"""Watches and streams: scenarios 29 to 34 and 55 of the conformance list."""

from __future__ import annotations

import errno

import pytest

from datakit_core.ninep.messages import Mode, Rclunk, Tclunk, Tread
from tests.support.raw import Raw, linking
from tests.support.scenarios import Stream, begin, commit, commit_files

pytestmark = pytest.mark.usefixtures("nonblocking")


MAKEFILE = "F-d81e367f87ee314bcd3e449b1c6641efda5bc269"


async def test_29_known_contents_have_known_ids(raw: Raw) -> None:
    await raw.mkdir("branch/master")
    root = await Stream.open(raw, "branch/master/watch/tree.live")
    makefile = await Stream.open(raw, "branch/master/watch/src.node/Makefile.node/tree.live")
    doc = await Stream.open(raw, "branch/master/watch/doc.node/tree.live")
    assert await root.line() == "D-4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    assert await makefile.line() == ""
    assert await doc.line() == ""
    await commit_files(raw, "master", {"src/Makefile": b"all: build"})
    assert await makefile.line() == MAKEFILE
    assert await root.line() == "D-acaa8ac97706d94e012da475e8a63d647011a72c"
    await commit_files(raw, "master", {"doc/README": b"Instructions"})
    assert await doc.line() == "D-a3e8adf6d194bfbdec2ca73aebe0990edee2ddbf"
    assert await root.line() == "D-eccca2d529dee833e47546cc2e095cc1c79f1917"


async def test_29_a_blocked_read_reports_the_first_of_two_commits(raw: Raw, other: Raw) -> None:
    await raw.mkdir("branch/master")
    root = await Stream.open(raw, "branch/master/watch/tree.live")
    await root.line()
    _, waiting = root.block()
    await commit_files(other, "master", {"src/Makefile": b"all: build"})
    await commit_files(other, "master", {"doc/README": b"Instructions"})
    assert await root.woken(waiting) == "D-acaa8ac97706d94e012da475e8a63d647011a72c"
    assert await root.line() == "D-eccca2d529dee833e47546cc2e095cc1c79f1917"


async def test_30_a_change_wakes_those_above_it_and_nobody_else(raw: Raw, other: Raw) -> None:
    await commit_files(raw, "master", {"src/Makefile": b"all: build", "doc/README": b"1"})
    watch = "branch/master/watch"
    root = await Stream.open(raw, f"{watch}/tree.live")
    doc = await Stream.open(raw, f"{watch}/doc.node/tree.live")
    makefile = await Stream.open(raw, f"{watch}/src.node/Makefile.node/tree.live")
    for stream in (root, doc, makefile):
        await stream.line()
    (_, for_root), (_, for_doc), (tag, for_makefile) = (
        stream.block() for stream in (root, doc, makefile)
    )
    await commit_files(other, "master", {"doc/README": b"Instructions"})
    await root.woken(for_root)
    assert await doc.woken(for_doc) == "D-a3e8adf6d194bfbdec2ca73aebe0990edee2ddbf"
    assert not for_makefile.done()
    await raw.flush(tag)


@linking
async def test_31_a_file_changes_its_kind_and_goes(raw: Raw) -> None:
    await commit_files(raw, "master", {"src/Makefile": b"all: build"})
    stream = await Stream.open(raw, "branch/master/watch/src.node/Makefile.node/tree.live")
    assert await stream.line() == MAKEFILE
    place = await begin(raw, "master")
    await raw.wstat([*place, "rw", "src", "Makefile"], mode=0o755)
    await commit(raw, place)
    assert await stream.line() == MAKEFILE.replace("F-", "X-")
    place = await begin(raw, "master")
    link = [*place, "rw", "src", "Makefile"]
    await raw.remove(link)  # which 9P2000.L does not replace by a link
    await raw.create(link, Mode.LINK | 0o777, extension="all: build")
    await commit(raw, place)
    assert await stream.line() == MAKEFILE.replace("F-", "L-")
    assert await raw.read(["trees", MAKEFILE.replace("F-", "L-")]) == b"all: build"
    place = await begin(raw, "master")
    await raw.remove([*place, "rw", "src", "Makefile"])
    await commit(raw, place)
    assert await stream.line() == ""


async def test_33_a_watch_is_switched_off_while_its_read_is_blocked(raw: Raw, other: Raw) -> None:
    await raw.mkdir("branch/master")
    stream = await Stream.open(raw, "branch/master/watch/tree.live")
    await stream.line()
    tag, waiting = stream.block()
    await raw.flush(tag)
    await raw.clunk(stream.fid)
    await commit_files(other, "master", {"file": b"1"})
    assert await raw.list("branch") == ["master"]
    assert not waiting.done()
    assert raw.unexpected == []


async def test_33_clunking_a_blocked_stream_answers_its_read(raw: Raw) -> None:
    await raw.mkdir("branch/master")
    stream = await Stream.open(raw, "branch/master/head.live")
    await stream.line()
    _, waiting = stream.block()
    await raw.call(Tclunk(stream.fid), Rclunk)
    await waiting
    assert await raw.list("branch") == ["master"]


async def test_34_the_head_is_told_first_and_on_each_change(raw: Raw, other: Raw) -> None:
    head = await commit_files(raw, "master", {"file": b"1"})
    stream = await Stream.open(raw, "branch/master/head.live")
    assert await stream.line() == head
    _, waiting = stream.block()
    head = await commit_files(other, "master", {"file": b"2"})
    assert await stream.woken(waiting) == head
    await commit_files(other, "master", {"file": b"3"})
    head = await commit_files(other, "master", {"file": b"4"})
    assert await stream.line() == head
    await other.remove("branch/master")
    assert await stream.line() == ""


async def test_34_reflog_leaves_nothing_out(raw: Raw, other: Raw) -> None:
    await raw.mkdir("branch/master")
    stream = await Stream.open(raw, "branch/master/reflog")
    heads = [await commit_files(other, "master", {"file": b"%d" % n}) for n in range(5)]
    await other.remove("branch/master")
    assert [await stream.line() for _ in range(6)] == [*heads, ""]


async def test_a_stream_cannot_be_rewound(raw: Raw) -> None:
    await raw.mkdir("branch/master")
    stream = await Stream.open(raw, "branch/master/head.live")
    await stream.line()
    with raw.refused("Attempt to seek in stream", errno.EINVAL):
        await raw.read_at(stream.fid, 0)
    assert (await raw.stat("branch/master/head.live")).length == 0
    assert await raw.read("branch/master/head.live") == b"\n"


async def test_55_a_flushed_read_does_not_lose_its_value(raw: Raw, other: Raw) -> None:
    await raw.mkdir("branch/master")
    stream = await Stream.open(raw, "branch/master/head.live")
    await stream.line()
    tag, _ = stream.block()
    await raw.flush(tag)
    head = await commit_files(other, "master", {"file": b"1"})
    assert raw.unexpected == []
    assert await stream.line() == head


async def test_55_a_line_may_be_read_in_pieces(raw: Raw) -> None:
    head = await commit_files(raw, "master", {"file": b"1"})
    fid = await raw.open("branch/master/head.live")
    line, pieces = b"", 0
    while len(line) < 41:
        line += await raw.read_at(fid, len(line), 10)
        assert await raw.read_at(fid, len(line), 10) == b""
        pieces += 1
    assert line == f"{head}\n".encode()
    assert pieces == 5
    tag, waiting = raw.start(Tread(fid, 41, 10))
    await raw.flush(tag)
    assert not waiting.done()
