"""Branches as directories: made, listed, renamed, removed, moved."""

from __future__ import annotations

import pytest

from datakit_core.dbfs import DatabaseFiles, Limits
from datakit_core.dbfs.branch import BranchDirectory
from datakit_core.errors import (
    InvalidHash,
    InvalidName,
    IsDirectory,
    NoEntry,
    NotFastForward,
    NotPermitted,
    TooMany,
    UnknownObject,
)
from datakit_core.store import EMPTY_TREE, CommitId, Store
from datakit_core.vfs import Directory, Kind
from tests.support.files import Files, value_of


async def commit(store: Store, branch: str, content: bytes = b"content\n") -> CommitId:
    transaction = store.transaction(branch)
    transaction.tree.put("dir/file", content)
    return await transaction.commit()


async def test_a_branch_that_was_made_is_listed(files: Files, store: Store) -> None:
    await files.make("branch/master")
    assert await files.list("branch") == ["master"]
    assert store.head("master") is None


async def test_making_a_branch_that_exists_is_no_error(files: Files, store: Store) -> None:
    head = await commit(store, "master")
    await files.make("branch/master")
    await files.make("branch/master")
    assert await files.read("branch/master/head") == f"{head}\n".encode()


async def test_a_branch_directory_lists_its_files_in_order(files: Files) -> None:
    await files.make("branch/master")
    assert await files.list("branch/master") == [
        "ro",
        "transactions",
        "watch",
        "head.live",
        "fast-forward",
        "reflog",
        "head",
    ]


async def test_a_name_may_hold_a_slash(files: Files, store: Store) -> None:
    await files.make(["branch", "a/b"])
    await commit(store, "a/b")
    assert await files.list("branch") == ["a/b"]
    assert await files.list(["branch", "a/b", "ro"]) == ["dir"]


async def test_a_file_cannot_be_made_among_branches(files: Files) -> None:
    with pytest.raises(NotPermitted, match="Can only contain directories"):
        await files.make("branch/file", Kind.FILE)


async def test_a_name_that_git_refuses_is_refused(files: Files) -> None:
    with pytest.raises(InvalidName):
        await files.make("branch/a..b")
    with pytest.raises(NoEntry):
        await files.node("branch/a..b")


async def test_a_branch_that_does_not_exist_is_absent(files: Files) -> None:
    with pytest.raises(NoEntry):
        await files.node("branch/master")


async def test_the_head_of_a_branch_without_commits_is_an_empty_line(files: Files) -> None:
    await files.make("branch/master")
    assert await files.read("branch/master/head") == b"\n"
    assert (await files.stat("branch/master/head")).length == 1
    assert await files.list("branch/master/ro") == []


async def test_an_open_head_file_does_not_change(files: Files, store: Store) -> None:
    first = await commit(store, "master")
    handle = await files.open("branch/master/head")
    await commit(store, "master", b"other\n")
    assert await value_of(handle.read(0, 100)) == f"{first}\n".encode()
    assert await value_of(handle.read(41, 100)) == b""


async def test_ro_follows_the_head(files: Files, store: Store) -> None:
    await commit(store, "master")
    node = await files.node("branch/master/ro")
    await commit(store, "master", b"other\n")
    assert await Files(node).read("dir/file") == b"other\n"  # type: ignore[arg-type]
    assert (await files.stat("branch/master/ro/dir/file")).version == 0


async def test_renaming_moves_the_ref_and_keeps_the_inode(files: Files, store: Store) -> None:
    head = await commit(store, "old")
    node = await files.node("branch/old")
    inode = node.inode
    await value_of(node.rename("new"))
    assert await files.list("branch") == ["new"]
    assert (await value_of(node.stat())).name == "new"
    assert (await files.stat("branch/new")).inode == inode
    assert store.heads() == {"new": head}
    await files.make("branch/old")
    assert (await files.stat("branch/old")).inode != inode


async def test_a_branch_without_commits_can_be_renamed(files: Files) -> None:
    await files.make("branch/old")
    await value_of((await files.node("branch/old")).rename("new"))
    assert await files.list("branch") == ["new"]


async def test_a_branch_cannot_be_renamed_over_another(files: Files, store: Store) -> None:
    await commit(store, "old")
    await files.make("branch/new")
    with pytest.raises(IsDirectory):
        await value_of((await files.node("branch/old")).rename("new"))
    assert await files.list("branch") == ["new", "old"]


async def test_renaming_to_the_same_name_does_nothing(files: Files, store: Store) -> None:
    await commit(store, "old")
    await value_of((await files.node("branch/old")).rename("old"))
    assert await files.list("branch") == ["old"]


async def test_a_transaction_follows_its_branch(files: Files, store: Store) -> None:
    await files.make("branch/old")
    await files.make("branch/old/transactions/one")
    await files.write("branch/old/transactions/one/rw/file", b"x")
    await value_of((await files.node("branch/old")).rename("new"))
    await files.command("branch/new/transactions/one/ctl", "commit")
    assert list(store.heads()) == ["new"]


async def test_a_branch_cannot_be_below_another(files: Files, store: Store) -> None:
    head = await commit(store, "a")
    await files.make(["branch", "a/b"])
    with pytest.raises(InvalidName, match="a/b cannot exist beside a"):
        await files.command(["branch", "a/b", "fast-forward"], head)
    with pytest.raises(InvalidName):
        await value_of((await files.node("branch/a")).rename("a/c"))
    assert store.heads() == {"a": head}


async def test_removing_deletes_the_ref_whatever_is_in_it(files: Files, store: Store) -> None:
    await commit(store, "master")
    node = await files.node("branch/master")
    await value_of(node.remove())
    assert store.heads() == {}
    assert await files.list("branch") == []
    with pytest.raises(NoEntry):
        await value_of(node.stat())


async def test_the_tree_of_a_removed_branch_has_gone(files: Files, store: Store) -> None:
    await commit(store, "master")
    node = await files.directory("branch/master/ro")
    await files.remove("branch/master")
    with pytest.raises(NoEntry):
        await value_of(node.list())


async def test_fast_forward_moves_a_branch(files: Files, store: Store) -> None:
    head = await commit(store, "master")
    await files.make("branch/other")
    assert await files.command("branch/other/fast-forward", f"{head}\n") == b""
    assert await files.command("branch/other/fast-forward", head) == b""
    assert store.head("other") == head


async def test_fast_forward_refuses_what_is_no_descendant(files: Files, store: Store) -> None:
    first = await commit(store, "master")
    second = await commit(store, "master", b"other\n")
    with pytest.raises(NotFastForward):
        await files.command("branch/master/fast-forward", first)
    with pytest.raises(UnknownObject):
        await files.command("branch/master/fast-forward", "1" * 40)
    with pytest.raises(InvalidHash, match='invalid-hash "master"'):
        await files.command("branch/master/fast-forward", "master")
    assert store.head("master") == second


async def test_a_connection_can_make_only_so_many_branches(store: Store) -> None:
    files = Files(DatabaseFiles(store, Limits(branches=2)).connect())
    await files.make("branch/one")
    await files.make("branch/two")
    with pytest.raises(TooMany, match="commit to some of them"):
        await files.make("branch/three")
    await files.make("branch/two")
    await commit(store, "one")
    await files.make("branch/three")
    assert await files.list("branch") == ["one", "three", "two"]


async def test_the_empty_tree_can_be_shown_without_being_stored(files: Files) -> None:
    assert await files.list(f"trees/D-{EMPTY_TREE}") == []


async def test_a_branch_that_was_walked_to_has_been_looked_at(
    database: DatabaseFiles, store: Store
) -> None:
    """The disk is asked for its head once, and not again for the attributes that follow."""
    await commit(store, "master")
    branches = await value_of(database.connect().lookup("branch"))
    assert isinstance(branches, Directory)
    found = await value_of(branches.lookup("master"))
    assert isinstance(found, BranchDirectory)
    assert found._branch.checked is not None
