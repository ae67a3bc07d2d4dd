"""Differences of trees."""

from __future__ import annotations

from datakit_core.store.diff import Change, ChangeKind, diff
from datakit_core.store.objects import Entry, FileMode, ObjectKind, TreeId, encode_tree, new_object
from tests.support.trees import MemoryObjects

ADDED, REMOVED, MODIFIED = ChangeKind.ADDED, ChangeKind.REMOVED, ChangeKind.MODIFIED


def test_files_are_listed_by_path_and_kind() -> None:
    objects = MemoryObjects()
    old = objects.make({"a": "1", "b": "1", "d/x": "1", "d/y": "1", "gone/z": "1"})
    new = objects.make({"a": "1", "b": "2", "d/x": "1", "d/y": "2", "new/z": "1"})
    assert diff(objects.tree, old, new) == [
        Change(MODIFIED, "b"),
        Change(MODIFIED, "d/y"),
        Change(REMOVED, "gone/z"),
        Change(ADDED, "new/z"),
    ]


def test_a_changed_mode_is_a_change() -> None:
    objects = MemoryObjects()
    old = objects.make({"a": "1"})
    new = objects.make({"a": "1"}, modes={"a": FileMode.EXECUTABLE})
    assert diff(objects.tree, old, new) == [Change(MODIFIED, "a")]


def test_a_file_that_becomes_a_directory_is_removed_and_its_files_are_added() -> None:
    objects = MemoryObjects()
    old, new = objects.make({"p": "1"}), objects.make({"p/a": "1"})
    assert diff(objects.tree, old, new) == [Change(REMOVED, "p"), Change(ADDED, "p/a")]
    assert diff(objects.tree, new, old) == [Change(ADDED, "p"), Change(REMOVED, "p/a")]


def test_no_tree_is_an_empty_one() -> None:
    objects = MemoryObjects()
    tree = objects.make({"a": "1", "d/b": "1"})
    assert diff(objects.tree, None, tree) == [Change(ADDED, "a"), Change(ADDED, "d/b")]
    assert diff(objects.tree, tree, None) == [Change(REMOVED, "a"), Change(REMOVED, "d/b")]
    assert diff(objects.tree, None, None) == []


def test_equal_trees_are_not_read() -> None:
    objects = MemoryObjects()
    old = objects.make({"same/a": "0", "other/a": "1"})
    new = objects.make({"same/a": "0", "other/a": "2"})
    same = objects.tree(old)["same"].id
    objects.reads.clear()
    assert diff(objects.tree, old, old) == []
    assert objects.reads == []
    diff(objects.tree, old, new)
    assert same not in objects.reads


def test_paths_are_sorted_by_bytes() -> None:
    objects = MemoryObjects()
    new = objects.make({"a/x": "1", "a.b": "1", "a": "1"} | {"b": "1", "\u00e9": "1", "z": "1"})
    paths = [change.path for change in diff(objects.tree, None, new)]
    assert paths == sorted(paths, key=str.encode)


def test_trees_deeper_than_the_stack_are_compared() -> None:
    objects = MemoryObjects()
    tree = objects.make({"f": "1"})
    for _ in range(3000):
        data = encode_tree({"d": Entry(FileMode.DIRECTORY, tree)})
        new = new_object(ObjectKind.TREE, data)
        objects.add([new])
        tree = TreeId(new.id)
    assert diff(objects.tree, None, tree) == [Change(ADDED, "d/" * 3000 + "f")]
