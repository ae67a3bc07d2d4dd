"""Rules of part A of the contract that no scenario of part B reaches, by their sections."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from datakit_core.ninep.codec import codec_for
from datakit_core.ninep.dialect import PLAIN
from datakit_core.ninep.messages import (
    KEEP,
    Mode,
    OpenMode,
    Rcreate,
    Rflush,
    Rversion,
    Rwalk,
    Tattach,
    Tcreate,
    Tflush,
    Tversion,
    Twalk,
    Twstat,
)
from datakit_core.ninep.wire import NO_FID, NO_TAG, Fid, Qid, Tag
from tests.support.git import git
from tests.support.raw import Raw, classic, connect
from tests.support.scenarios import Stream, begin, commit_files, put
from tests.support.served import Served

ABSENT = "No such file or directory"


@pytest.fixture
async def rw(raw: Raw) -> list[str]:
    """The path of a transaction's tree, which holds ``file`` and ``dir``."""
    place = await begin(raw, "master")
    await put(raw, place, "file", b"content")
    await raw.mkdir([*place, "rw", "dir"])
    return [*place, "rw"]


class TestA1Session:
    @pytest.mark.parametrize(
        ("asked", "answered"),
        [
            ("9P2000", "9P2000"),
            ("9P2000.u", "9P2000.u"),
            ("9P", "9P2000"),
            ("9P2000.x", "9P2000"),
            ("8P", "unknown"),
        ],
    )
    async def test_a_version_is_agreed_on(self, served: Served, asked: str, answered: str) -> None:
        async with connect(served.port, begin=False) as raw:
            agreed = await raw.call(Tversion(8215, asked), Rversion, Tag(NO_TAG))
            assert (agreed.version, agreed.msize) == (answered, 8215)

    async def test_fields_of_9p2000u_may_be_left_out_of_requests(self, unix: Raw) -> None:
        plain = codec_for(PLAIN)
        await unix.exchange(plain.encode(Tag(1), Tattach(Fid(90), NO_FID, "nobody", "/")))
        place = await begin(unix, "master")
        fid = await unix.walk([*place, "rw"])
        create = Tcreate(fid, "file", 0o644, OpenMode.WRITE)
        await unix.exchange(plain.encode(Tag(1), create))
        await unix.exchange(plain.encode(Tag(1), Twstat(fid, replace(KEEP, length=3))))
        assert await unix.read([*place, "rw", "file"]) == b"\0\0\0"

    @pytest.mark.parametrize("oldtag", [NO_TAG, 4711])
    async def test_flushing_what_is_not_there_is_answered(self, raw: Raw, oldtag: int) -> None:
        assert await raw.call(Tflush(Tag(oldtag)), Rflush) == Rflush()

    async def test_a_later_version_begins_anew(self, raw: Raw) -> None:
        await raw.mkdir("branch/master")
        await raw.begin()
        assert await raw.list("branch") == ["master"]  # what the connection owns stays


class TestA3Fids:
    async def test_a_walk_goes_all_the_way_or_nowhere(self, raw: Raw) -> None:
        with raw.refused(ABSENT, errno.ENOENT):
            await raw.call(Twalk(Fid(0), Fid(70), ("branch", "none", "head")), Rwalk)
        with raw.refused("Unknown fid 70", errno.EINVAL):
            await raw.stat_of(Fid(70))

    async def test_newfid_may_be_fid_which_stays_when_the_walk_fails(self, raw: Raw) -> None:
        fid = await raw.walk("branch")
        with raw.refused(ABSENT, errno.ENOENT):
            await raw.call(Twalk(fid, fid, ("none",)), Rwalk)
        assert (await raw.stat_of(fid)).qid == (await raw.stat("branch")).qid
        await raw.call(Twalk(fid, fid, ("..", "..", "trees")), Rwalk)
        assert (await raw.stat_of(fid)).qid == (await raw.stat("trees")).qid

    async def test_an_open_fid_can_be_walked_from(self, raw: Raw) -> None:
        fid = await raw.open("branch")
        await raw.clone(fid, Fid(70))
        await raw.open_fid(Fid(70))

    async def test_fids_work_by_path(self, raw: Raw, rw: list[str]) -> None:
        walked = await raw.walk([*rw, "file"])
        opened = await raw.open([*rw, "file"], OpenMode.READ_WRITE)
        await raw.remove([*rw, "file"])
        with raw.refused(ABSENT, errno.ENOENT):
            await raw.stat_of(walked)
        with raw.refused(ABSENT, errno.ENOENT):
            await raw.read_at(opened, 0)
        await raw.write_at(opened, 0, b"again")
        assert await raw.read([*rw, "file"]) == b"again"
        assert (await raw.stat_of(walked)).length == 5

    async def test_remove_clunks_even_if_it_fails(self, raw: Raw) -> None:
        for _ in range(2):
            with raw.refused("Operation not permitted", errno.EPERM):
                await raw.remove("branch")
        fid = await raw.walk("branch")
        with raw.refused("Operation not permitted", errno.EPERM):
            await raw.remove_fid(fid)
        with raw.refused(f"Unknown fid {fid}", errno.EINVAL):
            await raw.remove_fid(fid)

    async def test_what_was_created_is_open(self, raw: Raw, rw: list[str]) -> None:
        fid = await raw.walk(rw)
        await raw.create_in(fid, "file")
        assert await raw.read_at(fid, 0) == b""  # the file that was there is replaced
        assert (await raw.stat_of(fid)).qid == (await raw.stat([*rw, "file"])).qid

    @classic
    async def test_there_is_no_best_size_of_a_read(self, raw: Raw, rw: list[str]) -> None:
        fid = await raw.walk(rw)
        made = await raw.call(Tcreate(fid, "file", 0o644, OpenMode.READ_WRITE), Rcreate)
        assert made.iounit == 0

    @classic  # 9P2000.L has no such flag
    async def test_a_file_can_be_removed_when_it_is_closed(self, raw: Raw, rw: list[str]) -> None:
        fid = await raw.open([*rw, "file"], OpenMode.READ | OpenMode.REMOVE_ON_CLOSE)
        await raw.clunk(fid)
        assert await raw.list(rw) == ["dir"]


class TestA4Attributes:
    @classic  # fields of 9P2000
    async def test_a_stat_has_nothing_that_a_client_could_trip_over(self, raw: Raw) -> None:
        stat = await raw.stat("branch")
        assert (stat.type, stat.dev, stat.atime, stat.mtime) == (0, 0, 0, 0)
        assert (stat.uid, stat.gid, stat.muid) == ("root", "root", "none")
        assert (stat.mode, stat.length) == (Mode.DIRECTORY | 0o775, 0)
        assert (stat.qid.type, stat.qid.version) == (0x80, 0)

    @classic  # 9P2000.L tells no names
    async def test_names_are_the_last_component(self, raw: Raw) -> None:
        head = await commit_files(raw, "master", {"file": b"content"})
        stream = await Stream.open(raw, "branch/master/watch/tree.live")
        tree = await stream.line()
        assert (await raw.stat("")).name == "/"
        assert (await raw.stat(f"trees/{tree}")).name == "ro"
        assert (await raw.stat(f"snapshots/{head}/ro/file")).name == "file"

    async def test_what_changes_has_version_0(self, raw: Raw, rw: list[str]) -> None:
        paths = [[*rw, "file"], [*rw[:-1], "ctl"], "branch/master/head.live", "branch/master/head"]
        for path in paths:
            stat = await raw.stat(path)
            assert (stat.qid.type, stat.qid.version) == (0, 0)

    @classic  # what 9P2000.L calls them is in the tests of its requests
    async def test_owners_and_times_are_taken_and_forgotten(self, raw: Raw, rw: list[str]) -> None:
        file = [*rw, "file"]
        before = await raw.stat(file)
        await raw.wstat(file, mtime=1, atime=2, uid="me", gid="us", muid="it", n_uid=1000)
        assert await raw.stat(file) == before
        await raw.wstat(file, length=2, mtime=7)
        assert await raw.read(file) == b"co"
        await raw.wstat([*rw, "dir"], length=0)

    async def test_a_read_fits_the_message_size(self, served: Served) -> None:
        async with connect(served.port, begin=False) as raw:
            await raw.begin(msize=4096)
            place = await begin(raw, "master")
            await raw.create([*place, "rw", "file"])
            await raw.wstat([*place, "rw", "file"], length=10_000)
            fid = await raw.open([*place, "rw", "file"])
            assert len(await raw.read_at(fid, 0, 0xFFFFFFFF)) == 4096 - 11

    async def test_a_write_is_seen_by_all_at_once(self, raw: Raw, rw: list[str]) -> None:
        one, two = [await raw.open([*rw, "file"], OpenMode.READ_WRITE) for _ in range(2)]
        await raw.write_at(one, 0, b"CON")
        assert await raw.read_at(two, 0) == b"CONtent"

    @classic  # 9P2000.L reads directories with Treaddir, in test_linux.py of the hostile clients
    async def test_a_directory_can_be_read_again(self, raw: Raw) -> None:
        fid = await raw.open("")
        first = await raw.read_at(fid, 0)
        assert await raw.read_at(fid, len(first)) == b""
        assert await raw.read_at(fid, 0) == first


class TestA6Commands:
    async def test_a_result_is_shared_and_consumed(self, raw: Raw, rw: list[str]) -> None:
        merge = [*rw[:-1], "merge"]
        theirs = await commit_files(raw, "theirs", {"a": b""})
        reader = await raw.open(merge)
        writer = await raw.open(merge, OpenMode.WRITE)
        await raw.write_at(writer, 0, f"  {theirs}\n".encode())
        assert (await raw.stat(merge)).length == 2
        assert await raw.read_at(reader, 0, 1) == b"o"
        assert (await raw.stat(merge)).length == 1
        assert await raw.read_at(reader, 1) == b"k"
        assert await raw.read_at(reader, 2) == b""
        await raw.wstat(merge, length=0)


class TestA7Tree:
    async def test_a_branch_lists_its_files_in_order(self, raw: Raw) -> None:
        await raw.mkdir("branch/master")
        assert await raw.list("branch/master") == [
            *("ro", "transactions", "watch", "head.live", "fast-forward", "reflog", "head"),
        ]
        assert await raw.list("branch/master/ro") == []

    async def test_what_has_a_child_for_every_object_lists_none(self, raw: Raw) -> None:
        head = await commit_files(raw, "master", {"file": b"content"})
        for path in ("trees", "commits", "snapshots", f"snapshots/{head}/diff"):
            assert await raw.list(path) == []
        assert await raw.list(f"snapshots/{head}") == ["ro", "hash", "msg", "parents", "diff"]
        assert (await raw.stat(f"commits/{head}")).mode == 0o664

    async def test_a_snapshot_describes_its_commit(self, raw: Raw) -> None:
        first = await commit_files(raw, "master", {"file": b"1"})
        second = await commit_files(raw, "master", {"file": b"2"})
        assert await raw.read(f"snapshots/{first}/hash") == first.encode()
        assert await raw.read(f"snapshots/{first}/parents") == b""
        assert await raw.read(f"snapshots/{second}/parents") == f"{first}\n".encode()
        assert await raw.read(f"snapshots/{second}/diff/{first}") == b"* file\n"

    async def test_an_open_head_stays_and_is_opened_for_writing_too(self, raw: Raw) -> None:
        first = await commit_files(raw, "master", {"file": b"1"})
        fid = await raw.open("branch/master/head", OpenMode.READ_WRITE)
        await commit_files(raw, "master", {"file": b"2"})
        assert await raw.read_at(fid, 0) == f"{first}\n".encode()
        assert await raw.read_at(fid, 41) == b""

    async def test_any_path_can_be_watched(self, raw: Raw) -> None:
        await commit_files(raw, "master", {"src/a": b"", "b": b""})
        watch = "branch/master/watch"
        assert await raw.list(watch) == ["tree.live", "b.node", "src.node"]
        assert await raw.list(f"{watch}/src.node") == ["tree.live", "a.node"]
        assert await raw.list(f"{watch}/no.node/where.node") == ["tree.live"]
        with raw.refused(ABSENT, errno.ENOENT):
            await raw.walk(f"{watch}/src")

    async def test_trees_have_all_kinds_and_nothing_else(self, unix: Raw) -> None:
        blob = "d81e367f87ee314bcd3e449b1c6641efda5bc269"
        head = await commit_files(unix, "master", {"Makefile": b"all: build"})
        for letter, mode in (("F", 0o664), ("X", 0o775), ("L", Mode.LINK | 0o775)):
            assert await unix.read(f"trees/{letter}-{blob}") == b"all: build"
            stat = await unix.stat(f"trees/{letter}-{blob}")
            assert (stat.mode, stat.qid.type) == (mode, 0)
        for name in (f"D-{blob}", f"F-{head}", "F-" + "1" * 40, f"Q-{blob}", "F-", "hello"):
            with unix.refused(ABSENT, errno.ENOENT):
                await unix.walk(f"trees/{name}")

    async def test_qids_are_unique(self, raw: Raw, rw: list[str]) -> None:
        seen: set[Qid] = set()
        for path in ("", "branch", "branch/master", rw[:-1], rw):
            for stat in await raw.stats(path):
                assert stat.qid not in seen
                seen.add(stat.qid)

    async def test_conflicts_are_cleared_by_what_deals_with_them(self, raw: Raw) -> None:
        paths = ("a", "b", "c", "d/x", "d/y", "e")
        place = await begin(raw, "master")
        for path in paths:
            await put(raw, place, path, b"ours")
        theirs = await commit_files(raw, "theirs", dict.fromkeys(paths, b"theirs"))
        await raw.command([*place, "merge"], theirs)
        tree = [*place, "rw"]

        async def conflicts() -> list[str]:
            return (await raw.read([*place, "conflicts"])).decode().split()

        assert await conflicts() == [*paths]
        await raw.wstat([*tree, "a"], mode=0o755)
        assert await conflicts() == [*paths]
        await raw.wstat([*tree, "a"], length=0)
        assert await conflicts() == ["b", "c", "d/x", "d/y", "e"]
        await raw.remove([*tree, "b"])
        await raw.mkdir([*tree, "b"])
        await raw.create([*tree, "c"])
        await raw.remove([*tree, "d"])
        assert await conflicts() == ["e"]
        with raw.refused("Read-only file", errno.EROFS):
            await raw.write([*place, "conflicts"], b"")


async def test_a8_links_and_executables_have_gits_modes(unix: Raw, served: Served) -> None:
    place = await begin(unix, "master")
    await unix.create([*place, "rw", "run"], 0o700)
    await unix.create([*place, "rw", "link"], Mode.LINK | 0o777, extension="../../etc/passwd")
    await unix.write([*place, "ctl"], b"commit")
    listed = git(served.store.path, "ls-tree", "--format=%(objectmode) %(path)", "master")
    assert listed.splitlines() == ["120000 link", "100755 run"]
    assert await unix.read("branch/master/ro/link") == b"../../etc/passwd"  # data, never followed
