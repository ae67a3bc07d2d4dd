"""Three-way merges, path by path, and the texts of their conflicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import pytest

from datakit_core.errors import StoreError
from datakit_core.store.merge import Reason, conflict_file, merge
from datakit_core.store.objects import (
    EMPTY_TREE,
    Entry,
    FileMode,
    ObjectKind,
    TreeId,
    encode_tree,
    new_object,
)
from tests.support.trees import MemoryObjects

Files: TypeAlias = Mapping[str, str]


def merged(base: Files | None, ours: Files, theirs: Files) -> tuple[dict[str, str], dict[str, str]]:
    """The files of the merge, and the reasons of its conflicts by path."""
    objects = MemoryObjects()
    trees = [None if files is None else objects.make(files) for files in (base, ours, theirs)]
    assert trees[1] is not None
    assert trees[2] is not None
    outcome = merge(objects.tree, trees[0], trees[1], trees[2])
    objects.add(outcome.objects)
    reasons = {path: reason.value for path, reason in outcome.conflicts.items()}
    return objects.texts(outcome.tree), reasons


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "taken"),
    [
        ("1", "1", "1", "1"),
        ("1", "2", "1", "2"),
        ("1", "1", "2", "2"),
        ("1", "2", "2", "2"),
        ("1", None, "1", None),
        ("1", "1", None, None),
        ("1", None, None, None),
        (None, "2", None, "2"),
        (None, None, "2", "2"),
        (None, "2", "2", "2"),
    ],
)
def test_what_one_side_changed_is_taken(
    base: str | None, ours: str | None, theirs: str | None, taken: str | None
) -> None:
    sides = [{} if content is None else {"d/f": content} for content in (base, ours, theirs)]
    assert merged(*sides) == ({} if taken is None else {"d/f": taken}, {})


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "reason"),
    [
        ("1", "2", "3", "Changed on both branches"),
        ("1", "2", None, "option: add/del"),
        ("1", None, "3", "option: add/del"),
        (None, "2", "3", "default: add/add and no common ancestor"),
    ],
)
def test_what_both_changed_differently_is_a_conflict(
    base: str | None, ours: str | None, theirs: str | None, reason: str
) -> None:
    sides = [{} if content is None else {"d/f": content} for content in (base, ours, theirs)]
    text = f"** Conflict **\n{reason}\n"
    assert merged(*sides) == ({"d/f": text}, {"d/f": reason})


def test_without_a_common_ancestor_equal_files_agree() -> None:
    files, reasons = merged(None, {"a": "1", "b": "2"}, {"a": "1", "c": "3"})
    assert files == {"a": "1", "b": "2", "c": "3"}
    assert reasons == {}


def test_a_file_against_a_directory_is_one_conflict_of_the_path() -> None:
    files, reasons = merged({"p": "1"}, {"p": "2"}, {"p/a": "1", "p/b": "2"})
    assert files == {"p": "** Conflict **\nFile vs dir\n"}
    assert reasons == {"p": "File vs dir"}


def test_conflicts_below_a_path_in_conflict_are_not_named() -> None:
    files, reasons = merged({"p/a": "1"}, {"p/a": "2", "p/b": "2"}, {"p": "3"})
    assert reasons == {"p": "File vs dir"}
    assert list(files) == ["p"]


def test_a_directory_may_replace_a_file_that_the_other_side_left_alone() -> None:
    files, reasons = merged({"p": "1", "q": "1"}, {"p/a": "2", "q": "1"}, {"p": "1", "q": "2"})
    assert files == {"p/a": "2", "q": "2"}
    assert reasons == {}


def test_the_mode_is_part_of_what_is_compared() -> None:
    objects = MemoryObjects()
    base = objects.make({"f": "1", "g": "1"})
    ours = objects.make({"f": "1", "g": "1"}, modes={"f": FileMode.EXECUTABLE})
    theirs = objects.make({"f": "1", "g": "1"}, modes={"f": FileMode.LINK, "g": FileMode.LINK})
    outcome = merge(objects.tree, base, ours, theirs)
    objects.add(outcome.objects)
    assert outcome.conflicts == {"f": Reason.BOTH_CHANGED}
    tree = objects.tree(outcome.tree)
    assert tree["f"].mode is FileMode.NORMAL
    assert tree["g"].mode is FileMode.LINK
    assert objects.blob_of(tree["f"]) == conflict_file(Reason.BOTH_CHANGED)


def test_conflicts_are_sorted_by_path() -> None:
    base = dict.fromkeys("cab", "1")
    _, reasons = merged(base, dict.fromkeys("cab", "2"), dict.fromkeys("cab", "3"))
    assert list(reasons) == ["a", "b", "c"]


def test_removing_everything_gives_the_empty_tree() -> None:
    objects = MemoryObjects()
    base = objects.make({"a": "1", "d/b": "1"})
    ours, theirs = objects.make({"a": "1"}), objects.make({"d/b": "1"})
    outcome = merge(objects.tree, base, ours, theirs)
    assert outcome.tree == EMPTY_TREE
    assert merge(objects.tree, None, EMPTY_TREE, theirs).tree == theirs


def test_trees_that_are_too_deep_are_refused_and_do_not_overflow_the_stack() -> None:
    objects = MemoryObjects()
    sides = [objects.make({"f": text}) for text in "123"]
    for _ in range(400):
        for number, tree in enumerate(sides):
            data = encode_tree({"d": Entry(FileMode.DIRECTORY, tree)})
            new = new_object(ObjectKind.TREE, data)
            objects.add([new])
            sides[number] = TreeId(new.id)
    with pytest.raises(StoreError, match="deeper"):
        merge(objects.tree, *sides)


def test_equal_subtrees_are_never_read() -> None:
    objects = MemoryObjects()
    same = {f"same/{n}": "1" for n in range(10)}
    base = objects.make({**same, "x/a": "1", "y/a": "1"})
    ours = objects.make({**same, "x/a": "2", "y/a": "1"})
    theirs = objects.make({**same, "x/a": "1", "y/a": "2"})
    outcome = merge(objects.tree, base, ours, theirs)
    assert outcome.conflicts == {}
    assert objects.reads == [base, ours, theirs]
