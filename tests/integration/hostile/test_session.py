"""Attacks on the session: order, versions, message sizes, attaches; fids, tags and flushes."""

from __future__ import annotations

import asyncio
import errno

import pytest

from datakit_core.ninep.messages import (
    OpenMode,
    Rattach,
    Rauth,
    Rclunk,
    Record,
    Rerror,
    Rflush,
    Rread,
    Rremove,
    Rstat,
    Rversion,
    Rwalk,
    Tattach,
    Tauth,
    Tclunk,
    Tcreate,
    Tflush,
    Topen,
    Tread,
    Tremove,
    Tstat,
    Tversion,
    Twalk,
    Twrite,
)
from datakit_core.ninep.wire import NO_FID, NO_TAG, Fid, Tag
from tests.support.peer import ONE, ROOT
from tests.support.raw import Raw, RawError, connect
from tests.support.scenarios import Stream, begin, commit_files, head_of
from tests.support.served import Served
from tests.support.waiting import until
from tests.support.wire import RawClient

BEFORE_A_SESSION: list[Record] = [
    Tauth(ONE, "me", ""),
    Tattach(ROOT, NO_FID, "me", ""),
    Twalk(ROOT, ONE, ()),
    Topen(ROOT, 0),
    Tcreate(ROOT, "x", 0o644, 0),
    Tread(ROOT, 0, 10),
    Twrite(ROOT, 0, b"x"),
    Tclunk(ROOT),
    Tremove(ROOT),
    Tstat(ROOT),
]


class TestOrder:
    @pytest.mark.parametrize("message", BEFORE_A_SESSION, ids=lambda each: type(each).__name__)
    async def test_nothing_comes_before_a_version(self, wire: RawClient, message: Record) -> None:
        wire.send(message, 1)
        assert await wire.receive() == (1, Rerror("Expected Version message"))
        assert await wire.at_end()

    @pytest.mark.parametrize("message", BEFORE_A_SESSION[2:], ids=lambda each: type(each).__name__)
    async def test_nothing_but_an_attach_comes_next(self, wire: RawClient, message: Record) -> None:
        wire.send(Tversion(8192, "9P2000"), NO_TAG)
        await wire.receive()
        wire.send(message, 1)
        assert await wire.receive() == (1, Rerror("Expected Attach message"))
        wire.send(Tattach(ROOT, NO_FID, "me", ""), 2)
        assert isinstance((await wire.receive())[1], Rattach)

    async def test_a_new_version_ends_blocked_reads_and_fids(
        self, raw: Raw, served: Served
    ) -> None:
        await commit_files(raw, "master", {"file": b"1"})
        stream = await Stream.open(raw, "branch/master/head.live")
        await stream.line()
        stream.block()
        assert served.store._watches._by_head
        await raw.begin()
        assert not served.store._watches._by_head
        with pytest.raises(RawError, match=rf"^Unknown fid {stream.fid}$"):
            await raw.read_at(stream.fid, 0)
        assert raw.unexpected == []

    @pytest.mark.parametrize("msize", [0, 1, 23, 24, 255])
    async def test_a_message_size_that_carries_nothing_is_refused(
        self, wire: RawClient, msize: int
    ) -> None:
        wire.send(Tversion(msize, "9P2000"), NO_TAG)
        assert isinstance((await wire.receive())[1], Rerror)
        await wire.attach()

    @pytest.mark.parametrize(("asked", "granted"), [(256, 256), ((1 << 32) - 1, (1 << 20) + 24)])
    async def test_a_message_size_is_capped(
        self, wire: RawClient, asked: int, granted: int
    ) -> None:
        wire.send(Tversion(asked, "9P2000"), NO_TAG)
        assert await wire.receive() == (NO_TAG, Rversion(granted, "9P2000"))

    @pytest.mark.parametrize("version", ["", "unknown", "x" * 65535, "\0", "9p2000", "HTTP/1.1"])
    async def test_an_unknown_version_is_unknown(self, wire: RawClient, version: str) -> None:
        wire.send(Tversion(8192, version), NO_TAG)
        assert await wire.receive() == (NO_TAG, Rversion(8192, "unknown"))
        wire.send(Tattach(ROOT, NO_FID, "", ""), 1)
        assert await wire.receive() == (1, Rerror("Expected Version message"))

    async def test_attaches_are_checked(self, raw: Raw) -> None:
        with pytest.raises(RawError, match="Function not implemented"):
            await raw.call(Tauth(Fid(70), "me", ""), Rauth)
        with pytest.raises(RawError, match="Unknown fid 70"):
            await raw.call(Tattach(Fid(71), Fid(70), "me", ""), Rattach)
        with pytest.raises(RawError, match="Fid 0 already in use"):
            await raw.call(Tattach(ROOT, NO_FID, "me", ""), Rattach)
        await raw.call(Tattach(Fid(70), NO_FID, "x" * 60_000, "/etc/passwd\0"), Rattach)
        assert await raw.list("branch") == []


class TestFids:
    async def test_no_fid_is_none(self, raw: Raw) -> None:
        with pytest.raises(RawError, match=f"{NO_FID} is no fid"):
            await raw.call(Twalk(ROOT, Fid(NO_FID), ()), Rwalk)

    async def test_there_is_a_cap_and_others_do_not_feel_it(
        self, served: Served, bystander: Raw
    ) -> None:
        cap = 1 << 16
        async with connect(served.port) as raw:
            for start in range(1, cap, 5_000):
                numbers = range(start, min(start + 5_000, cap))
                replies = [
                    raw.start(Twalk(ROOT, Fid(each), ()), Tag(each - start))[1] for each in numbers
                ]
                for reply in replies:
                    assert await reply == Rwalk(())
            with pytest.raises(RawError, match=f"at most {cap} fids") as caught:
                await raw.call(Twalk(ROOT, Fid(cap), ()), Rwalk)
            assert caught.value.errno in (0, errno.EMFILE)
            assert await bystander.walk("branch")
            await raw.clunk(Fid(1))
            await raw.call(Twalk(ROOT, Fid(cap), ()), Rwalk)

    async def test_what_was_clunked_is_gone(self, raw: Raw) -> None:
        fid = await raw.open("branch")
        await raw.clunk(fid)
        gone = rf"^Unknown fid {fid}$"
        requests: list[Record] = [
            Tclunk(fid),
            Tremove(fid),
            Tstat(fid),
            Topen(fid, 0),
            Tread(fid, 0, 1),
            Twrite(fid, 0, b""),
            Twalk(fid, Fid(900), ()),
            Tcreate(fid, "x", 0, 0),
        ]
        for request in requests:
            with pytest.raises(RawError, match=gone):
                await raw.call(request, Record)

    async def test_a_tag_in_use_ends_the_connection(self, wire: RawClient, raw: Raw) -> None:
        await commit_files(raw, "master", {"file": b""})
        await wire.attach()
        await self._block(wire)
        wire.send(Tread(ONE, 41, 100), 7)
        wire.send(Tclunk(ONE), 7)
        assert await wire.at_end()

    async def test_no_tag_is_a_tag_like_others(self, wire: RawClient) -> None:
        await wire.attach()
        wire.send(Tclunk(ROOT), NO_TAG)
        assert await wire.receive() == (NO_TAG, Rclunk())

    async def test_requests_that_wait_are_capped(self, wire: RawClient, raw: Raw) -> None:
        await commit_files(raw, "master", {"file": b""})
        await wire.attach()
        await self._block(wire)
        cap = 1 << 14
        for tag in range(cap + 1):
            wire.send(Tread(ONE, 41, 100), tag)
        assert await wire.receive() == (cap, Rerror(f"Too many requests wait: at most {cap}"))

    @staticmethod
    async def _block(wire: RawClient) -> None:
        """Read a stream up to where it blocks, at offset 41."""
        wire.send(Twalk(ROOT, ONE, ("branch", "master", "head.live")), 1)
        wire.send(Topen(ONE, 0), 1)
        wire.send(Tread(ONE, 0, 100), 1)
        wire.send(Tread(ONE, 41, 100), 1)
        replies = [(await wire.receive())[1] for _ in range(4)]
        assert replies[-1] == Rread(b"")


class TestFlush:
    async def test_what_cannot_be_flushed_is_flushed(self, raw: Raw) -> None:
        await raw.list("branch")
        for oldtag in (4711, 1, NO_TAG):  # unknown, answered, none
            await raw.flush(Tag(oldtag))
        assert await raw.call(Tflush(Tag(9)), Rflush, Tag(9)) == Rflush()  # itself

    async def test_a_blocked_read_is_flushed_three_times_and_gets_no_reply(self, raw: Raw) -> None:
        first = await commit_files(raw, "master", {"file": b"1"})
        stream = await Stream.open(raw, "branch/master/head.live")
        assert await stream.line() == first
        tag, waiting = stream.block()
        flushes = [raw.start(Tflush(tag))[1] for _ in range(3)]
        for each in flushes:
            assert await each == Rflush()
        second = await commit_files(raw, "master", {"file": b"2"})
        assert not waiting.done()
        assert await stream.line() == second  # and the value is not lost

    async def test_a_flushed_walk_binds_nothing_or_was_answered(self, raw: Raw) -> None:
        tag, reply = raw.start(Twalk(ROOT, Fid(70), ("branch",)))
        await raw.flush(tag)
        if not reply.done():
            with pytest.raises(RawError, match="Unknown fid 70"):
                await raw.call(Tstat(Fid(70)), Rstat)
        else:
            assert (await raw.call(Tstat(Fid(70)), Rstat)).stat.name == "branch"

    async def test_a_flushed_remove_clunks_all_the_same(self, raw: Raw) -> None:
        await raw.mkdir("branch/master")
        fid = await raw.walk("branch/master")
        tag, _ = raw.start(Tremove(fid))
        await raw.flush(tag)
        with pytest.raises(RawError, match=f"Unknown fid {fid}"):
            await raw.call(Tremove(fid), Rremove)

    async def test_a_flushed_commit_has_ended_when_the_flush_is_answered(self, raw: Raw) -> None:
        place = await begin(raw, "master")
        await raw.create([*place, "rw", "file"], data=b"content")
        fid = await raw.open([*place, "ctl"], OpenMode.WRITE)
        tag, reply = raw.start(Twrite(fid, 0, b"commit"))
        await raw.flush(tag)
        head = await head_of(raw, "master")
        if head:
            assert await raw.read("branch/master/ro/file") == b"content"
        else:
            assert not reply.done()
        assert await head_of(raw, "master") == head  # nothing comes after the Rflush

    @pytest.mark.parametrize("end", ["flush", "publish", "disconnect"])
    async def test_ten_thousand_blocked_readers_are_records_and_not_tasks(
        self, served: Served, bystander: Raw, end: str
    ) -> None:
        await commit_files(bystander, "master", {"file": b"1"})
        count, watches = 10_000, served.store._watches
        async with connect(served.port) as raw:
            fids = [Fid(1000 + index) for index in range(count)]
            for number, fid in enumerate(fids):
                raw.start(Twalk(ROOT, fid, ("branch", "master", "head.live")), Tag(50_000))
                raw.start(Topen(fid, 0), Tag(50_000))
                raw.start(Tread(fid, 0, 100), Tag(50_000))
                raw.start(Tread(fid, 41, 100), Tag(50_000))
                if number % 1_000 == 999:
                    await raw.flush(Tag(60_001))  # all before has been answered
            tasks = len(asyncio.all_tasks())
            waiting = [
                raw.start(Tread(fid, 41, 100), Tag(tag)) for tag, fid in enumerate(fids, 10_000)
            ]
            await raw.flush(Tag(60_001))
            assert len(asyncio.all_tasks()) < tasks + 10  # maintenance may have begun something
            match end:
                case "flush":
                    for tag, _ in waiting:
                        raw.start(Tflush(tag), Tag(50_000))
                    await raw.flush(Tag(60_001))
                    assert not any(reply.done() for _, reply in waiting)
                case "publish":
                    head = await commit_files(bystander, "master", {"file": b"2"})
                    for _, reply in waiting:
                        assert await reply == Rread(f"{head}\n".encode())
                case _:
                    raw._writer.transport.abort()
        await until(lambda: not watches._by_head)
