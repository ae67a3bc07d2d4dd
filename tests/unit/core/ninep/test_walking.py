"""Walking: names, newfids, and names that are escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from datakit_core.errors import NoEntry
from datakit_core.ninep.dialect import UNIX
from datakit_core.ninep.messages import (
    KEEP,
    Rwalk,
    Tclunk,
    Tcreate,
    Tstat,
    Twalk,
    Twstat,
)
from datakit_core.ninep.session import Limits
from datakit_core.ninep.wire import NO_FID
from datakit_core.vfs import (
    Directory,
    DynamicDirectory,
    Kind,
    Node,
    Stat,
    TextFile,
)
from tests.support.peer import ONE, ROOT, THREE, TWO, Peer
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


class TestWalk:
    def test_gives_a_qid_for_each_name(self, peer: Peer) -> None:
        reply = peer.call(Twalk(ROOT, ONE, ("d", "f")))
        assert isinstance(reply, Rwalk)
        assert [qid.type for qid in reply.qids] == [0x80, 0]

    def test_of_no_names_clones(self, peer: Peer) -> None:
        assert peer.call(Twalk(ROOT, ONE, ())) == Rwalk(())
        assert peer.stat(ONE) == peer.stat(ROOT)

    def test_never_gives_a_part_and_binds_nothing_when_it_fails(self, peer: Peer) -> None:
        assert peer.error(Twalk(ROOT, ONE, ("d", "x"))) == "No such file or directory"
        assert peer.error(Tstat(ONE)) == "Unknown fid 1"
        peer.walk("d")

    def test_replaces_a_fid_by_itself(self, peer: Peer) -> None:
        peer.walk("d")
        peer.walk("f", fid=ONE)
        assert peer.stat(ONE).name == "f"
        peer.walk(fid=ONE)
        assert peer.stat(ONE).name == "f"

    def test_that_fails_leaves_a_fid_that_would_replace_itself(self, peer: Peer) -> None:
        peer.walk("d")
        assert peer.error(Twalk(ONE, ONE, ("x",))) == "No such file or directory"
        assert peer.stat(ONE).name == "d"

    def test_refuses_a_newfid_in_use(self, peer: Peer) -> None:
        peer.walk("d")
        assert peer.error(Twalk(ROOT, ONE, ("top",))) == "Fid 1 already in use"

    def test_from_an_open_fid_to_another_is_allowed(self, peer: Peer) -> None:
        peer.open("d")
        peer.walk("f", fid=ONE, newfid=TWO)
        assert peer.error(Twalk(ONE, ONE, ("f",))) == "Already open"

    def test_below_a_file_is_an_error_of_its_own(self, peer: Peer) -> None:
        for names in [("d", "f", "x"), ("d", "f", "..")]:
            assert peer.error(Twalk(ROOT, ONE, names)) == "Can't walk from a file"

    def test_upwards_stops_at_the_root(self, peer: Peer) -> None:
        peer.walk("d", "..", "..", "d", "f")
        assert peer.stat(ONE).name == "f"
        peer.walk("..", newfid=TWO)
        assert peer.stat(TWO).name == "/"

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            (".", "'.' is not valid in 9p"),
            ("", "'' is not a valid file name"),
            ("a\0", "'a\\x00' is not a valid file name"),
        ],
    )
    def test_refuses_impossible_names(self, peer: Peer, name: str, text: str) -> None:
        assert peer.error(Twalk(ROOT, ONE, (name,))) == text

    def test_passes_a_slash_on_to_the_directory(self) -> None:
        asked: list[str] = []

        def lookup(name: str) -> Node:
            asked.append(name)
            raise NoEntry

        peer = Peer(DynamicDirectory("/", lookup)).attach()
        peer.error(Twalk(ROOT, ONE, ("test/log",)))
        assert asked == ["test/log"]

    def test_takes_at_most_sixteen_names(self, peer: Peer) -> None:
        peer.walk(*[".."] * 16)
        assert "at most 16" in peer.error(Twalk(ROOT, TWO, ("..",) * 17))

    def test_from_nowhere_fails(self, peer: Peer) -> None:
        assert peer.error(Twalk(NO_FID, ONE, ())) == "Unknown fid 4294967295"

    def test_stops_at_the_cap_and_frees_what_is_clunked(self, root: TreeDirectory) -> None:
        peer = Peer(root, limits=Limits(max_fids=3)).attach()
        peer.walk(newfid=ONE)
        peer.walk(newfid=TWO)
        assert "at most 3 fids" in peer.error(Twalk(ROOT, THREE, ()))
        assert peer.session.fids == 3
        peer.call(Tclunk(TWO))
        peer.walk(newfid=THREE)


class TestEscapedNames:
    @pytest.fixture
    def branches(self) -> Directory:
        names = {"a/b": TextFile("a/b", b"slash"), "50%": TextFile("50%", b"percent")}

        def lookup(name: str) -> Node:
            try:
                return names[name]
            except KeyError:
                raise NoEntry from None

        def list_names() -> Sequence[Stat]:
            return [Stat(name, Kind.FILE, node.inode) for name, node in names.items()]

        return DynamicDirectory("/", lookup, list_names)

    @pytest.mark.parametrize(
        ("aname", "shown"), [("", ["a/b", "50%"]), ("posix", ["a%2Fb", "50%25"])]
    )
    def test_are_listed_when_the_attach_asks_for_it(
        self, branches: Directory, aname: str, shown: list[str]
    ) -> None:
        peer = Peer(branches, UNIX).attach(aname=aname)
        assert peer.entries(peer.read(peer.open())) == shown

    @pytest.mark.parametrize("aname", ["", "posix"])
    @pytest.mark.parametrize("name", ["a/b", "a%2Fb", "a%2fb", "50%", "50%25"])
    def test_are_walked_in_both_forms(self, branches: Directory, aname: str, name: str) -> None:
        peer = Peer(branches, UNIX).attach(aname=aname)
        peer.walk(name)

    def test_that_do_not_exist_are_absent(self, branches: Directory) -> None:
        peer = Peer(branches).attach()
        assert peer.error(Twalk(ROOT, ONE, ("x%2Fy",))) == "No such file or directory"

    def test_are_created_and_renamed_to_what_they_mean(self, root: TreeDirectory) -> None:
        peer = Peer(root).attach(aname="posix")
        peer.walk()
        peer.call(Tcreate(ONE, "a%25", 0o644, 0))
        assert "a%" in root.children
        peer.call(Twstat(ONE, replace(KEEP, name="b%25")))
        assert "b%" in root.children
