"""Ready-made directories."""

from __future__ import annotations

import pytest

from datakit_core.errors import IsDirectory, NoEntry, NotPermitted, ReadOnly
from datakit_core.vfs import (
    Directory,
    DynamicDirectory,
    Kind,
    Node,
    Stat,
    StaticDirectory,
    TextFile,
    inode_of,
)


def test_a_static_directory_finds_and_lists_its_children_in_order() -> None:
    second, first = TextFile("b", b"22"), TextFile("a", b"1")
    directory = StaticDirectory("d", [second, first])
    assert directory.lookup("a") is first
    assert directory.list() == [second.stat(), first.stat()]


def test_a_static_directory_lacks_other_names() -> None:
    with pytest.raises(NoEntry, match=r"^No such file or directory$"):
        StaticDirectory("d", []).lookup("a")


def test_a_dynamic_directory_asks_its_functions() -> None:
    def lookup(name: str) -> Node:
        if not name.isdigit():
            raise NoEntry
        return TextFile(name, b"", inode=inode_of("numbers", name))

    shown = [Stat("7", Kind.FILE, inode_of("numbers", "7"))]
    numbers = DynamicDirectory("numbers", lookup, lambda: shown)
    found = numbers.lookup("7")
    assert isinstance(found, TextFile)
    assert numbers.list() == [found.stat()]
    with pytest.raises(NoEntry):
        numbers.lookup("x")


def test_a_dynamic_directory_without_entries_lists_as_empty() -> None:
    def lookup(name: str) -> Node:
        raise NoEntry

    assert DynamicDirectory("d", lookup).list() == ()


def test_a_ready_made_directory_says_what_it_is() -> None:
    directory = StaticDirectory("d", [], inode=5)
    assert directory.stat() == Stat("d", Kind.DIRECTORY, 5)
    assert directory.is_directory


def test_kept_nodes_get_inodes_of_their_own() -> None:
    assert TextFile("a", b"").inode != TextFile("a", b"").inode


def test_a_directory_refuses_what_it_does_not_override() -> None:
    directory = StaticDirectory("d", [])
    with pytest.raises(ReadOnly, match=r"^Directory is read-only$"):
        directory.create("a", Kind.FILE)
    with pytest.raises(NotPermitted, match=r"^Operation not permitted$"):
        directory.remove()
    with pytest.raises(NotPermitted):
        directory.rename("e")
    with pytest.raises(NotPermitted, match=r"^Can't chmod special file$"):
        directory.chmod(Kind.FILE)
    with pytest.raises(NoEntry):
        Directory().lookup("a")


def test_a_directory_can_only_be_truncated_to_nothing() -> None:
    directory = StaticDirectory("d", [])
    assert directory.truncate(0) is None
    with pytest.raises(IsDirectory, match=r"^Can't set length of a directory$"):
        directory.truncate(1)
