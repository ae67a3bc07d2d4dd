"""Open directories: whole entries, offsets, and what fits a read."""

from __future__ import annotations

import pytest

from datakit_core.ninep.dialect import UNIX
from datakit_core.ninep.messages import (
    Tread,
)
from datakit_core.ninep.wire import Fid
from tests.support.peer import Peer
from tests.support.tree import TreeDirectory


class TestReadDirectory:
    @pytest.fixture
    def many(self) -> TreeDirectory:
        tree = TreeDirectory()
        for number in range(100):
            tree.add_file(f"file-{number}")
        return tree

    def read_all(self, peer: Peer, fid: Fid, count: int) -> list[str]:
        found: list[str] = []
        offset = 0
        while data := peer.read(fid, offset, count):
            found += peer.entries(data)  # fails unless the entries are whole
            offset += len(data)
        return found

    @pytest.mark.parametrize("count", [83, 100, 1000, 0xFFFFFFFF])
    def test_gives_whole_entries_in_order(self, many: TreeDirectory, count: int) -> None:
        peer = Peer(many, UNIX).attach()
        fid = peer.open()
        assert self.read_all(peer, fid, count) == list(many.children)

    def test_starts_again_at_offset_zero(self, many: TreeDirectory) -> None:
        peer = Peer(many, UNIX).attach()
        fid = peer.open()
        peer.read(fid, 0, 1000)
        assert self.read_all(peer, fid, 1000) == list(many.children)

    def test_refuses_other_offsets(self, many: TreeDirectory) -> None:
        peer = Peer(many, UNIX).attach()
        fid = peer.open()
        peer.read(fid, 0, 1000)
        assert peer.error(Tread(fid, 1, 1000)) == "Can't seek in a directory"

    def test_says_when_an_entry_does_not_fit(self, many: TreeDirectory) -> None:
        peer = Peer(many, UNIX).attach()
        fid = peer.open()
        assert "too short for an entry of 81" in peer.error(Tread(fid, 0, 80))
        assert peer.read(fid, 0, 0) == b""
        assert len(peer.read(fid, 0, 81)) == 81

    def test_shows_the_state_at_the_open(self, many: TreeDirectory) -> None:
        peer = Peer(many, UNIX).attach()
        fid = peer.open()
        del many.children["file-50"]
        assert len(self.read_all(peer, fid, 1000)) == 100

    def test_is_bounded_however_much_is_asked_for(self) -> None:
        tree = TreeDirectory()
        for number in range(2000):
            tree.add_file(f"file-{number}")
        peer = Peer(tree, UNIX).attach(msize=1 << 20)
        fid = peer.open()
        assert len(peer.read(fid, 0, 1 << 20)) <= 1 << 16
        assert len(self.read_all(peer, fid, 1 << 20)) == 2000
