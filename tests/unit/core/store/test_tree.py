"""Overlays: what edits do, what they refuse, and what they cost."""

from __future__ import annotations

import pytest

from datakit_core.errors import (
    AlreadyExists,
    FileError,
    InvalidArgument,
    IsDirectory,
    NoEntry,
    NotDirectory,
    NotPermitted,
    TooLarge,
    UnknownObject,
)
from datakit_core.store.objects import EMPTY_TREE, Entry, FileMode, ObjectId, TreeId
from datakit_core.store.tree import Overlay
from tests.support.trees import MemoryObjects


@pytest.fixture
def objects() -> MemoryObjects:
    return MemoryObjects()


@pytest.fixture
def overlay(objects: MemoryObjects) -> Overlay:
    """An overlay over a small tree."""
    return Overlay(objects, objects.make({"a": "12345", "dir/b": "b", "dir/sub/c": "c"}))


def frozen(objects: MemoryObjects, overlay: Overlay) -> dict[str, str]:
    """The files that committing ``overlay`` would give."""
    tree, new = overlay.freeze()
    objects.add(new)
    return objects.texts(tree)


def test_an_overlay_shows_its_base(overlay: Overlay) -> None:
    assert dict(overlay.list("")) == {"a": FileMode.NORMAL, "dir": FileMode.DIRECTORY}
    assert list(overlay.list("dir")) == ["b", "sub"]
    assert overlay.read("dir/sub/c") == b"c"
    assert overlay.size("a") == 5
    assert overlay.size("dir") == 0
    assert overlay.mode("") is FileMode.DIRECTORY
    assert overlay.mode("dir/b") is FileMode.NORMAL
    assert overlay.mode("none") is None
    assert overlay.mode("a/below") is None


def test_without_edits_nothing_is_written(objects: MemoryObjects) -> None:
    base = objects.make({"a": "1", "d/b": "2"})
    overlay = Overlay(objects, base)
    overlay.read("d/b")
    overlay.list("d")
    assert overlay.freeze() == (base, ())
    assert Overlay(objects, None).freeze() == (EMPTY_TREE, ())


def test_only_directories_above_an_edit_are_read_and_rewritten(objects: MemoryObjects) -> None:
    base = objects.make({f"d{n}/sub/f": str(n) for n in range(10)})
    objects.reads.clear()
    overlay = Overlay(objects, base)
    overlay.put("d3/sub/f", b"new")
    tree, new = overlay.freeze()
    assert len(set(objects.reads)) == 3  # the root, d3 and d3/sub
    assert len(new) == 4  # the blob, and three directories
    objects.add(new)
    assert objects.texts(tree)["d3/sub/f"] == "new"


@pytest.mark.parametrize(
    ("offset", "data", "expected"),
    [(0, b"ab", b"ab345"), (5, b"ab", b"12345ab"), (7, b"ab", b"12345\0\0ab"),
     (3, b"abc", b"123abc"), (0, b"", b"12345")],
)  # fmt: skip
def test_writing_overwrites_appends_and_fills_gaps(
    overlay: Overlay, offset: int, data: bytes, expected: bytes
) -> None:
    overlay.write("a", offset, data)
    assert overlay.read("a") == expected
    assert overlay.size("a") == len(expected)


@pytest.mark.parametrize(
    ("length", "expected"), [(4, b"1234"), (5, b"12345"), (7, b"12345\0\0"), (0, b"")]
)
def test_truncating_cuts_and_extends(overlay: Overlay, length: int, expected: bytes) -> None:
    overlay.truncate("a", length)
    assert overlay.read("a") == expected
    overlay.truncate("a", length)
    assert overlay.read("a") == expected


def test_reading_at_offsets(overlay: Overlay) -> None:
    assert overlay.read("a", 1, 2) == b"23"
    assert overlay.read("a", 3, 100) == b"45"
    assert overlay.read("a", 5) == b""
    assert overlay.read("a", 0, -1) == b""
    with pytest.raises(InvalidArgument, match=r"^Offset 100 beyond end-of-file \(len = 5\)$"):
        overlay.read("a", 100)
    with pytest.raises(InvalidArgument, match=r"^Negative offset -1$"):
        overlay.read("a", -1)


def test_a_write_creates_a_file_but_no_directories(overlay: Overlay) -> None:
    overlay.write("dir/new", 0, b"x")
    assert overlay.read("dir/new") == b"x"
    with pytest.raises(NoEntry):
        overlay.write("none/new", 0, b"x")


def test_put_makes_directories(objects: MemoryObjects, overlay: Overlay) -> None:
    overlay.put("x/y/z", b"1", FileMode.EXECUTABLE)
    assert overlay.mode("x/y") is FileMode.DIRECTORY
    assert overlay.mode("x/y/z") is FileMode.EXECUTABLE
    assert frozen(objects, overlay)["x/y/z"] == "1"


def test_put_replaces_content_and_mode(overlay: Overlay) -> None:
    overlay.put("a", b"target", FileMode.LINK)
    assert (overlay.read("a"), overlay.mode("a")) == (b"target", FileMode.LINK)


def test_empty_directories_are_seen_but_never_frozen(
    objects: MemoryObjects, overlay: Overlay
) -> None:
    overlay.mkdir("dir/empty")
    overlay.mkdir("dir/empty/below")
    overlay.remove("dir/sub/c")
    assert list(overlay.list("dir")) == ["b", "empty", "sub"]
    assert dict(overlay.list("dir/sub")) == {}
    assert frozen(objects, overlay) == {"a": "12345", "dir/b": "b"}


def test_removing_a_directory_takes_all_of_it(objects: MemoryObjects, overlay: Overlay) -> None:
    overlay.write("dir/new", 0, b"x")
    overlay.remove("dir")
    assert overlay.mode("dir/b") is None
    assert frozen(objects, overlay) == {"a": "12345"}
    overlay.remove("a")
    assert overlay.freeze()[0] == EMPTY_TREE


def test_renaming_within_a_directory(objects: MemoryObjects, overlay: Overlay) -> None:
    overlay.rename("dir/b", "z")
    overlay.rename("dir", "moved")
    overlay.rename("a", "a")
    assert frozen(objects, overlay) == {"a": "12345", "moved/sub/c": "c", "moved/z": "b"}


def test_renaming_replaces_files_and_empty_directories_only(overlay: Overlay) -> None:
    overlay.put("f", b"new")
    overlay.rename("f", "a")
    assert overlay.read("a") == b"new"
    assert overlay.mode("f") is None
    with pytest.raises(IsDirectory):
        overlay.rename("a", "dir")
    overlay.mkdir("empty")
    overlay.rename("a", "empty")
    assert overlay.read("empty") == b"new"
    with pytest.raises(NoEntry):
        overlay.rename("a", "b")


def test_moving_takes_a_node_to_another_directory(objects: MemoryObjects, overlay: Overlay) -> None:
    overlay.move("a", "dir/sub/a")
    overlay.move("dir/sub", "sub")
    assert frozen(objects, overlay) == {"dir/b": "b", "sub/a": "12345", "sub/c": "c"}


def test_moving_replaces_files_and_empty_directories_only(overlay: Overlay) -> None:
    overlay.move("a", "dir/b")
    assert overlay.read("dir/b") == b"12345"
    overlay.mkdir("empty")
    overlay.move("dir/b", "empty")
    assert overlay.read("empty") == b"12345"


def test_moving_cannot_build_a_tree_that_is_too_deep(overlay: Overlay) -> None:
    for name in ("x", "y"):
        for depth in range(1, 200):
            overlay.mkdir("/".join([name] * depth))
    with pytest.raises(InvalidArgument, match="at most"):
        overlay.move("x", "/".join(["y"] * 199) + "/x")
    assert overlay.mode("x") is FileMode.DIRECTORY


def test_modes_change_without_the_content(objects: MemoryObjects, overlay: Overlay) -> None:
    for mode in (FileMode.EXECUTABLE, FileMode.LINK, FileMode.NORMAL):
        overlay.set_mode("a", mode)
        assert overlay.mode("a") is mode
    overlay.write("dir/b", 1, b"!")
    overlay.set_mode("dir/b", FileMode.EXECUTABLE)
    tree, new = overlay.freeze()
    objects.add(new)
    entry = objects.entry(tree, "dir/b")
    assert entry is not None
    assert entry.mode is FileMode.EXECUTABLE
    assert objects.blob_of(entry) == b"b!"


def test_a_graft_replaces_whatever_is_there(objects: MemoryObjects, overlay: Overlay) -> None:
    tree = objects.make({"x": "1"})
    overlay.graft("dir", Entry(FileMode.DIRECTORY, tree))
    overlay.graft("new/place", Entry(FileMode.EXECUTABLE, objects.tree(tree)["x"].id))
    assert frozen(objects, overlay) == {"a": "12345", "dir/x": "1", "new/place": "1"}
    overlay.graft("", Entry(FileMode.DIRECTORY, tree))
    assert overlay.freeze() == (tree, ())


def test_a_graft_of_what_is_not_there_is_refused(objects: MemoryObjects, overlay: Overlay) -> None:
    blob = objects.tree(objects.make({"x": "1"}))["x"].id
    for entry in (
        Entry(FileMode.NORMAL, ObjectId("1" * 40)),
        Entry(FileMode.DIRECTORY, blob),
        Entry(FileMode.NORMAL, objects.make({"x": "1"})),
    ):
        with pytest.raises(UnknownObject):
            overlay.graft("x", entry)
    with pytest.raises(IsDirectory):
        overlay.graft("", Entry(FileMode.NORMAL, blob))


@pytest.mark.parametrize(
    ("operation", "arguments", "error"),
    [
        ("read", ("dir",), IsDirectory),
        ("read", ("none",), NoEntry),
        ("list", ("a",), NotDirectory),
        ("list", ("none",), NoEntry),
        ("size", ("none",), NoEntry),
        ("write", ("dir", 0, b""), IsDirectory),
        ("write", ("", 0, b""), IsDirectory),
        ("write", ("a/below", 0, b""), NotDirectory),
        ("write", ("a", -1, b""), InvalidArgument),
        ("write", (".git", 0, b""), InvalidArgument),
        ("write", ("dir/../x", 0, b""), InvalidArgument),
        ("truncate", ("none", 0), NoEntry),
        ("truncate", ("dir", 0), IsDirectory),
        ("truncate", ("a", -1), InvalidArgument),
        ("put", ("dir", b""), IsDirectory),
        ("put", ("", b""), IsDirectory),
        ("put", ("a/below", b""), NotDirectory),
        ("put", ("x/.GIT/y", b""), InvalidArgument),
        ("put", ("x", b"", FileMode.DIRECTORY), InvalidArgument),
        ("mkdir", ("dir",), AlreadyExists),
        ("mkdir", ("a",), AlreadyExists),
        ("mkdir", ("",), AlreadyExists),
        ("mkdir", ("none/x",), NoEntry),
        ("mkdir", ("a/x",), NotDirectory),
        ("remove", ("",), NotPermitted),
        ("remove", ("none",), NoEntry),
        ("rename", ("", "x"), NotPermitted),
        ("rename", ("a", ".git"), InvalidArgument),
        ("rename", ("a", "x/y"), InvalidArgument),
        ("move", ("", "x"), NotPermitted),
        ("move", ("a", ""), NotPermitted),
        ("move", ("none", "x"), NoEntry),
        ("move", ("a", "none/x"), NoEntry),
        ("move", ("dir", "a/x"), NotDirectory),
        ("move", ("dir", "dir/sub/x"), InvalidArgument),
        ("move", ("a", "dir/.git"), InvalidArgument),
        ("move", ("a", "dir/sub"), IsDirectory),
        ("set_mode", ("dir", FileMode.NORMAL), NotPermitted),
        ("set_mode", ("a", FileMode.DIRECTORY), InvalidArgument),
        ("set_mode", ("none", FileMode.NORMAL), NoEntry),
        ("put", ("/".join("d" * 300), b""), InvalidArgument),
    ],
)
def test_a_refused_edit_changes_nothing(
    objects: MemoryObjects,
    overlay: Overlay,
    operation: str,
    arguments: tuple[object, ...],
    error: type[FileError],
) -> None:
    before = overlay.freeze()[0]
    with pytest.raises(error):
        getattr(overlay, operation)(*arguments)
    assert overlay.freeze()[0] == before
    assert list(overlay.list("")) == ["a", "dir"]


def test_a_file_has_a_limit_which_is_checked_before_anything_is_allocated(
    objects: MemoryObjects,
) -> None:
    overlay = Overlay(objects, objects.make({"a": "12345"}), max_file=10)
    for size in (11, 2**40, 2**63):
        with pytest.raises(TooLarge):
            overlay.write("a", size, b"")
        with pytest.raises(TooLarge):
            overlay.truncate("a", size)
    with pytest.raises(TooLarge):
        overlay.put("b", b"12345678901")
    overlay.write("a", 5, b"67890")
    assert overlay.read("a") == b"1234567890"


def test_a_file_over_the_limit_can_be_emptied_but_not_edited(objects: MemoryObjects) -> None:
    overlay = Overlay(objects, objects.make({"a": "12345"}), max_file=4)
    with pytest.raises(TooLarge):
        overlay.write("a", 0, b"x")
    overlay.truncate("a", 0)
    overlay.write("a", 0, b"1234")
    assert overlay.read("a") == b"1234"


def test_all_edits_together_have_a_limit_and_removing_gives_room(objects: MemoryObjects) -> None:
    overlay = Overlay(objects, None, max_edits=10)
    overlay.put("d/a", b"12345")
    overlay.put("b", b"12345")
    for path in ("c", "b"):
        with pytest.raises(TooLarge):
            overlay.put(path, b"123456")
    overlay.put("b", b"1")
    overlay.put("c", b"1234")
    overlay.rename("c", "b")
    overlay.put("e", b"1")
    overlay.truncate("d/a", 2)
    overlay.put("f", b"123")
    with pytest.raises(TooLarge):
        overlay.write("f", 3, b"1")
    overlay.remove("d")
    overlay.graft("f", Entry(FileMode.DIRECTORY, objects.make({})))
    overlay.put("g", b"12345")
    with pytest.raises(TooLarge):
        overlay.put("h", b"1")


def test_freezing_does_not_end_the_editing(objects: MemoryObjects, overlay: Overlay) -> None:
    first = overlay.freeze()
    assert overlay.freeze() == first
    overlay.write("dir/sub/c", 0, b"x")
    second = overlay.freeze()
    assert overlay.freeze() == second
    overlay.put("dir/sub/c", b"c")
    assert overlay.freeze()[0] == first[0]


def test_a_tree_deeper_than_the_limit_is_read_but_not_edited(objects: MemoryObjects) -> None:
    tree = objects.make({"f": "1"})
    for _ in range(400):
        overlay = Overlay(objects, None)
        overlay.graft("d", Entry(FileMode.DIRECTORY, tree))
        tree, new = overlay.freeze()
        objects.add(new)
    path = "/".join(["d"] * 400 + ["f"])
    overlay = Overlay(objects, TreeId(tree))
    assert overlay.read(path) == b"1"
    with pytest.raises(InvalidArgument):
        overlay.write(path, 0, b"2")
    with pytest.raises(InvalidArgument):
        overlay.remove(path)
