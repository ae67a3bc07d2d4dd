"""9P2000.L on the database: what only its requests can ask, as a Linux kernel asks it."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator

import pytest

from datakit_core.ninep.dialect import LINUX
from datakit_core.ninep.linux_messages import (
    Rrenameat,
    Runlinkat,
    SetAttr,
    Trenameat,
    Tsetattr,
    Tunlinkat,
    Txattrwalk,
)
from datakit_core.ninep.messages import Record, Rflush, Tflush
from datakit_core.ninep.wire import Fid
from tests.support.raw import RawError, RawLinux, connect
from tests.support.scenarios import Stream, begin, commit, commit_files, head_of, put
from tests.support.served import Served

REMOVE_DIRECTORY = 0x200


@pytest.fixture
async def linux(served: Served) -> AsyncIterator[RawLinux]:
    async with connect(served.port, LINUX) as raw:
        assert isinstance(raw, RawLinux)
        yield raw


async def refused(linux: RawLinux, request: Record) -> int:
    """The number of the error that a request is answered with."""
    with pytest.raises(RawError) as caught:
        await linux.call(request, Record)
    return caught.value.errno


async def test_the_version_is_agreed_on_with_room_for_the_kernels_headers(served: Served) -> None:
    async with connect(served.port, LINUX, begin=False) as raw:
        agreed = await raw.begin(msize=131096)
    assert (agreed.version, agreed.msize) == ("9P2000.L", 131096)


async def test_branch_names_are_shown_without_their_slashes(linux: RawLinux) -> None:
    for name in ("plain", "results/job", "half%"):
        await linux.mkdir(["branch", name])
    assert await linux.entries("branch") == ["half%25", "plain", "results%2Fjob"]
    assert await linux.list(["branch", "results%2Fjob"]) == await linux.list("branch/plain")
    await linux.mkdir(["branch", "made%2Fhere"])
    assert (await linux.stat(["branch", "made/here"])).qid.type == 0x80


async def test_files_move_between_directories_of_a_transaction(linux: RawLinux) -> None:
    place = await begin(linux, "master")
    await put(linux, place, "from/file", b"content")
    await linux.mkdir([*place, "rw", "to"])
    old, new = await linux.walk([*place, "rw", "from"]), await linux.walk([*place, "rw", "to"])
    await linux.call(Trenameat(old, "file", new, "moved"), Rrenameat)
    await commit(linux, place)
    assert await linux.list("branch/master/ro") == ["to"]
    assert await linux.read("branch/master/ro/to/moved") == b"content"


async def test_files_do_not_move_between_transactions(linux: RawLinux) -> None:
    place, other = await begin(linux, "master"), await begin(linux, "master")
    await put(linux, place, "file", b"content")
    old, new = await linux.walk([*place, "rw"]), await linux.walk([*other, "rw"])
    assert await refused(linux, Trenameat(old, "file", new, "file")) == errno.EXDEV
    assert await refused(linux, Trenameat(Fid(0), "branch", new, "file")) == errno.EXDEV


async def test_rmdir_spares_directories_of_files_and_removes_branches(linux: RawLinux) -> None:
    place = await begin(linux, "master")
    await put(linux, place, "dir/file", b"content")
    rw = await linux.walk([*place, "rw"])
    assert await refused(linux, Tunlinkat(rw, "dir", REMOVE_DIRECTORY)) == errno.ENOTEMPTY
    await linux.call(Tunlinkat(await linux.walk([*place, "rw", "dir"]), "file", 0), Runlinkat)
    await linux.call(Tunlinkat(rw, "dir", REMOVE_DIRECTORY), Runlinkat)
    branches = await linux.walk("branch")
    await linux.call(Tunlinkat(branches, "master", REMOVE_DIRECTORY), Runlinkat)
    assert await linux.entries("branch") == []


async def test_a_shell_writes_a_command_as_the_kernel_does(linux: RawLinux) -> None:
    place = await begin(linux, "master")
    ctl = await linux.open([*place, "ctl"], 1)
    assert await refused(linux, Txattrwalk(ctl, Fid(99), "security.capability")) == errno.EOPNOTSUPP
    await linux.call(Tsetattr(ctl, SetAttr.SIZE | 0x60), Record)
    assert await linux.write_at(ctl, 0, b"commit\n") == 7
    assert len(await head_of(linux, "master")) == 40


async def test_a_refused_commit_has_a_number(linux: RawLinux) -> None:
    await commit_files(linux, "master", {"file": b"1"})
    first, second = await begin(linux, "master"), await begin(linux, "master")
    await put(linux, first, "file", b"2")
    await put(linux, second, "file", b"3")
    await commit(linux, first)
    with pytest.raises(RawError) as caught:
        await commit(linux, second)
    assert caught.value.errno == errno.EBUSY


async def test_a_blocked_reader_can_be_killed(linux: RawLinux) -> None:
    await linux.mkdir("branch/master")
    stream = await Stream.open(linux, "branch/master/head.live")
    assert await stream.line() == ""
    tag, waiting = stream.block()
    assert await linux.call(Tflush(tag), Rflush) == Rflush()
    assert not waiting.done()
    head = await commit_files(linux, "master", {"file": b"1"})
    assert await stream.line() == head


async def test_what_never_changes_may_be_cached_and_nothing_else(linux: RawLinux) -> None:
    head = await commit_files(linux, "master", {"file": b"1"})
    assert (await linux.stat(f"snapshots/{head}/ro/file")).qid.version != 0
    for path in ("branch/master/ro/file", "branch/master/head.live", "branch/master/head"):
        assert (await linux.stat(path)).qid.version == 0, path
