"""Submodules are not served, and no edit or merge loses them."""

from __future__ import annotations

import pytest

from datakit_core.errors import AlreadyExists, IsDirectory, NoEntry, NotDirectory
from datakit_core.store import Entry, FileMode, ObjectKind, Store, TreeId, new_object
from datakit_core.store.merge import merge
from datakit_core.store.objects import encode_tree
from datakit_core.store.tree import Overlay
from tests.support.git import git
from tests.support.trees import MemoryObjects

MODES = {"d/module": FileMode.SUBMODULE}


@pytest.fixture
def objects() -> MemoryObjects:
    return MemoryObjects()


@pytest.fixture
def overlay(objects: MemoryObjects) -> Overlay:
    """An overlay over a tree with a submodule."""
    return Overlay(objects, objects.make({"d/module": "", "d/file": "1"}, MODES))


def test_editing_beside_a_submodule_keeps_it(objects: MemoryObjects, overlay: Overlay) -> None:
    overlay.put("d/other", b"2")
    overlay.remove("d/file")
    tree, new = overlay.freeze()
    objects.add(new)
    assert tree == objects.make({"d/module": "", "d/other": "2"}, MODES)


def test_a_submodule_is_not_seen(overlay: Overlay) -> None:
    for loaded in (False, True):
        if loaded:
            overlay.put("d/other", b"2")
        assert overlay.mode("d/module") is None
        assert "module" not in overlay.list("d")
        with pytest.raises(NoEntry):
            overlay.remove("d/module")
        with pytest.raises(NoEntry):
            overlay.read("d/module")


@pytest.mark.parametrize("loaded", [False, True])
def test_nothing_is_made_in_the_place_of_a_submodule(
    overlay: Overlay, objects: MemoryObjects, loaded: bool
) -> None:
    if loaded:
        overlay.put("d/other", b"2")
    before = overlay.freeze()
    blob = objects.entry(before[0] if not loaded else objects.make({"x": "1"}), "x")
    with pytest.raises(AlreadyExists):
        overlay.put("d/module", b"file")
    with pytest.raises(AlreadyExists):
        overlay.write("d/module", 0, b"file")
    with pytest.raises(AlreadyExists):
        overlay.mkdir("d/module")
    with pytest.raises(AlreadyExists):
        overlay.rename("d/file", "module")
    if blob is not None:
        with pytest.raises(AlreadyExists):
            overlay.graft("d/module", blob)
    with pytest.raises(NotDirectory):
        overlay.put("d/module/below", b"file")
    assert overlay.freeze() == before


def test_a_directory_that_holds_only_a_submodule_is_not_empty(objects: MemoryObjects) -> None:
    overlay = Overlay(objects, objects.make({"d/module": "", "e/file": "1"}, MODES))
    with pytest.raises(IsDirectory):
        overlay.move("e", "d")
    overlay.remove("d")
    tree, new = overlay.freeze()
    objects.add(new)
    assert tree == objects.make({"e/file": "1"})


def test_a_merge_keeps_submodules_and_takes_their_moves(objects: MemoryObjects) -> None:
    base = objects.make({"d/module": "old", "d/file": "1"}, MODES)
    moved = objects.make({"d/module": "new", "d/file": "1"}, MODES)
    edited = objects.make({"d/module": "old", "d/file": "2"}, MODES)
    outcome = merge(objects.whole_tree, base, moved, edited)
    assert not outcome.conflicts
    assert outcome.tree == objects.make({"d/module": "new", "d/file": "2"}, MODES)


def test_a_submodule_that_both_sides_moved_is_a_conflict(objects: MemoryObjects) -> None:
    trees = [objects.make({"d/module": text}, MODES) for text in ("old", "ours", "theirs")]
    outcome = merge(objects.whole_tree, *trees)
    assert [*outcome.conflicts] == ["d/module"]


async def test_git_sees_the_submodule_after_commits_and_a_merge(store: Store) -> None:
    module = "5" * 40
    blob = new_object(ObjectKind.BLOB, b"1")
    inner = new_object(ObjectKind.TREE, b"160000 module\0" + bytes.fromhex(module))
    outer = new_object(
        ObjectKind.TREE,
        encode_tree(
            {"d": Entry(FileMode.DIRECTORY, inner.id), "f": Entry(FileMode.NORMAL, blob.id)}
        ),
    )
    head = await store.create_commit(TreeId(outer.id), [], "", objects=[blob, inner, outer])
    await store.update_head("main", None, head)
    one, other = store.transaction("main"), store.transaction("main")
    one.tree.put("d/one", b"1")
    other.tree.put("d/other", b"2")
    await one.commit()
    await other.commit()
    listed = git(store.path, "ls-tree", "main:d")
    assert listed == (
        f"160000 commit {module}\tmodule\n"
        f"100644 blob {blob.id}\tone\n"
        f"100644 blob {new_object(ObjectKind.BLOB, b'2').id}\tother"
    )
