"""Attacks with the requests of 9P2000.L: cookies, counts, names, locks, attributes, moves."""

from __future__ import annotations

import errno
import struct
from collections.abc import AsyncIterator

import pytest

from datakit_core.ninep.dialect import LINUX, UNIX
from datakit_core.ninep.linux_messages import (
    Rgetattr,
    Rgetlock,
    Rlcreate,
    Rlerror,
    Rlock,
    Rreaddir,
    Rrenameat,
    SetAttr,
    Tgetattr,
    Tgetlock,
    Tlcreate,
    Tlink,
    Tlock,
    Tlopen,
    Tmkdir,
    Tmknod,
    Treaddir,
    Treadlink,
    Trename,
    Trenameat,
    Tsetattr,
    Tstatfs,
    Tsymlink,
    Tunlinkat,
    Txattrcreate,
    Txattrwalk,
)
from datakit_core.ninep.messages import Rclunk, Record, Rerror, Tclunk, Tread, Twalk
from datakit_core.ninep.wire import Fid
from tests.support.peer import ONE, ROOT
from tests.support.raw import Raw, RawError, RawLinux, connect
from tests.support.scenarios import Stream, begin, commit, commit_files, head_of, put
from tests.support.served import Served
from tests.support.wire import RawClient

REMOVE_DIRECTORY = 0x200
ENTRY = struct.Struct("<BIQQBH")


@pytest.fixture
async def linux(served: Served, bystander: Raw) -> AsyncIterator[RawLinux]:
    """A client that attacks in 9P2000.L."""
    async with connect(served.port, LINUX) as raw:
        assert isinstance(raw, RawLinux)
        yield raw


async def refused(linux: RawLinux, request: Record) -> int:
    """The number of the error that a request is answered with."""
    with pytest.raises(RawError) as caught:
        await linux.call(request, Record)
    return caught.value.errno


def frame(number: int, body: bytes) -> bytes:
    return struct.pack("<IBH", 7 + len(body), number, 1) + body


class TestDirectories:
    @pytest.fixture
    async def full(self, linux: RawLinux) -> list[str]:
        """The path of a directory of 100 files."""
        place = await begin(linux, "master")
        for number in range(100):
            await linux.create([*place, "rw", f"file{number:02}"])
        return [*place, "rw"]

    @pytest.mark.parametrize("cookie", [101, 1 << 31, 1 << 63, (1 << 64) - 1])
    async def test_a_cookie_that_was_never_given_is_the_end(
        self, linux: RawLinux, full: list[str], cookie: int
    ) -> None:
        fid = await linux.open(full)
        assert await linux.call(Treaddir(fid, cookie, 8192), Rreaddir) == Rreaddir(b"")
        assert (await linux.call(Treaddir(fid, 0, 8192), Rreaddir)).data

    async def test_cookies_may_come_in_any_order(self, linux: RawLinux, full: list[str]) -> None:
        fid = await linux.open(full)
        for cookie in (99, 0, 50, 50, 1):
            data = (await linux.call(Treaddir(fid, cookie, 40), Rreaddir)).data
            *_, following, _, length = ENTRY.unpack_from(data)
            assert following == cookie + 1
            assert data[ENTRY.size : ENTRY.size + length] == f"file{cookie:02}".encode()

    @pytest.mark.parametrize("count", [0, 1, ENTRY.size, ENTRY.size + 5])
    async def test_a_count_without_room_for_an_entry_is_an_error_and_not_the_end(
        self, linux: RawLinux, full: list[str], count: int
    ) -> None:
        fid = await linux.open(full)
        assert await refused(linux, Treaddir(fid, 0, count)) == errno.EINVAL

    async def test_a_giant_count_is_clamped_to_whole_entries(self, served: Served) -> None:
        async with connect(served.port, LINUX, begin=False) as raw:
            await raw.begin(msize=1024)
            place = await begin(raw, "master")
            for number in range(100):
                await raw.create([*place, "rw", f"file{number:02}"])
            fid = await raw.open([*place, "rw"])
            data = (await raw.call(Treaddir(fid, 0, 0xFFFFFFFF), Rreaddir)).data
            entry = ENTRY.size + len("file00")
            assert len(data) == (1024 - 11) // entry * entry

    async def test_only_open_directories_are_listed(self, linux: RawLinux, full: list[str]) -> None:
        assert await refused(linux, Treaddir(await linux.walk(full), 0, 8192)) == errno.ENOTDIR
        file = await linux.open([*full, "file00"])
        assert await refused(linux, Treaddir(file, 0, 8192)) == errno.ENOTDIR
        assert await refused(linux, Tread(await linux.open(full), 0, 10)) == errno.EISDIR

    async def test_a_listing_survives_what_it_lists(self, linux: RawLinux, full: list[str]) -> None:
        fid = await linux.open(full)
        for number in range(100):
            await linux.remove([*full, f"file{number:02}"])
        cookie, seen = 0, 0
        while data := (await linux.call(Treaddir(fid, cookie, 100), Rreaddir)).data:
            for at in range(0, len(data), ENTRY.size + 6):
                cookie, seen = ENTRY.unpack_from(data, at)[3], seen + 1
        assert seen == 100


class TestNames:
    @pytest.mark.parametrize(
        "name", ["", ".", "..", "\0", "a\0b", "a/b", "a%2Fb", ".git", "x" * 256, "x" * 60_000]
    )
    async def test_a_name_that_is_none_makes_moves_and_removes_nothing(
        self, linux: RawLinux, name: str
    ) -> None:
        place = await begin(linux, "master")
        await put(linux, place, "file", b"content")
        rw, file = await linux.walk([*place, "rw"]), await linux.walk([*place, "rw", "file"])
        creating = await linux.walk([*place, "rw"])
        for request in (
            Tmkdir(rw, name, 0o755, 0),
            Tlcreate(creating, name, 0o102, 0o644, 0),
            Tsymlink(rw, name, "target", 0),
            Trenameat(rw, "file", rw, name),
            Trenameat(rw, name, rw, "file"),
            Trename(file, rw, name),
            Tunlinkat(rw, name, 0),
            Tunlinkat(rw, name, REMOVE_DIRECTORY),
        ):
            assert await refused(linux, request), request
        assert await linux.entries([*place, "rw"]) == ["file"]
        await commit(linux, place)
        assert await linux.read("branch/master/ro/file") == b"content"

    async def test_what_git_cannot_keep_is_not_made(self, linux: RawLinux) -> None:
        place = await begin(linux, "master")
        await put(linux, place, "file", b"content")
        rw, file = await linux.walk([*place, "rw"]), await linux.walk([*place, "rw", "file"])
        for request in (
            Tlink(rw, file, "hard"),
            Tmknod(rw, "fifo", 0o010644, 0, 0, 0),
            Tmknod(rw, "disk", 0o060644, 8, 0, 0),
        ):
            assert await refused(linux, request) == errno.EOPNOTSUPP
        assert await linux.entries([*place, "rw"]) == ["file"]

    @pytest.mark.parametrize("target", ["/etc/passwd", "../" * 100, "x" * 60_000])
    async def test_the_target_of_a_link_is_never_followed(
        self, linux: RawLinux, target: str
    ) -> None:
        place = await begin(linux, "master")
        rw = await linux.walk([*place, "rw"])
        await linux.call(Tsymlink(rw, "link", target, 0), Record)
        assert await linux.read([*place, "rw", "link"]) == target.encode()
        walk = Twalk(ROOT, Fid(700), (*place, "rw", "link", "passwd"))
        assert await refused(linux, walk) == errno.ENOTDIR


class TestMoves:
    async def test_a_directory_does_not_move_below_itself(self, linux: RawLinux) -> None:
        place = await begin(linux, "master")
        await put(linux, place, "a/b/file", b"content")
        rw, a = await linux.walk([*place, "rw"]), await linux.walk([*place, "rw", "a"])
        b = await linux.walk([*place, "rw", "a", "b"])
        assert await refused(linux, Trenameat(rw, "a", a, "c"))
        assert await refused(linux, Trenameat(rw, "a", b, "c"))
        assert await refused(linux, Trename(a, b, "c"))
        await linux.call(Trenameat(rw, "a", rw, "a"), Rrenameat)
        assert await linux.read([*place, "rw", "a", "b", "file"]) == b"content"

    async def test_nothing_but_files_of_a_transaction_moves(self, linux: RawLinux) -> None:
        await commit_files(linux, "master", {"file": b"content"})
        place = await begin(linux, "master")
        paths = ("branch", "branch/master", "branch/master/ro", place, [*place, "rw"])
        fids = [await linux.walk(path) for path in paths]
        branches, master, tree, transaction, rw = fids
        for request in (
            Trename(ROOT, rw, "root"),
            Trename(master, rw, "stolen"),
            Trename(rw, branches, "stolen"),
            Trename(transaction, branches, "stolen"),
            Trenameat(tree, "file", rw, "stolen"),
            Trenameat(rw, "file", tree, "stolen"),
            Trenameat(transaction, "ctl", rw, "stolen"),
            Trenameat(rw, "file", transaction, "ctl"),
            Tunlinkat(transaction, "rw", REMOVE_DIRECTORY),
            Tunlinkat(transaction, "ctl", 0),
            Tunlinkat(tree, "file", 0),
            Tunlinkat(ROOT, "branch", REMOVE_DIRECTORY),
        ):
            assert await refused(linux, request), request
        assert await linux.entries("branch") == ["master"]
        assert await linux.entries([*place, "rw"]) == ["file"]

    async def test_a_fid_of_what_was_removed_moves_nothing(self, linux: RawLinux) -> None:
        place = await begin(linux, "master")
        await put(linux, place, "dir/file", b"content")
        file = await linux.walk([*place, "rw", "dir", "file"])
        directory = await linux.walk([*place, "rw", "dir"])
        rw = await linux.walk([*place, "rw"])
        await linux.remove([*place, "rw", "dir"])
        for request in (
            Trename(file, rw, "back"),
            Trenameat(directory, "file", rw, "back"),
            Tgetattr(file, 0x7FF),
            Treadlink(file),
        ):
            assert await refused(linux, request) == errno.ENOENT
        assert await linux.entries([*place, "rw"]) == []


class TestAttributes:
    @pytest.mark.parametrize("size", [(1 << 50), (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
    async def test_a_size_that_nobody_has_is_refused(self, linux: RawLinux, size: int) -> None:
        place = await begin(linux, "master")
        await put(linux, place, "file", b"content")
        fid = await linux.walk([*place, "rw", "file"])
        assert await refused(linux, Tsetattr(fid, SetAttr.SIZE, size=size))
        assert (await linux.stat([*place, "rw", "file"])).length == 7

    async def test_bits_that_mean_nothing_are_ignored(self, linux: RawLinux) -> None:
        place = await begin(linux, "master")
        await put(linux, place, "file", b"content")
        fid = await linux.walk([*place, "rw", "file"])
        await linux.call(Tsetattr(fid, 0xFFFFFFF6, 0o7777, 1, 2, 1 << 63, 3, 4, 5, 6), Record)
        told = await linux.call(Tgetattr(fid, (1 << 64) - 1), Rgetattr)
        assert (told.mode, told.size, told.uid, told.valid) == (0o100664, 7, 0, 0x7FF)

    async def test_extended_attributes_bind_no_fid(self, linux: RawLinux) -> None:
        place = await begin(linux, "master")
        await put(linux, place, "file", b"content")
        fid = await linux.open([*place, "rw", "file"])
        for number, name in enumerate(("", "security.capability", "x" * 60_000), 700):
            walk = Txattrwalk(fid, Fid(number), name)
            assert await refused(linux, walk) == errno.EOPNOTSUPP
            assert await refused(linux, Tclunk(Fid(number))) == errno.EINVAL
            create = Txattrcreate(fid, name, (1 << 64) - 1, 0)
            assert await refused(linux, create) == errno.EOPNOTSUPP
        assert await linux.read_at(fid, 0) == b"content"


class TestLocks:
    async def test_a_lock_on_a_stream_holds_nobody_up(
        self, linux: RawLinux, bystander: Raw
    ) -> None:
        await linux.mkdir("branch/master")
        stream = await Stream.open(linux, "branch/master/head.live")
        await stream.line()
        _, waiting = stream.block()
        for kind in (0, 1, 2, 255):
            lock = Tlock(stream.fid, kind, 1, (1 << 64) - 1, (1 << 64) - 1, 7, "host")
            assert await linux.call(lock, Rlock) == Rlock(0)
        probe = Tgetlock(stream.fid, 1, 0, 0, 7, "x" * 60_000)
        assert (await linux.call(probe, Rgetlock)).type == 2  # F_UNLCK
        head = await commit_files(bystander, "master", {"file": b"1"})
        assert await stream.woken(waiting) == head

    async def test_a_lock_needs_a_file(self, linux: RawLinux) -> None:
        assert await refused(linux, Tlock(Fid(700), 1, 0, 0, 0, 7, "host")) == errno.EINVAL
        assert await refused(linux, Tgetlock(Fid(700), 1, 0, 0, 7, "host")) == errno.EINVAL


class TestSession:
    @pytest.mark.parametrize("number", [6, 10, 11, 34, 56, 78, 106, 107, 112, 114, 124, 126, 255])
    async def test_what_is_no_request_of_the_dialect_is_refused(
        self, wire: RawClient, number: int
    ) -> None:
        await wire.attach(dialect=LINUX)
        wire.writer.write(frame(number, b"\0" * 40))
        assert await wire.receive() == (1, Rlerror(errno.EOPNOTSUPP))
        wire.send(Tclunk(ROOT), 2)
        assert await wire.receive() == (2, Rclunk())

    @pytest.mark.parametrize("number", sorted(set(LINUX.messages) & set(range(8, 78, 2))))
    async def test_a_damaged_body_is_refused_and_the_connection_lives(
        self, wire: RawClient, number: int
    ) -> None:
        await wire.attach(dialect=LINUX)
        body = struct.pack("<I", 0) + b"\xff" * 3  # too short, or a string beyond the end
        wire.writer.write(frame(number, b""))
        assert isinstance((await wire.receive())[1], Rlerror)
        if number != 8:  # Tstatfs has no more than a fid
            wire.writer.write(frame(number, body))
            assert isinstance((await wire.receive())[1], Rlerror)
        wire.send(Tstatfs(ROOT), 2)
        assert (await wire.receive())[0] == 2

    async def test_a_tag_in_use_ends_the_connection(self, wire: RawClient, raw: Raw) -> None:
        await commit_files(raw, "master", {"file": b""})
        await wire.attach(dialect=LINUX)
        wire.send(Twalk(ROOT, ONE, ("branch", "master", "head.live")), 1)
        wire.send(Tlopen(ONE, 0), 1)
        wire.send(Tread(ONE, 0, 100), 1)
        wire.send(Tread(ONE, 41, 100), 1)
        for _ in range(4):
            await wire.receive()
        wire.send(Tread(ONE, 41, 100), 7)
        wire.send(Tlock(ONE, 1, 0, 0, 0, 7, "host"), 7)
        assert await wire.at_end()

    async def test_a_new_version_takes_the_requests_of_the_old_one_away(
        self, wire: RawClient
    ) -> None:
        await wire.attach(dialect=LINUX)
        await wire.attach(dialect=UNIX)
        wire.writer.write(frame(12, struct.pack("<II", 0, 0)))  # Tlopen
        assert await wire.receive() == (1, Rerror("unknown packet type 12", errno.EOPNOTSUPP))

    async def test_a_created_file_is_open_and_its_directory_no_more(self, linux: RawLinux) -> None:
        place = await begin(linux, "master")
        fid = await linux.walk([*place, "rw"])
        await linux.call(Tlcreate(fid, "file", 0o102, 0o644, 0), Rlcreate)
        for request in (
            Tlcreate(fid, "again", 0o102, 0o644, 0),
            Tlopen(fid, 0),
            Tmkdir(fid, "below", 0o755, 0),
            Tunlinkat(fid, "file", 0),
        ):
            assert await refused(linux, request) in {errno.EINVAL, errno.ENOTDIR}
        assert await linux.entries([*place, "rw"]) == ["file"]
        await commit(linux, place)
        assert len(await head_of(linux, "master")) == 40
