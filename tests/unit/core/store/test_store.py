"""The store's reads and the writes that need no transaction."""

from __future__ import annotations

import asyncio
import os
import zlib
from pathlib import Path

import pytest

from datakit_core.errors import (
    AlreadyExists,
    InvalidArgument,
    InvalidName,
    IoFailed,
    NoEntry,
    StoreError,
    UnknownObject,
)
from datakit_core.store import (
    EMPTY_TREE,
    BlobId,
    CommitId,
    Entry,
    FileMode,
    ObjectId,
    ObjectKind,
    Store,
    TreeId,
    new_object,
)
from datakit_core.store.objects import encode_tree
from tests.support.commits import commit, files_of
from tests.support.git import git
from tests.support.writers import BatchWriter

ABSENT = ObjectId("1" * 40)


async def test_objects_are_read_by_id_and_kind(store: Store) -> None:
    head = await commit(store, "main", d__a=b"content")
    tree = store.commit(head).tree
    entry = store.entry(tree, "d/a")
    assert entry is not None
    assert store.blob(BlobId(entry.id)) == b"content"
    assert store.size(BlobId(entry.id)) == 7
    assert [store.kind(id_) for id_ in (head, tree, entry.id, ABSENT)] == [
        ObjectKind.COMMIT, ObjectKind.TREE, ObjectKind.BLOB, None,
    ]  # fmt: skip
    assert store.raw(entry.id) == b"content"
    assert store.raw(tree) == encode_tree(store.tree(tree))
    assert store.raw(head).startswith(f"tree {tree}\n".encode())


async def test_an_id_of_another_kind_is_unknown(store: Store) -> None:
    head = await commit(store, "main", a=b"1")
    tree = store.commit(head).tree
    with pytest.raises(UnknownObject):
        store.commit(CommitId(tree))
    with pytest.raises(UnknownObject):
        store.tree(TreeId(head))
    with pytest.raises(UnknownObject):
        store.blob(BlobId(tree))
    with pytest.raises(UnknownObject):
        store.size(BlobId(head))
    with pytest.raises(UnknownObject):
        store.raw(ABSENT)
    with pytest.raises(UnknownObject):
        store.entry(TreeId(ABSENT), "a")
    with pytest.raises(UnknownObject):
        store.entry(TreeId(head), "a")


async def test_the_empty_tree_is_there_although_nobody_wrote_it(store: Store) -> None:
    assert dict(store.tree(EMPTY_TREE)) == {}
    assert store.kind(EMPTY_TREE) is ObjectKind.TREE
    assert store.raw(EMPTY_TREE) == b""
    assert store.entry(EMPTY_TREE, "a") is None
    assert store.entry(EMPTY_TREE, "") == Entry(FileMode.DIRECTORY, EMPTY_TREE)


async def test_entries_are_found_alike_before_and_after_a_tree_was_listed(store: Store) -> None:
    head = await commit(store, "main", d__a=b"1", d__e__f=b"2", g=b"3")
    tree = store.commit(head).tree
    paths = ["", "d", "d/a", "d/e/f", "g", "none", "d/none", "g/below", "none/below"]
    cold = [store.entry(tree, path) for path in paths]
    directory = store.entry(tree, "d")
    assert directory is not None
    store.tree(tree)
    store.tree(TreeId(directory.id))
    assert [store.entry(tree, path) for path in paths] == cold
    assert [entry is None for entry in cold] == [False] * 5 + [True] * 4


async def test_a_submodule_is_passed_over(store: Store) -> None:
    head = await commit(store, "main", a=b"1")
    data = b"160000 module\0" + bytes.fromhex(head) + b"100664 old\0" + bytes.fromhex(
        new_object(ObjectKind.BLOB, b"1").id
    )  # fmt: skip
    tree = new_object(ObjectKind.TREE, data)
    await store.write_objects([tree])
    assert store.entry(TreeId(tree.id), "module") is None
    old = store.entry(TreeId(tree.id), "old")
    assert old is not None
    assert old.mode is FileMode.NORMAL
    assert dict(store.tree(TreeId(tree.id))) == {"old": old}


async def test_a_damaged_object_is_reported_as_such(store: Store) -> None:
    head = await commit(store, "main", a=b"1")
    tree = new_object(ObjectKind.TREE, b"nonsense")
    path = store.path / "objects" / tree.id[:2] / tree.id[2:]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(zlib.compress(b"tree 8\0nonsense"))
    with pytest.raises(StoreError, match="git fsck"):
        store.tree(TreeId(tree.id))
    broken = store.path / "objects" / "ab" / ("c" * 38)
    broken.parent.mkdir(exist_ok=True)
    broken.write_bytes(b"not zlib")
    with pytest.raises(StoreError, match="git fsck"):
        store.raw(ObjectId("ab" + "c" * 38))
    assert store.commit(head).id == head


async def test_a_commit_on_no_branch(store: Store) -> None:
    first = await commit(store, "main", a=b"1")
    overlay = store.overlay(store.commit(first).tree)
    overlay.put("b", b"2")
    tree, objects = overlay.freeze()
    second = await store.create_commit(tree, [first], "on the side", objects=objects)
    assert store.head("main") == first
    assert files_of(store, second) == {"a": b"1", "b": b"2"}
    with pytest.raises(UnknownObject):
        await store.create_commit(TreeId(ABSENT), [], "no tree")
    with pytest.raises(UnknownObject):
        await store.create_commit(tree, [CommitId(ABSENT)], "no parent")


async def test_merge_bases_and_ancestors(store: Store) -> None:
    base = await commit(store, "main", a=b"1")
    await store.update_head("side", None, base)
    ours, theirs = await commit(store, "main", a=b"2"), await commit(store, "side", b=b"1")
    apart = await commit(store, "apart", c=b"1")
    assert await store.merge_base(ours, theirs) == base
    assert await store.merge_base(ours, base) == base
    assert await store.merge_base(ours, apart) is None
    assert await store.is_ancestor(base, ours)
    assert await store.is_ancestor(ours, ours)
    assert not await store.is_ancestor(ours, base)
    assert not await store.is_ancestor(ours, theirs)
    for question in (store.merge_base, store.is_ancestor):
        with pytest.raises(UnknownObject):
            await question(ours, CommitId(ABSENT))
        with pytest.raises(UnknownObject):
            await question(CommitId(store.commit(ours).tree), ours)


async def test_renaming_refuses_absent_and_present_names(store: Store) -> None:
    await commit(store, "a", x=b"1")
    await commit(store, "b", x=b"1")
    with pytest.raises(NoEntry):
        await store.rename_branch("none", "c")
    with pytest.raises(AlreadyExists):
        await store.rename_branch("a", "b")
    with pytest.raises(InvalidName):
        await store.rename_branch("a", "a.lock")
    with pytest.raises(InvalidName):
        await store.rename_branch("a", "b/c")
    assert sorted(store.heads()) == ["a", "b"]


@pytest.mark.parametrize("name", ["../../config", "HEAD", "a..b", "-x", "", "refs/heads/x"])
async def test_no_operation_takes_a_bad_branch_name(store: Store, name: str) -> None:
    head = await commit(store, "main", a=b"1")
    with pytest.raises(InvalidName):
        store.head(name)
    with pytest.raises(InvalidName):
        store.transaction(name)
    with pytest.raises(InvalidName):
        store.subscribe_head(name, lambda _: None)
    with pytest.raises(InvalidName):
        store.subscribe_path(name, "", lambda _: None)
    for write in (
        store.update_head(name, None, head),
        store.fast_forward(name, head),
        store.remove_branch(name),
        store.rename_branch("main", name),
        store.rename_branch(name, "other"),
    ):
        with pytest.raises(InvalidName):
            await write


async def test_an_object_that_was_named_wrongly_is_refused(store: Store) -> None:
    wrong = new_object(ObjectKind.BLOB, b"1")
    with pytest.raises(StoreError, match="named wrongly"):
        await store.write_objects([type(wrong)(wrong.kind, wrong.id, b"2")])


async def test_a_special_file_is_left_out_of_an_import_and_a_bad_name_refused(
    store: Store, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    assert await store.import_directory(source) == EMPTY_TREE
    (source / "file").write_bytes(b"1")
    os.mkfifo(source / "fifo")
    assert list(store.tree(await store.import_directory(source))) == ["file"]
    (source / "sub").mkdir()
    (source / "sub" / ".GIT").write_bytes(b"")
    with pytest.raises(InvalidArgument, match=r"\.git on some"):
        await store.import_directory(source)
    with pytest.raises(IoFailed, match="cannot read the directory"):
        await store.import_directory(tmp_path / "none")


async def test_a_head_is_told_when_it_is_acknowledged_and_not_when_its_file_changes(
    tmp_path: Path,
) -> None:
    writers: list[BatchWriter] = []

    def make(path: Path) -> BatchWriter:
        writers.append(BatchWriter(path))
        return writers[-1]

    path = tmp_path / "batches.git"
    told: list[CommitId | None] = []
    async with Store.open(path, create=True, writer=make) as store:
        store.subscribe_head("main", told.append)
        first = await store.create_commit(EMPTY_TREE, [], "First")
        second = await store.create_commit(EMPTY_TREE, [first], "Second")
        for writer in writers:
            writer.size = 2
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(store.update_head("main", None, first))
            await asyncio.sleep(0)
            git(path, "update-ref", "refs/heads/main", first)  # as the writer is about to
            store._branches.notice([path / "refs/heads/main"])
            assert told == []
            git(path, "update-ref", "-d", "refs/heads/main")
            tasks.create_task(store.update_head("main", first, second))
        assert told == [first, second]
