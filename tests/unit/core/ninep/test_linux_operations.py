"""The requests of 9P2000.L, as a Linux kernel sends them."""

from __future__ import annotations

import errno
import stat as unix
from struct import Struct

import pytest

from datakit_core.ninep.dialect import LINUX, PLAIN, UNIX, Dialect
from datakit_core.ninep.linux_messages import (
    OpenFlag,
    Rfsync,
    Rgetattr,
    Rgetlock,
    Rlcreate,
    Rlerror,
    Rlock,
    Rlopen,
    Rmkdir,
    Rreaddir,
    Rreadlink,
    Rrename,
    Rrenameat,
    Rsetattr,
    Rstatfs,
    Rsymlink,
    Runlinkat,
    SetAttr,
    Tfsync,
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
from datakit_core.ninep.messages import (
    Record,
    Rwrite,
    Tattach,
    Tauth,
    Tclunk,
    Topen,
    Tread,
    Tremove,
    Tstat,
    Twalk,
    Twrite,
)
from datakit_core.ninep.wire import NO_FID, Fid
from datakit_core.vfs import Kind
from tests.support.peer import ONE, ROOT, THREE, TWO, Peer
from tests.support.tree import TreeDirectory

ENTRY = Struct("<BIQQBH")
REMOVE_DIRECTORY = 0x200
CREATE = OpenFlag.READ_WRITE | OpenFlag.CREATE


@pytest.fixture
def root() -> TreeDirectory:
    tree = TreeDirectory()
    tree.add_directory("d").add_file("f", b"hello")
    tree.add_file("top", b"content")
    tree.add_file("run", b"#!", Kind.EXECUTABLE)
    tree.add_file("link", b"", Kind.LINK, "top")
    return tree


@pytest.fixture
def peer(root: TreeDirectory) -> Peer:
    return Peer(root, LINUX).attach()


def opened(peer: Peer, *names: str, flags: int = 0, newfid: Fid = ONE) -> Fid:
    peer.walk(*names, newfid=newfid)
    assert isinstance(peer.call(Tlopen(newfid, flags)), Rlopen)
    return newfid


def attributes(peer: Peer, *names: str) -> Rgetattr:
    reply = peer.call(Tgetattr(peer.walk(*names, newfid=THREE), 0x3FFF))
    assert isinstance(reply, Rgetattr)
    peer.call(Tclunk(THREE))
    return reply


def entries(data: bytes) -> list[tuple[str, int, int]]:
    """Name, type and cookie of each entry."""
    found, at = [], 0
    while at < len(data):
        _, _, _, cookie, kind, length = ENTRY.unpack_from(data, at)
        at += ENTRY.size + length
        found.append((data[at - length : at].decode(), kind, cookie))
    return found


class TestOpen:
    def test_reads_and_writes(self, peer: Peer) -> None:
        fid = opened(peer, "d", "f", flags=OpenFlag.READ_WRITE)
        assert peer.read(fid) == b"hello"
        assert peer.call(Twrite(fid, 5, b"!")) == Rwrite(1)
        assert peer.read(fid) == b"hello!"

    def test_truncates_when_asked(self, peer: Peer) -> None:
        assert peer.read(opened(peer, "top", flags=OpenFlag.WRITE | OpenFlag.TRUNCATE)) == b""

    def test_is_refused_twice(self, peer: Peer) -> None:
        assert peer.errno(Tlopen(opened(peer, "top"), 0)) == errno.EINVAL


class TestCreate:
    def create(self, peer: Peer, name: str, flags: int, mode: int = 0o644) -> Record:
        return peer.call(Tlcreate(peer.walk("d"), name, flags, mode, 0))

    def test_makes_a_file_and_opens_it(self, peer: Peer, root: TreeDirectory) -> None:
        assert isinstance(self.create(peer, "new", CREATE), Rlcreate)
        peer.call(Twrite(ONE, 0, b"written"))
        assert attributes(peer, "d", "new").size == 7
        assert attributes(peer, "d", "new").mode == unix.S_IFREG | 0o664

    def test_makes_an_executable(self, peer: Peer) -> None:
        self.create(peer, "new", CREATE, 0o755)
        assert attributes(peer, "d", "new").mode == unix.S_IFREG | 0o775

    def test_opens_an_existing_file_as_it_is(self, peer: Peer) -> None:
        assert isinstance(self.create(peer, "f", CREATE), Rlcreate)
        assert peer.read(ONE) == b"hello"

    def test_empties_an_existing_file_when_asked(self, peer: Peer) -> None:
        assert isinstance(self.create(peer, "f", CREATE | OpenFlag.TRUNCATE), Rlcreate)
        assert peer.read(ONE) == b""

    def test_can_be_exclusive(self, peer: Peer) -> None:
        exclusive = CREATE | OpenFlag.EXCLUSIVE
        assert self.create(peer, "f", exclusive) == Rlerror(errno.EEXIST)
        peer.call(Tclunk(ONE))
        assert isinstance(self.create(peer, "new", exclusive), Rlcreate)

    def test_needs_a_directory(self, peer: Peer) -> None:
        peer.walk("top")
        assert peer.errno(Tlcreate(ONE, "x", CREATE, 0o644, 0)) == errno.ENOTDIR

    def test_needs_a_name(self, peer: Peer) -> None:
        assert self.create(peer, "..", CREATE) == Rlerror(errno.EINVAL)


class TestGetattr:
    def test_shows_files_as_the_users_own(self, peer: Peer) -> None:
        peer.call(Tattach(TWO, NO_FID, "", "", 1000))
        peer.call(Twalk(TWO, THREE, ("top",)))
        owned = peer.call(Tgetattr(THREE, 0x7FF))
        assert isinstance(owned, Rgetattr)
        assert (owned.uid, owned.gid) == (1000, 0)
        peer.call(Tclunk(THREE))
        assert attributes(peer, "top").uid == 0, "as whoever attached without a number sees it"

    def test_tells_what_stat_shows(self, peer: Peer) -> None:
        seen = attributes(peer, "top")
        assert (seen.valid, seen.mode, seen.size) == (0x7FF, unix.S_IFREG | 0o664, 7)
        assert (seen.nlink, seen.blocks, seen.qid.version) == (1, 1, 0)

    def test_tells_the_kinds_apart(self, peer: Peer) -> None:
        modes = [attributes(peer, name).mode for name in ("d", "run", "link")]
        assert modes == [unix.S_IFDIR | 0o775, unix.S_IFREG | 0o775, unix.S_IFLNK | 0o777]


class TestSetattr:
    def test_truncates_and_forgets_times(self, peer: Peer) -> None:
        fid = opened(peer, "top", flags=OpenFlag.WRITE)
        request = Tsetattr(fid, 0x68, size=3, mtime_sec=1)  # as the kernel does for ">"
        assert peer.call(request) == Rsetattr()
        assert attributes(peer, "top").size == 3
        assert attributes(peer, "top").mtime_sec == 0

    def test_makes_a_file_executable_and_normal(self, peer: Peer) -> None:
        fid = peer.walk("top")
        for bits, seen in ((0o755, 0o775), (0o600, 0o664)):
            request = Tsetattr(fid, 0x41, mode=unix.S_IFREG | bits)
            assert peer.call(request) == Rsetattr()
            assert attributes(peer, "top").mode == unix.S_IFREG | seen

    def test_changes_nothing_when_only_the_owner_is_set(self, peer: Peer) -> None:
        before = attributes(peer, "top")
        assert peer.call(Tsetattr(peer.walk("top"), 0x6, uid=7, gid=7)) == Rsetattr()
        assert attributes(peer, "top") == before

    def test_forgets_the_mode_of_a_directory(self, peer: Peer) -> None:
        assert peer.call(Tsetattr(peer.walk("d"), SetAttr.MODE, mode=0o700)) == Rsetattr()
        assert attributes(peer, "d").mode == unix.S_IFDIR | 0o775

    def test_refuses_to_turn_a_file_into_a_directory(self, peer: Peer) -> None:
        request = Tsetattr(peer.walk("top"), SetAttr.MODE, mode=unix.S_IFDIR | 0o755)
        assert peer.errno(request) == errno.EINVAL

    def test_refuses_lengths_that_no_file_has(self, peer: Peer) -> None:
        request = Tsetattr(peer.walk("top"), SetAttr.SIZE, size=1 << 63)
        assert peer.errno(request) == errno.EINVAL


class TestReaddir:
    def listing(self, peer: Peer, count: int) -> list[tuple[str, int, int]]:
        fid, cookie = opened(peer), 0
        found: list[tuple[str, int, int]] = []
        while True:
            reply = peer.call(Treaddir(fid, cookie, count))
            assert isinstance(reply, Rreaddir)
            assert len(reply.data) <= count
            if not reply.data:
                return found
            found += entries(reply.data)
            cookie = found[-1][2]

    @pytest.mark.parametrize("count", [30, 64, 8192])
    def test_shows_every_entry_once_in_pieces_of_any_size(self, peer: Peer, count: int) -> None:
        assert self.listing(peer, count) == [
            ("d", 4, 1), ("top", 8, 2), ("run", 8, 3), ("link", 10, 4),
        ]  # fmt: skip

    def test_goes_on_after_any_entry(self, peer: Peer) -> None:
        fid = opened(peer)
        reply = peer.call(Treaddir(fid, 2, 8192))
        assert isinstance(reply, Rreaddir)
        assert [name for name, _, _ in entries(reply.data)] == ["run", "link"]
        assert peer.call(Treaddir(fid, 1 << 40, 8192)) == Rreaddir(b"")

    def test_says_so_when_not_one_entry_fits(self, peer: Peer) -> None:
        assert peer.errno(Treaddir(opened(peer), 0, 10)) == errno.EINVAL

    def test_needs_an_open_directory(self, peer: Peer) -> None:
        assert peer.errno(Treaddir(peer.walk("d"), 0, 8192)) == errno.ENOTDIR
        assert peer.errno(Treaddir(opened(peer, "top", newfid=TWO), 0, 8192)) == errno.ENOTDIR

    def test_is_what_directories_are_read_with(self, peer: Peer) -> None:
        assert peer.errno(Tread(opened(peer), 0, 8192)) == errno.EISDIR
        assert peer.errno(Twrite(ONE, 0, b"x")) == errno.EISDIR

    def test_escapes_what_a_kernel_cannot_take(self, peer: Peer, root: TreeDirectory) -> None:
        directory = root.add_directory("names")
        directory.add_file("a/b")
        directory.add_file("100%")
        reply = peer.call(Treaddir(opened(peer, "names"), 0, 8192))
        assert isinstance(reply, Rreaddir)
        assert [name for name, _, _ in entries(reply.data)] == ["a%2Fb", "100%25"]
        assert attributes(peer, "names", "a%2Fb").size == 0


class TestNames:
    def test_a_directory_is_made(self, peer: Peer, root: TreeDirectory) -> None:
        assert isinstance(peer.call(Tmkdir(peer.walk("d"), "sub", 0o755, 0)), Rmkdir)
        assert attributes(peer, "d", "sub").mode == unix.S_IFDIR | 0o775
        assert peer.errno(Tmkdir(ONE, "sub", 0o755, 0)) == errno.EEXIST

    def test_a_link_is_made_and_read(self, peer: Peer) -> None:
        assert isinstance(peer.call(Tsymlink(peer.walk("d"), "s", "../top", 0)), Rsymlink)
        assert peer.call(Treadlink(peer.walk("d", "s", newfid=TWO))) == Rreadlink("../top")

    def test_a_link_replaces_nothing(self, peer: Peer) -> None:
        assert peer.errno(Tsymlink(peer.walk("d"), "f", "target", 0)) == errno.EEXIST
        assert peer.errno(Tsymlink(ONE, "s", "", 0)) == errno.ENOENT

    def test_only_links_are_read_as_links(self, peer: Peer) -> None:
        assert peer.errno(Treadlink(peer.walk("top"))) == errno.EINVAL

    def test_a_file_is_unlinked(self, peer: Peer, root: TreeDirectory) -> None:
        assert peer.call(Tunlinkat(ROOT, "top", 0)) == Runlinkat()
        assert "top" not in root.children
        assert peer.errno(Tunlinkat(ROOT, "top", 0)) == errno.ENOENT

    def test_unlink_and_rmdir_are_told_apart(self, peer: Peer) -> None:
        assert peer.errno(Tunlinkat(ROOT, "d", 0)) == errno.EISDIR
        assert peer.errno(Tunlinkat(ROOT, "top", REMOVE_DIRECTORY)) == errno.ENOTDIR
        assert peer.call(Tunlinkat(ROOT, "d", REMOVE_DIRECTORY)) == Runlinkat()

    def test_names_are_looked_for_in_directories(self, peer: Peer) -> None:
        assert peer.errno(Tunlinkat(peer.walk("top"), "x", 0)) == errno.ENOTDIR
        assert peer.errno(Tmkdir(ONE, "x", 0, 0)) == errno.ENOTDIR


class TestRename:
    def test_in_its_directory(self, peer: Peer, root: TreeDirectory) -> None:
        assert peer.call(Trenameat(ROOT, "top", ROOT, "new")) == Rrenameat()
        assert "new" in root.children
        assert "top" not in root.children

    def test_a_fid_follows_its_file(self, peer: Peer) -> None:
        open_before = opened(peer, "top")
        assert peer.call(Trenameat(ROOT, "top", ROOT, "new")) == Rrenameat()
        assert peer.read(open_before) == b"content"
        assert isinstance(peer.call(Tgetattr(open_before, 0x7FF)), Rgetattr)
        directory = peer.walk("d", newfid=TWO)
        assert peer.call(Trename(open_before, directory, "again")) == Rrename()
        assert attributes(peer, "d", "again").size == 7

    def test_to_another_directory(self, peer: Peer, root: TreeDirectory) -> None:
        directory = peer.walk("d", newfid=TWO)
        assert peer.call(Trenameat(ROOT, "top", directory, "moved")) == Rrenameat()
        assert attributes(peer, "d", "moved").size == 7
        assert "top" not in root.children

    def test_of_the_root_is_refused(self, peer: Peer) -> None:
        assert peer.errno(Trename(ROOT, ROOT, "x")) == errno.EPERM

    def test_of_nothing_is_refused(self, peer: Peer) -> None:
        assert peer.errno(Trenameat(ROOT, "none", ROOT, "x")) == errno.ENOENT

    def test_into_a_file_is_refused(self, peer: Peer) -> None:
        assert peer.errno(Trenameat(ROOT, "run", peer.walk("top"), "x")) == errno.ENOTDIR


class TestTheRest:
    def test_no_authentication_is_needed(self, root: TreeDirectory) -> None:
        assert Peer(root, LINUX).attach().errno(Tauth(ONE, "", "")) == errno.ENOENT

    def test_there_is_room(self, peer: Peer) -> None:
        reply = peer.call(Tstatfs(ROOT))
        assert isinstance(reply, Rstatfs)
        assert reply.bavail > 0
        assert reply.type == 0x01021997

    def test_fsync_succeeds_also_from_older_clients(self, peer: Peer) -> None:
        assert peer.call(Tfsync(ROOT, 1)) == Rfsync()
        frame = bytes([11, 0, 0, 0, 50, 1, 0, 0, 0, 0, 0])
        assert peer.session.receive(frame) == bytes([7, 0, 0, 0, 51, 1, 0])

    def test_locks_are_granted(self, peer: Peer) -> None:
        assert peer.call(Tlock(ROOT, 1, 0, 0, 10, 42, "host")) == Rlock(0)
        assert peer.call(Tgetlock(ROOT, 1, 0, 10, 42, "host")) == Rgetlock(2, 0, 10, 42, "host")

    @pytest.mark.parametrize(
        "request_",
        [
            Tlink(ROOT, ROOT, "x"),
            Tmknod(ROOT, "x", 0, 0, 0, 0),
            Txattrwalk(ROOT, ONE, "security.capability"),
            Txattrcreate(ROOT, "user.x", 1, 0),
        ],
        ids=lambda request: type(request).__name__,
    )
    def test_what_git_cannot_keep_is_not_supported(self, peer: Peer, request_: Record) -> None:
        assert peer.errno(request_) == errno.EOPNOTSUPP

    @pytest.mark.parametrize(
        "request_",
        [Tlopen(ONE, 0), Tgetattr(ONE, 1), Tsetattr(ONE, 0), Treadlink(ONE), Tstatfs(ONE),
         Tfsync(ONE), Tlock(ONE, 0, 0, 0, 0, 0, ""), Tgetlock(ONE, 0, 0, 0, 0, ""),
         Tmkdir(ONE, "x", 0, 0), Tremove(ONE)],
        ids=lambda request: type(request).__name__,
    )  # fmt: skip
    def test_an_unknown_fid_is_an_error(self, peer: Peer, request_: Record) -> None:
        assert peer.errno(request_) == errno.EINVAL


class TestOtherDialects:
    @pytest.mark.parametrize("dialect", [PLAIN, UNIX], ids=str)
    def test_do_not_know_the_requests_of_linux(self, root: TreeDirectory, dialect: Dialect) -> None:
        peer = Peer(root, dialect).attach()
        frame = bytes([15, 0, 0, 0, 12, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        reply = peer.session.receive(frame)
        assert isinstance(reply, bytes)
        assert b"unknown packet type 12" in reply

    def test_have_requests_that_linux_does_not_know(self, root: TreeDirectory) -> None:
        peer = Peer(root, LINUX).attach()
        for frame in (
            bytes([12, 0, 0, 0, Topen.number, 1, 0, 0, 0, 0, 0, 0]),
            bytes([11, 0, 0, 0, Tstat.number, 1, 0, 0, 0, 0, 0]),
        ):
            assert peer.session.receive(frame) == bytes([11, 0, 0, 0, 7, 1, 0, 95, 0, 0, 0])


class TestReadOnlyListener:
    @pytest.fixture
    def guest(self, root: TreeDirectory) -> Peer:
        return Peer(root, LINUX, read_only=True).attach()

    def test_refuses_every_change(self, guest: Peer) -> None:
        guest.walk("top")
        for request in (
            Tlopen(ONE, OpenFlag.WRITE | OpenFlag.TRUNCATE),
            Tlcreate(ROOT, "x", CREATE, 0o644, 0),
            Tsetattr(ONE, SetAttr.SIZE, size=0),
            Tsetattr(ONE, SetAttr.MODE, mode=0o755),
            Tmkdir(ROOT, "x", 0o755, 0),
            Tsymlink(ROOT, "x", "y", 0),
            Trenameat(ROOT, "top", ROOT, "x"),
            Trename(ONE, ROOT, "x"),
            Tunlinkat(ROOT, "top", 0),
        ):
            assert guest.errno(request) == errno.EROFS, request

    def test_serves_what_can_be_read(self, guest: Peer) -> None:
        assert guest.read(opened(guest, "top")) == b"content"
        assert guest.call(Tsetattr(ONE, 0x6)) == Rsetattr()
