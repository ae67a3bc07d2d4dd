"""Spools: scratch files with limits, and the content of edited files that moves into them."""

from __future__ import annotations

from pathlib import Path

import pytest

from datakit_core.errors import NoSpace
from datakit_core.store.content import IN_MEMORY, FileContent
from datakit_core.store.spool import SpoolSpace


@pytest.fixture
def space(tmp_path: Path) -> SpoolSpace:
    return SpoolSpace(tmp_path, most_bytes=1_000_000, most_files=2)


def test_gaps_and_ends_are_zero_bytes_or_nothing(space: SpoolSpace) -> None:
    spool = space.create()
    spool.write(10, b"abc")
    assert spool.read(8, 4) == b"\0\0ab"
    assert spool.read(8, 100) == b"\0\0abc"
    assert spool.read(13, 100) == b""


def test_all_together_may_have_so_many_bytes(space: SpoolSpace) -> None:
    one, other = space.create(), space.create()
    one.truncate(900_000)
    with pytest.raises(NoSpace, match="large files use 900000 bytes"):
        other.write(100_000, b"x")
    assert other.length == 0
    one.truncate(1)
    other.write(100_000, b"x")
    assert space.used == 100_002


def test_there_may_be_so_many(space: SpoolSpace) -> None:
    one = space.create()
    space.create().close()
    kept = space.create()
    with pytest.raises(NoSpace, match="2 large files are in use"):
        space.create()
    one.close()
    one.close()
    assert space.files == 1
    assert kept.path.exists()


def test_one_that_nobody_has_any_more_is_removed(space: SpoolSpace, tmp_path: Path) -> None:
    spool = space.create()
    spool.write(0, b"x")
    del spool
    assert (space.files, space.used) == (0, 0)
    assert list((tmp_path / "datakit.spool").iterdir()) == []


def test_long_content_leaves_memory(space: SpoolSpace) -> None:
    content = FileContent(b"a" * IN_MEMORY, space)
    assert content.held == IN_MEMORY
    content.write(IN_MEMORY, b"b")
    assert content.held == 0
    assert content.length == IN_MEMORY + 1
    assert content.read(IN_MEMORY - 1, 10) == b"ab"
    content.truncate(3)
    assert content.read(0, 10) == b"aaa"


def test_content_stays_as_it_was_when_there_is_no_room(space: SpoolSpace) -> None:
    content = FileContent(b"abc", space)
    held = [space.create(), space.create()]
    with pytest.raises(NoSpace):
        content.write(IN_MEMORY, b"x")
    assert content.read(0, 10) == b"abc"
    assert len(held) == 2
