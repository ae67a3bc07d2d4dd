"""What requests do to fids and nodes: attach, open, create, read, write, wstat, remove."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from datakit_core.ninep.dialect import PLAIN, UNIX
from datakit_core.ninep.messages import (
    KEEP,
    Mode,
    OpenMode,
    Rattach,
    Rclunk,
    Rcreate,
    Rerror,
    Ropen,
    Rremove,
    Rwrite,
    Rwstat,
    Tattach,
    Tclunk,
    Tcreate,
    Topen,
    Tread,
    Tremove,
    Tstat,
    Twalk,
    Twrite,
    Twstat,
)
from datakit_core.ninep.wire import NO_FID
from datakit_core.vfs import (
    Answer,
    Directory,
    Stat,
    StaticDirectory,
    TextFile,
)
from tests.support.peer import ONE, ROOT, TWO, Peer
from tests.support.tree import TreeDirectory


@pytest.fixture
def root() -> TreeDirectory:
    tree = TreeDirectory()
    tree.add_directory("d").add_file("f", b"hello")
    tree.add_file("top", b"")
    return tree


@pytest.fixture
def peer(root: TreeDirectory) -> Peer:
    return Peer(root, UNIX).attach()


class TestAttach:
    def test_binds_the_root(self, peer: Peer, root: TreeDirectory) -> None:
        reply = peer.call(Tattach(ONE, NO_FID, "", ""))
        assert isinstance(reply, Rattach)
        assert (reply.qid.type, reply.qid.path) == (0x80, root.inode)
        assert peer.stat(ONE).name == "/"

    def test_shows_files_as_the_users_own(self, peer: Peer) -> None:
        peer.call(Tattach(TWO, NO_FID, "", "", 1000))
        peer.call(Twalk(TWO, ONE, ("d", "f")))
        assert (peer.stat(TWO).n_uid, peer.stat(ONE).n_uid) == (1000, 1000)
        assert peer.stat(ROOT).n_uid == 0, "as whoever attached without a number sees them"

    def test_refuses_a_fid_in_use(self, peer: Peer) -> None:
        assert peer.error(Tattach(ROOT, NO_FID, "", "")) == "Fid 0 already in use"

    def test_refuses_an_authentication_fid(self, peer: Peer) -> None:
        assert peer.error(Tattach(ONE, TWO, "", "")) == "Unknown fid 2"


class TestOpen:
    def test_ignores_who_may_do_what(self, peer: Peer) -> None:
        for mode in (0, 1, 2, 3):
            fid = peer.open("d", "f", mode=mode)
            assert peer.read(fid) == b"hello"
            peer.call(Tclunk(fid))

    def test_tells_no_iounit(self, peer: Peer) -> None:
        peer.walk("top")
        reply = peer.call(Topen(ONE, 0))
        assert isinstance(reply, Ropen)
        assert reply.iounit == 0

    def test_twice_is_refused(self, peer: Peer) -> None:
        peer.open("top")
        assert peer.error(Topen(ONE, 0)) == "Already open"

    def test_truncates_when_asked(self, peer: Peer) -> None:
        fid = peer.open("d", "f", mode=OpenMode.WRITE | OpenMode.TRUNCATE)
        assert peer.stat(fid).length == 0

    def test_of_a_read_only_file_for_truncation_fails_and_leaves_it_closed(self) -> None:
        peer = Peer(StaticDirectory("/", [TextFile("f", b"x")])).attach()
        peer.walk("f")
        assert peer.error(Topen(ONE, OpenMode.TRUNCATE)) == "Read-only file"
        assert isinstance(peer.call(Topen(ONE, 0)), Ropen)

    def test_removes_on_close_when_asked(self, peer: Peer, root: TreeDirectory) -> None:
        fid = peer.open("top", mode=OpenMode.REMOVE_ON_CLOSE)
        assert "top" in root.children
        assert peer.call(Tclunk(fid)) == Rclunk()
        assert "top" not in root.children


class TestCreate:
    def create(
        self, peer: Peer, name: str, perm: int = 0o644, extension: str = "", mode: int = 2
    ) -> object:
        peer.call(Tclunk(ONE))
        peer.walk()
        return peer.call(Tcreate(ONE, name, perm, mode, extension))

    def test_makes_a_file_that_is_then_open(self, peer: Peer) -> None:
        assert isinstance(self.create(peer, "new"), Rcreate)
        assert peer.call(Twrite(ONE, 0, b"data")) == Rwrite(4)
        assert (peer.stat(ONE).name, peer.stat(ONE).length) == ("new", 4)

    def test_makes_a_directory(self, peer: Peer, root: TreeDirectory) -> None:
        reply = self.create(peer, "sub", Mode.DIRECTORY | 0o755, mode=0)
        assert isinstance(reply, Rcreate)
        assert reply.qid.type == 0x80
        assert peer.read(ONE) == b""
        assert isinstance(root.children["sub"], TreeDirectory)

    def test_makes_executables_and_links(self, peer: Peer) -> None:
        self.create(peer, "x", 0o755)
        assert peer.stat(ONE).mode == 0o775
        self.create(peer, "l", Mode.LINK, "target")
        link = peer.stat(ONE)
        assert (link.mode, link.extension, link.qid.type) == (0x020001FD, "target", 0)

    def test_leads_back_to_the_directory(self, peer: Peer) -> None:
        self.create(peer, "sub", Mode.DIRECTORY)
        peer.walk("..", fid=ONE, newfid=TWO)
        assert peer.stat(TWO).name == "/"

    def test_replaces_a_file_by_an_empty_one(self, peer: Peer) -> None:
        peer.walk("d")
        assert isinstance(peer.call(Tcreate(ONE, "f", 0o644, 1)), Rcreate)
        assert peer.stat(ONE).length == 0

    def test_does_not_replace_a_directory(self, peer: Peer) -> None:
        assert self.create(peer, "d") == Rerror("Is a directory", 21)
        assert self.create(peer, "d", Mode.DIRECTORY) == Rerror("Already exists", 17)
        assert self.create(peer, "top", Mode.DIRECTORY) == Rerror("Already exists", 17)

    def test_leaves_the_fid_alone_when_it_fails(self, peer: Peer) -> None:
        self.create(peer, "d")
        assert peer.stat(ONE).name == "/"
        assert isinstance(peer.call(Tcreate(ONE, "e", 0o644, 1)), Rcreate)

    def test_of_a_link_needs_a_target(self, peer: Peer) -> None:
        assert self.create(peer, "l", Mode.LINK) == Rerror("Missing target for symlink!", 22)

    def test_below_a_file_names_the_file(self, peer: Peer) -> None:
        peer.walk("d", "f")
        assert peer.error(Tcreate(ONE, "x", 0o644, 0)) == '"f" is not a directory'

    def test_in_an_open_fid_is_refused(self, peer: Peer) -> None:
        peer.open("d")
        assert peer.error(Tcreate(ONE, "x", 0o644, 0)) == "Can't create in an opened fid"

    @pytest.mark.parametrize("name", [".", "..", "", "a\0b", "../../x"])
    def test_refuses_names_that_lead_elsewhere(self, peer: Peer, name: str) -> None:
        peer.walk()
        peer.error(Tcreate(ONE, name, 0o644, 0))

    def test_removes_on_close_when_asked(self, peer: Peer, root: TreeDirectory) -> None:
        self.create(peer, "new", mode=OpenMode.READ_WRITE | OpenMode.REMOVE_ON_CLOSE)
        peer.call(Tclunk(ONE))
        assert "new" not in root.children


class TestRead:
    def test_returns_a_part(self, peer: Peer) -> None:
        fid = peer.open("d", "f")
        assert [peer.read(fid, 1, 3), peer.read(fid, 5), peer.read(fid, 0, 0)] == [
            b"ell",
            b"",
            b"",
        ]

    def test_beyond_the_end_is_an_error(self, peer: Peer) -> None:
        peer.open("top")
        assert peer.error(Tread(ONE, 100, 1)) == "Offset 100 beyond end-of-file (len = 0)"

    @pytest.mark.parametrize(
        ("offset", "shown"),
        [(1 << 63, -(1 << 63)), ((1 << 64) - 1, -1)],
    )
    @pytest.mark.parametrize("count", [0, 1, 0xFFFFFFFF])
    def test_at_a_negative_offset_is_an_error(
        self, peer: Peer, offset: int, shown: int, count: int
    ) -> None:
        peer.open("d", "f")
        assert peer.error(Tread(ONE, offset, count)) == f"Negative offset {shown}"

    def test_never_exceeds_the_message_size(self, root: TreeDirectory) -> None:
        root.add_file("big", b"x" * 10_000)
        peer = Peer(root, UNIX).attach(msize=1000)
        fid = peer.open("big")
        assert len(peer.read(fid, 0, 0xFFFFFFFF)) == 1000 - 11

    def test_needs_an_open_fid(self, peer: Peer) -> None:
        peer.walk("top")
        assert peer.error(Tread(ONE, 0, 1)) == "Can't read from unopened fid"
        assert peer.error(Tread(TWO, 0, 1)) == "Unknown fid 2"


class TestWrite:
    def test_changes_the_file_for_all(self, peer: Peer) -> None:
        writer = peer.open("d", "f")
        reader = peer.open("d", "f", newfid=TWO)
        assert peer.call(Twrite(writer, 1, b"E")) == Rwrite(1)
        assert peer.read(reader) == b"hEllo"

    def test_fills_a_gap_with_zero_bytes(self, peer: Peer) -> None:
        fid = peer.open("d", "f")
        peer.call(Twrite(fid, 7, b"!"))
        assert peer.read(fid) == b"hello\0\0!"

    def test_needs_an_open_file(self, peer: Peer) -> None:
        peer.walk("top")
        assert peer.error(Twrite(ONE, 0, b"x")) == "Can't write to unopened fid"
        peer.open("d", newfid=TWO)
        assert peer.error(Twrite(TWO, 0, b"x")) == "Can't write to directories"

    def test_at_a_negative_offset_is_an_error(self, peer: Peer) -> None:
        peer.open("top")
        assert peer.error(Twrite(ONE, (1 << 64) - 2, b"x")) == "Bad write offset -2"

    def test_far_beyond_the_end_is_refused_before_it_allocates(self, peer: Peer) -> None:
        peer.open("top")
        assert "too large" in peer.error(Twrite(ONE, 1 << 40, b"x"))
        assert "too large" in peer.error(Twrite(ONE, (1 << 63) - 1, b"x"))


class TestClunkAndRemove:
    def test_a_clunked_fid_is_free(self, peer: Peer) -> None:
        peer.walk("top")
        assert peer.call(Tclunk(ONE)) == Rclunk()
        assert peer.error(Tclunk(ONE)) == "Unknown fid 1"
        peer.walk("d")

    def test_remove_removes(self, peer: Peer, root: TreeDirectory) -> None:
        peer.walk("d")
        assert peer.call(Tremove(ONE)) == Rremove()
        assert "d" not in root.children

    def test_remove_frees_the_fid_even_if_it_fails(self, peer: Peer) -> None:
        peer.walk(newfid=ONE)
        assert peer.error(Tremove(ONE)) == "No such file or directory"  # the root has no parent
        assert peer.error(Tstat(ONE)) == "Unknown fid 1"

    def test_a_fid_of_a_removed_file_is_absent(self, peer: Peer) -> None:
        peer.walk("top", newfid=ONE)
        peer.walk("top", newfid=TWO)
        peer.call(Tremove(TWO))
        assert peer.error(Tstat(ONE)) == "No such file or directory"


class TestWstat:
    def test_renames(self, peer: Peer, root: TreeDirectory) -> None:
        before = peer.stat(peer.walk("d", "f"))
        assert peer.call(Twstat(ONE, replace(KEEP, name="g"))) == Rwstat()
        after = peer.stat(ONE)
        assert (after.name, after.qid) == ("g", before.qid)
        assert peer.error(Twalk(ROOT, TWO, ("d", "f"))) == "No such file or directory"

    def test_refuses_to_rename_the_root(self, peer: Peer) -> None:
        assert peer.error(Twstat(ROOT, replace(KEEP, name="r"))) == "Can't rename /"

    @pytest.mark.parametrize(("length", "content"), [(0, b""), (4, b"hell"), (6, b"hello\0")])
    def test_sets_the_length_also_of_an_open_file(
        self, peer: Peer, length: int, content: bytes
    ) -> None:
        fid = peer.open("d", "f")
        assert peer.call(Twstat(fid, replace(KEEP, length=length, mtime=1))) == Rwstat()
        assert peer.read(fid) == content

    def test_refuses_lengths_that_cannot_be(self, peer: Peer) -> None:
        peer.walk("top")
        assert (
            peer.error(Twstat(ONE, replace(KEEP, length=1 << 63))) == f"Negative offset {-1 << 63}"
        )
        assert "too large" in peer.error(Twstat(ONE, replace(KEEP, length=1 << 50)))

    def test_accepts_only_length_zero_for_a_directory(self, peer: Peer) -> None:
        assert peer.call(Twstat(ROOT, replace(KEEP, length=0))) == Rwstat()
        assert (
            peer.error(Twstat(ROOT, replace(KEEP, length=1))) == "Can't set length of a directory"
        )

    def test_toggles_what_kind_of_file_it_is(self, peer: Peer) -> None:
        fid = peer.walk("top")
        modes = []
        for perm, target in [(0o755, ""), (0o644, ""), (Mode.LINK | 0o777, "t")]:
            peer.call(Twstat(fid, replace(KEEP, mode=int(perm), extension=target)))
            modes.append(peer.stat(fid).mode)
        assert modes == [0o775, 0o664, 0x020001FD]

    def test_refuses_to_chmod_a_directory(self, peer: Peer) -> None:
        for mode in (0o700, Mode.DIRECTORY | 0o700):
            assert peer.error(Twstat(ROOT, replace(KEEP, mode=mode))) == "Operation not permitted"

    def test_refuses_to_make_a_file_a_directory(self, peer: Peer) -> None:
        peer.walk("top")
        change = replace(KEEP, mode=Mode.DIRECTORY | 0o700)
        assert peer.error(Twstat(ONE, change)) == "Incorrect is_directory flag for chmod"

    def test_of_nothing_succeeds_as_a_sync_does(self, peer: Peer) -> None:
        assert peer.call(Twstat(ROOT, replace(KEEP, uid="me", mtime=5))) == Rwstat()


def test_a_node_that_refuses_everything_answers_with_errors() -> None:
    class Bare(Directory):
        @property
        def inode(self) -> int:
            return 1

        def list(self) -> Answer[Sequence[Stat]]:
            return ()

    peer = Peer(Bare(), PLAIN).attach()
    peer.walk()
    assert peer.error(Tcreate(ONE, "x", 0o644, 0)) == "Directory is read-only"
    assert peer.error(Tremove(ONE)) == "Operation not permitted"
