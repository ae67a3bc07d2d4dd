"""A session's phases, late answers, flushes, limits and end."""

from __future__ import annotations

import logging

import pytest

from datakit_core.errors import InvalidArgument, NoEntry, ProtocolError
from datakit_core.ninep.dialect import PLAIN, UNIX
from datakit_core.ninep.messages import (
    Rattach,
    Rclunk,
    Rcreate,
    Record,
    Rerror,
    Rflush,
    Ropen,
    Rread,
    Rremove,
    Rstat,
    Rversion,
    Rwalk,
    Rwrite,
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
from datakit_core.ninep.session import Limits, Session
from datakit_core.ninep.wire import NO_FID, NO_TAG, Fid, Tag
from datakit_core.vfs import (
    Answer,
    File,
    Handle,
    Kind,
    Live,
    Named,
    Stat,
    StaticDirectory,
    StreamFile,
)
from tests.support.peer import ONE, ROOT, THREE, TWO, Peer
from tests.support.slow import LateFile, SlowDirectory, SlowHandle
from tests.support.tree import TreeDirectory


class TestVersion:
    @pytest.mark.parametrize(
        ("asked", "answered"),
        [("9P2000", "9P2000"), ("9P2000.u", "9P2000.u"), ("9P2000.x", "9P2000"), ("9", "unknown")],
    )
    def test_is_agreed_on(self, asked: str, answered: str) -> None:
        peer = Peer(TreeDirectory())
        assert peer.call(Tversion(8192, asked), NO_TAG) == Rversion(8192, answered)

    @pytest.mark.parametrize(
        ("asked", "granted"),
        [
            (256, 256),
            (65536, 65536),
            (131096, 131096),
            ((1 << 20) + 24, (1 << 20) + 24),
            (0xFFFFFFFF, (1 << 20) + 24),
        ],
    )
    def test_grants_a_message_size_within_the_limits(self, asked: int, granted: int) -> None:
        peer = Peer(TreeDirectory())
        assert peer.call(Tversion(asked, "9P2000")) == Rversion(granted, "9P2000")
        assert peer.session.framer.limit == granted

    @pytest.mark.parametrize("asked", [0, 1, 23, 24, 255])
    def test_refuses_a_message_size_that_errors_would_not_fit(self, asked: int) -> None:
        peer = Peer(TreeDirectory())
        assert "the least is 256" in peer.error(Tversion(asked, "9P2000"))
        assert peer.call(Tversion(256, "9P2000")) == Rversion(256, "9P2000")

    def test_must_come_first(self) -> None:
        peer = Peer(TreeDirectory())
        with pytest.raises(ProtocolError):
            peer.send(Tattach(ROOT, NO_FID, "", ""))
        assert peer.take() == [(1, Rerror("Expected Version message"))]

    def test_that_is_unknown_leaves_the_session_as_it_was_before_one(self) -> None:
        peer = Peer(TreeDirectory()).attach()
        assert peer.call(Tversion(8192, "HTTP")) == Rversion(8192, "unknown")
        with pytest.raises(ProtocolError):
            peer.send(Tstat(ROOT))

    def test_later_begins_anew(self) -> None:
        peer = Peer(TreeDirectory()).attach()
        peer.call(Tversion(4096, "9P2000"))
        assert peer.error(Tstat(ROOT)) == "Expected Attach message"
        peer.call(Tattach(ROOT, NO_FID, "", ""))
        assert peer.error(Tstat(ONE)) == "Unknown fid 1"


class TestAttach:
    def test_must_come_before_anything_else(self) -> None:
        peer = Peer(TreeDirectory())
        peer.call(Tversion(8192, "9P2000"))
        for request in (Tstat(ROOT), Twalk(ROOT, ONE, ()), Tclunk(ROOT)):
            assert peer.error(request) == "Expected Attach message"
        assert not peer.session.attached
        assert isinstance(peer.call(Tattach(ROOT, NO_FID, "", "")), Rattach)
        assert peer.session.attached

    def test_may_come_once_more_for_each_user(self) -> None:
        peer = Peer(TreeDirectory(), UNIX).attach()
        assert isinstance(peer.call(Tattach(ONE, NO_FID, "", "", 1000)), Rattach)

    def test_needs_no_authentication(self) -> None:
        peer = Peer(TreeDirectory(), UNIX)
        peer.call(Tversion(8192, "9P2000.u"))
        assert peer.call(Tauth(ONE, "", "")) == Rerror("Function not implemented", 95)

    def test_that_fails_does_not_count(self) -> None:
        peer = Peer(TreeDirectory())
        peer.call(Tversion(8192, "9P2000"))
        peer.error(Tattach(ROOT, ONE, "", ""))
        assert not peer.session.attached


class TestErrors:
    def test_have_a_number_in_9p2000u_only(self) -> None:
        for dialect, number in ((PLAIN, 0), (UNIX, 2)):
            peer = Peer(TreeDirectory(), dialect).attach()
            reply = peer.call(Twalk(ROOT, ONE, ("x",)))
            assert reply == Rerror("No such file or directory", number)

    def test_name_an_unknown_or_misdirected_message(self) -> None:
        peer = Peer(TreeDirectory()).attach()
        assert peer.error(Rclunk()) == "unknown packet type 121"
        reply = peer.session.receive(b"\x07\0\0\0\x0c\x05\0")
        assert reply is not None
        assert b"unknown packet type 12" in bytes(reply)  # type: ignore[arg-type]

    def test_of_a_damaged_message_leave_the_session_alive(self) -> None:
        peer = Peer(TreeDirectory()).attach()
        reply = peer.session.receive(b"\x08\0\0\0\x74\x05\0\0")
        assert isinstance(reply, bytes)
        assert reply[4:7] == b"\x6b\x05\0"
        assert isinstance(peer.call(Tstat(ROOT)), Rstat)

    def test_are_cut_to_fit_the_message_size(self) -> None:
        class Wordy(TreeDirectory):
            def stat(self) -> Answer[Stat]:
                raise InvalidArgument("ä" * 5000)

        peer = Peer(Wordy(), UNIX).attach(msize=256)
        text = peer.error(Tstat(ROOT))
        assert 80 < len(text) < 128
        assert set(text) == {"ä"}

    def test_of_our_own_are_logged_and_not_told(self, caplog: pytest.LogCaptureFixture) -> None:
        class Broken(TreeDirectory):
            def stat(self) -> Answer[Stat]:
                raise RuntimeError("/secret/path")

        peer = Peer(Broken()).attach()
        assert peer.error(Tstat(ROOT)) == "Internal error; the server's log has the details"
        assert "/secret/path" in caplog.text

    def test_take_the_place_of_a_reply_that_does_not_fit(self) -> None:
        class Long(TreeDirectory):
            def stat(self) -> Answer[Stat]:
                return Stat("/", Kind.LINK, 1, target="x" * 300)

        peer = Peer(Long(), UNIX).attach(msize=256)
        assert "does not fit msize 256" in peer.error(Tstat(ROOT))


class TestWork:
    """Answers that are coroutines: the shell runs them."""

    @pytest.fixture
    def peer(self) -> Peer:
        peer = Peer(SlowDirectory()).attach()
        self.walk(peer, ONE, "f")
        return peer

    def walk(self, peer: Peer, newfid: Fid, *names: str) -> None:
        work = peer.send(Twalk(ROOT, newfid, names), 9)
        self.run(peer, work)
        *_, (_, reply) = peer.take()
        assert isinstance(reply, Rwalk), reply

    def run(self, peer: Peer, work: object) -> None:
        """Do what the shell does; nothing here really waits."""
        coroutine = work.coroutine  # type: ignore[attr-defined]
        try:
            coroutine.send(None)
        except StopIteration as stop:
            peer.session.finish(work, stop.value)  # type: ignore[arg-type]
        except NoEntry as error:
            peer.session.fail(work, error)  # type: ignore[arg-type]

    def later(self, peer: Peer, request: Record) -> Record:
        self.run(peer, peer.send(request, 5))
        ((tag, reply),) = peer.take()
        assert tag == 5
        assert peer.session.waiting == 0
        return reply

    def test_every_request_may_be_answered_by_it(self, peer: Peer) -> None:
        assert isinstance(self.later(peer, Tstat(ONE)), Rstat)
        assert isinstance(self.later(peer, Topen(ONE, 0x10)), Ropen)
        assert self.later(peer, Tread(ONE, 0, 100)) == Rread(b"slow")
        assert self.later(peer, Twrite(ONE, 0, b"abc")) == Rwrite(3)
        assert self.later(peer, Tremove(ONE)) == Rremove()
        self.walk(peer, ONE, "d", "d")
        assert isinstance(self.later(peer, Tcreate(ONE, "n", 0o644, 0x40)), Rcreate)
        assert self.later(peer, Tclunk(ONE)) == Rclunk()

    def test_a_walk_that_fails_leaves_its_newfid_free(self, peer: Peer) -> None:
        assert self.later(peer, Twalk(ROOT, TWO, ("d", "x"))) == Rerror("No such file or directory")
        self.walk(peer, TWO, "d")

    def test_a_walk_finds_an_escaped_name(self, peer: Peer) -> None:
        assert isinstance(self.later(peer, Twalk(ROOT, TWO, ("a%2Fb",))), Rwalk)
        assert isinstance(self.later(peer, Twalk(ROOT, THREE, ("x%2Fy",))), Rerror)

    def test_a_newfid_is_taken_while_the_walk_is_under_way(self, peer: Peer) -> None:
        peer.work(Twalk(ROOT, TWO, ("d",)), 2)
        assert peer.error(Twalk(ROOT, TWO, ("d",)), 3) == "Fid 2 already in use"
        assert peer.error(Tstat(TWO), 3) == "Unknown fid 2"

    def test_a_fid_that_is_being_opened_cannot_be_opened_again(self, peer: Peer) -> None:
        peer.work(Topen(ONE, 0), 2)
        assert peer.error(Topen(ONE, 0), 3) == "Already open"
        assert peer.error(Tcreate(ONE, "x", 0, 0), 3) == "Can't create in an opened fid"
        assert peer.error(Twalk(ONE, ONE, ()), 3) == "Already open"

    def test_an_open_that_fails_can_be_tried_again(self, peer: Peer) -> None:
        work = peer.work(Topen(ONE, 0), 2)
        peer.session.fail(work, NoEntry())
        assert peer.take() == [(2, Rerror("No such file or directory"))]
        assert isinstance(self.later(peer, Topen(ONE, 0)), Ropen)

    def test_a_fid_that_is_clunked_while_it_is_opened_is_closed(self, peer: Peer) -> None:
        work, handle = peer.work(Topen(ONE, 0), 2), SlowHandle()
        peer.call(Tclunk(ONE), 3)
        peer.session.finish(work, handle)
        assert peer.take() == [(2, Rerror("Unknown fid 1"))]
        assert handle.closed == 1

    def test_a_fid_that_is_clunked_while_it_walks_stays_clunked(self, peer: Peer) -> None:
        self.walk(peer, TWO, "d")
        work = peer.work(Twalk(TWO, TWO, ("d",)), 2)
        peer.call(Tclunk(TWO), 3)
        peer.session.finish(work, [])
        assert peer.take() == [(2, Rerror("Unknown fid 2"))]

    def test_a_failure_that_is_a_bug_is_logged(
        self, peer: Peer, caplog: pytest.LogCaptureFixture
    ) -> None:
        peer.session.fail(peer.work(Tstat(ONE), 2), RuntimeError("oops"))
        assert peer.take() == [(2, Rerror("Internal error; the server's log has the details"))]
        assert "oops" in caplog.text

    def test_flush_waits_for_its_end_and_suppresses_the_reply(self, peer: Peer) -> None:
        work = peer.work(Tstat(ONE), 2)
        assert peer.send(Tflush(Tag(2)), 3) is None
        assert peer.take() == []
        peer.session.finish(work, Stat("f", Kind.FILE, 1))
        assert peer.take() == [(3, Rflush())]
        assert peer.session.waiting == 0

    def test_flush_of_what_fails_is_answered_alike(self, peer: Peer) -> None:
        work = peer.work(Tstat(ONE), 2)
        peer.send(Tflush(Tag(2)), 3)
        peer.session.fail(work, NoEntry())
        assert peer.take() == [(3, Rflush())]

    def test_several_flushes_are_answered_in_order(self, peer: Peer) -> None:
        work = peer.work(Tstat(ONE), 2)
        peer.send(Tflush(Tag(2)), 5)
        peer.send(Tflush(Tag(2)), 4)
        peer.send(Tflush(Tag(5)), 3)  # of a flush
        peer.session.finish(work, Stat("f", Kind.FILE, 1))
        assert peer.take() == [(5, Rflush()), (4, Rflush()), (3, Rflush())]
        assert peer.session.waiting == 0

    def test_a_flushed_walk_binds_nothing(self, peer: Peer) -> None:
        work = peer.work(Twalk(ROOT, TWO, ("d",)), 2)
        peer.send(Tflush(Tag(2)), 3)
        peer.session.finish(work, [])
        assert peer.error(Tstat(TWO)) == "Unknown fid 2"
        self.walk(peer, TWO, "d")

    def test_a_flushed_open_leaves_the_fid_closed(self, peer: Peer) -> None:
        work, handle = peer.work(Topen(ONE, 0), 2), SlowHandle()
        peer.send(Tflush(Tag(2)), 3)
        peer.session.finish(work, handle)
        assert handle.closed == 1
        assert peer.error(Tread(ONE, 0, 1)) == "Can't read from unopened fid"

    def test_a_flushed_create_leaves_the_fid_where_it_was(self, peer: Peer) -> None:
        self.walk(peer, TWO, "d")
        work, handle = peer.work(Tcreate(TWO, "n", 0o644, 0), 2), SlowHandle()
        peer.send(Tflush(Tag(2)), 3)
        peer.session.finish(work, (SlowDirectory().file, handle))
        peer.take()
        assert handle.closed == 1
        assert isinstance(self.later(peer, Tcreate(TWO, "n", 0o644, 0)), Rcreate)

    def test_a_flushed_remove_still_clunks(self, peer: Peer) -> None:
        work = peer.work(Tremove(ONE), 2)
        peer.send(Tflush(Tag(2)), 3)
        peer.session.finish(work, None)
        assert peer.take() == [(3, Rflush())]
        assert peer.error(Tstat(ONE)) == "Unknown fid 1"

    @pytest.mark.parametrize("fails", [False, True])
    def test_of_a_session_before_tversion_is_not_answered(self, peer: Peer, fails: bool) -> None:
        work = peer.work(Twalk(ROOT, TWO, ("d",)), 2)
        peer.send(Tflush(Tag(2)), 3)
        peer.attach()
        if fails:
            peer.session.fail(work, NoEntry())
        else:
            peer.session.finish(work, [])
        assert peer.take() == []
        self.walk(peer, TWO, "d")


class TestWaiting:
    """Answers that are Deferreds: records of somebody who waits."""

    @pytest.fixture
    def file(self) -> LateFile:
        return LateFile("late")

    @pytest.fixture
    def peer(self, file: LateFile) -> Peer:
        peer = Peer(StaticDirectory("/", [file])).attach()
        peer.open("late")
        return peer

    def test_a_read_is_answered_when_its_value_comes(self, peer: Peer, file: LateFile) -> None:
        assert peer.send(Tread(ONE, 0, 10), 2) is None
        assert peer.session.waiting == 1
        file.reads[0].resolve(b"now")
        assert peer.take() == [(2, Rread(b"now"))]
        assert peer.session.waiting == 0

    def test_a_write_too(self, peer: Peer, file: LateFile) -> None:
        assert peer.send(Twrite(ONE, 0, b"abc"), 2) is None
        file.writes[0].resolve(3)
        assert peer.take() == [(2, Rwrite(3))]

    def test_an_error_too(self, peer: Peer, file: LateFile) -> None:
        peer.send(Tread(ONE, 0, 10), 2)
        file.reads[0].fail(NoEntry())
        assert peer.take() == [(2, Rerror("No such file or directory"))]

    def test_a_value_that_is_there_already_is_answered_at_once(self) -> None:
        class Ready(LateFile):
            def read(self, offset: int, count: int) -> Answer[bytes]:
                super().read(offset, count)
                self.reads[-1].resolve(b"ready")
                return self.reads[-1]

        peer = Peer(StaticDirectory("/", [Ready("late")])).attach()
        peer.open("late")
        assert peer.read(ONE) == b"ready"
        assert peer.session.waiting == 0

    def test_flush_ends_it_at_once(self, peer: Peer, file: LateFile) -> None:
        peer.send(Tread(ONE, 0, 10), 2)
        assert peer.call(Tflush(Tag(2)), 3) == Rflush()
        assert file.reads[0].done
        file.reads[0].resolve(b"too late")
        assert (peer.take(), peer.session.waiting) == ([], 0)
        assert peer.send(Tread(ONE, 0, 10), 2) is None

    def test_clunk_ends_it_with_an_error(self, peer: Peer, file: LateFile) -> None:
        peer.send(Tread(ONE, 0, 10), 2)
        assert peer.call(Tclunk(ONE), 3) == Rclunk()
        assert peer.take() == [(2, Rerror("the fid was clunked meanwhile"))]
        assert (file.reads[0].done, peer.session.waiting) == (True, 0)

    def test_a_tag_cannot_be_used_twice(self, peer: Peer) -> None:
        peer.send(Tread(ONE, 0, 10), 2)
        with pytest.raises(ProtocolError, match="tag 2 is used again"):
            peer.send(Tstat(ROOT), 2)
        with pytest.raises(ProtocolError, match="tag 2 is used again"):
            peer.session.receive(b"\x07\0\0\0\xff\x02\0")  # not even for what is no message

    def test_there_is_a_cap_with_a_clear_error(self, file: LateFile) -> None:
        peer = Peer(StaticDirectory("/", [file]), limits=Limits(max_waiting=2)).attach()
        peer.open("late")
        assert [peer.send(Tread(ONE, 0, 10), tag) for tag in (2, 3)] == [None, None]
        assert peer.error(Tread(ONE, 0, 10), 4) == "Too many requests wait: at most 2"
        assert file.reads[2].done
        peer.call(Tflush(Tag(3)), 5)
        assert peer.send(Tread(ONE, 0, 10), 4) is None

    def test_a_new_session_forgets_it(self, peer: Peer, file: LateFile) -> None:
        peer.send(Tread(ONE, 0, 10), 2)
        peer.attach()
        assert (file.reads[0].done, peer.take()) == (True, [])

    def test_the_end_of_the_connection_forgets_it(self, peer: Peer, file: LateFile) -> None:
        for tag in range(100, 1100):
            peer.send(Tread(ONE, 0, 10), tag)
        peer.session.close()
        assert all(read.done for read in file.reads)
        assert (peer.take(), peer.session.waiting, peer.session.fids) == ([], 0, 0)


class TestFlush:
    @pytest.fixture
    def peer(self) -> Peer:
        return Peer(TreeDirectory()).attach()

    @pytest.mark.parametrize("oldtag", [7, 1, NO_TAG])
    def test_of_what_is_not_there_is_answered_at_once(self, peer: Peer, oldtag: int) -> None:
        assert peer.call(Tflush(Tag(oldtag)), 1) == Rflush()
        assert peer.call(Tflush(Tag(oldtag)), NO_TAG) == Rflush()

    def test_of_a_stream_loses_no_value(self) -> None:
        live = Live(b"one\n")
        peer = Peer(StaticDirectory("/", [StreamFile("live", live.open)])).attach()
        fid = peer.open("live")
        assert [peer.read(fid), peer.read(fid, 4)] == [b"one\n", b""]
        assert peer.send(Tread(fid, 4, 100), 2) is None
        peer.call(Tflush(Tag(2)), 3)
        live.publish(b"two\n")
        assert peer.take() == []
        assert peer.read(fid, 4) == b"two\n"


class TestClose:
    def test_closes_every_handle_once(self) -> None:
        handles: list[SlowHandle] = []

        class Counted(Named, File):
            def open(self) -> Answer[Handle]:
                handles.append(SlowHandle())
                return handles[-1]

        peer = Peer(StaticDirectory("/", [Counted("f")])).attach()
        for number in (1, 2, 3):
            peer.open("f", newfid=Fid(number))
        peer.call(Tclunk(ONE))
        peer.session.close()
        peer.session.close()
        assert [handle.closed for handle in handles] == [1, 1, 1]

    def test_needs_no_session_to_have_begun(self) -> None:
        Session(TreeDirectory(), lambda frame: None).close()


def test_each_message_can_be_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "datakit_core.ninep.session"):
        Peer(TreeDirectory()).attach()
    assert "Tattach(fid=0" in caplog.text
